"""`longtal plan --dataset-size`: what the rows of a whole data set take, before a video of it is there."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

import torch

from featstore.sizes import StoreSize, store_size
from pipelines.budget.estimate import rough_time
from pipelines.budget.tries import time_encoding
from pipelines.config import RunConfig
from pipelines.store.run import human_bytes
from tal.encoders import EncoderConfig, build_encoder, feature_spec
from tal.errors import ConfigError

_GBIT = 1e9 / 8


@dataclass(frozen=True)
class DataSetSize:
    """So many videos of so many seconds in the mean."""

    num_videos: int
    mean_s: float


# Videos and mean seconds as published: THUMOS14's annotated videos, ActivityNet-1.3, HACS Segments.
KNOWN = MappingProxyType(
    {
        "thumos14": DataSetSize(413, 212.0),
        "activitynet": DataSetSize(19_994, 117.0),
        "hacs": DataSetSize(49_581, 148.0),
        "kinetics600": DataSetSize(495_547, 10.0),
        "million": DataSetSize(1_000_000, 60.0),
    }
)


def parse_size(text: str) -> DataSetSize:
    """``activitynet``, or ``19994x117``: videos and their mean seconds.

    Raises
    ------
    ConfigError
        for anything else.
    """
    if text in KNOWN:
        return KNOWN[text]
    named = re.fullmatch(r"(\d{1,12})x(\d{1,7}(?:\.\d{1,6})?)", text)
    if named is None or not int(named[1]) or not float(named[2]):
        raise ConfigError(
            f"--dataset-size {text!r}: write VIDEOSxSECONDS, as in 19994x117, or one of {', '.join(KNOWN)}"
        )
    return DataSetSize(int(named[1]), float(named[2]))


@dataclass(frozen=True)
class Sizing:
    """What extraction and training of a data set take.

    Attributes
    ----------
    data
        The data set.
    store
        Its store.
    num_clips
        Clips to encode.
    clips_per_s
        That a device encodes.
    device
        What that was measured on; empty: it was given.
    num_devices
        That share the work.
    copies
        Stores on the disk of a host that trains: the extraction, and the run's own copy where it writes rows.
    """

    data: DataSetSize
    store: StoreSize
    num_clips: int
    clips_per_s: float
    device: str
    num_devices: int
    copies: int

    @property
    def device_hours(self) -> float:
        """Hours of one device that the encoder takes."""
        return self.num_clips / self.clips_per_s / 3600

    @property
    def bytes_per_s(self) -> float:
        """Rows that reach the store each second while all devices work."""
        return self.store.num_bytes / (self.device_hours * 3600) * self.num_devices

    def to_json(self) -> dict[str, Any]:
        """All figures."""
        more = {"device_hours": self.device_hours, "bytes_per_s": self.bytes_per_s}
        return {**asdict(self.data), **asdict(self), "hours": self.device_hours / self.num_devices, **more}

    def lines(self) -> list[str]:
        """Human-readable lines."""
        store, hours = self.store, self.device_hours
        size = human_bytes(store.num_bytes)
        copies = f"; {human_bytes(self.copies * store.num_bytes)} with the run's own copy"
        where = f"measured on this machine's {self.device}" if self.device else "as given"
        shared = f", {rough_time(hours * 3600 / self.num_devices)} on {self.num_devices}"
        at = [f"{rough_time(store.num_bytes / _GBIT / gbit)} at {gbit} Gbit/s" for gbit in (1, 10)]
        return [
            f"{self.data.num_videos:,} videos of {self.data.mean_s:g} s: {store.num_rows:,} rows",
            f"store: {size} in {store.num_files:,} files{copies if self.copies > 1 else ''}",
            f"encoder: {self.num_clips:,} clips, {hours:,.1f} hours of a device at {self.clips_per_s:.1f} "
            f"clips a second ({where}){shared if self.num_devices > 1 else ''}",
            f"network: {human_bytes(self.bytes_per_s)} of rows a second while it is extracted; the whole "
            f"store to another host: {', '.join(at)}",
        ]


def sizing(
    config: RunConfig, data: DataSetSize, clips_per_s: float | None = None, num_devices: int = 1
) -> Sizing:
    """What a data set takes with a configuration's encoder and rates.

    Parameters
    ----------
    clips_per_s
        Clips that a device encodes each second; None: it is measured here.
    num_devices
        Devices that share the work.

    Raises
    ------
    ConfigError
        The configuration has no encoder.
    """
    if config.encoder is None:
        raise ConfigError("--dataset-size needs an `encoder` section, which says what a row is")
    device = ""
    if clips_per_s is None:
        where = torch.device("cuda" if torch.cuda.is_available() and config.train.device != "cpu" else "cpu")
        _, tries = time_encoding(config.encoder, where)
        clips_per_s, device = 1 / min(tries), where.type
    rows, clips = _of_a_video(config, config.encoder, data.mean_s)
    encoder = build_encoder(config.encoder.without_weights())
    spec = feature_spec(encoder, config.data.fps, config.data.max_frames, reader=config.data.reader)
    writes = config.end_to_end and config.memory.write_back != "off" and not config.memory.in_place
    return Sizing(
        data=data,
        store=store_size(spec, round(data.num_videos * rows), data.num_videos),
        num_clips=round(data.num_videos * clips),
        clips_per_s=clips_per_s,
        device=device,
        num_devices=num_devices,
        copies=2 if writes else 1,
    )


def _of_a_video(config: RunConfig, encoder: EncoderConfig, mean_s: float) -> tuple[float, float]:
    """Rows and clips of a video in the mean, of which each ends with half of one too many."""
    most = config.data.max_frames or math.inf
    frames, grid = min(mean_s * config.data.fps, most), encoder.grid
    rows, clips = frames / grid.frame_stride, frames / grid.clip_frames
    return (rows, clips) if frames == most else (rows + 0.5, clips + 0.5)
