"""Re-encoding of videos at a run's rate and size, with short groups of pictures: random clips are cheap then.

The papers dump frames to disk for this; files take a fraction of that space. Time stamps are kept: frame k of
the run is picture k of the new file, so annotations stay valid. Results can differ slightly, as pictures
are compressed twice.
"""

from __future__ import annotations

import json
import multiprocessing
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from featstore.documents import read_json
from pipelines.data.videos import find_sources, tell
from pipelines.shared import console
from pipelines.shared.files import write_text
from tal.annotations import VideoFolder
from tal.errors import ConfigError, VideoError
from tal.grid import FrameGrid
from tal.video import VideoInfo, open_video, require_reader, resolve_reader
from tal.video.writer import VideoWriter

_SETTINGS = "prepare.json"
_CHUNK_FRAMES = 64
_MEASURED_VIDEOS, _MEASURED_CLIPS = 8, 4


@dataclass(frozen=True)
class PrepareConfig:
    """What to re-encode, and how.

    ``size``: short side in pixels; ``gop``: pictures between key frames; ``crf``: quality of x264, of which
    lower is better; ``reader`` decodes the originals.
    """

    videos: Path
    out: Path
    fps: float = 5.0
    size: int = 128
    max_frames: int = 0
    gop: int = 8
    crf: int = 18
    annotations: Path | None = None
    subset: str | None = None
    workers: int = 1
    clip_frames: int = 16
    reader: str = "auto"

    def __post_init__(self) -> None:
        if (
            not self.fps > 0
            or self.size < 2
            or self.gop < 1
            or not 0 <= self.crf <= 51
            or self.max_frames < 0
        ):
            raise ConfigError("prepare needs fps > 0, size >= 2, gop >= 1, crf in 0..51, max_frames >= 0")


@dataclass
class PrepareReport:
    """Videos by outcome; ``gain``: table of sizes and reading times before and after."""

    done: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    gain: pd.DataFrame = field(default_factory=pd.DataFrame)
    wall_s: float = 0.0


def prepare(config: PrepareConfig) -> PrepareReport:
    """Re-encode a folder of videos as ``out/ID.mp4``; those that stand in ``out`` already are kept.

    Raises
    ------
    VideoError, AnnotationError
        nothing to re-encode.
    ConfigError
        ``out`` was made with other settings, or is the folder of the originals or inside it; the reader is
        not installed.
    """
    require_reader(config.reader)
    sources = find_sources(config.videos, config.annotations, config.subset)
    tell(sources.matches)
    _claim(config)
    report = PrepareReport(missing=sources.missing)
    there = VideoFolder(config.out)
    kept = there.match(sources.listed)  # 0.1 wrote all into one folder, some under the annotations' ids
    tell(kept, "video id")
    report.kept = [k for k in sources.paths if k in kept.pairs]
    targets = {k: config.out / f"{k}.mp4" for k in sources.paths}
    targets |= {k: there.files[kept.pairs[k]] for k in report.kept}
    todo = {k: (sources.paths[k], targets[k]) for k in sources.paths if k not in set(report.kept)}
    started = time.monotonic()
    with console.progress("videos") as bar:
        task = bar.add_task("re-encode", total=len(todo))
        for video_id, error in _run(todo, config):
            if error:
                report.failed[video_id] = error
                console.log.warning("%s", error)
            else:
                report.done.append(video_id)
            bar.advance(task)
    report.wall_s = time.monotonic() - started
    ready = {k: (sources.paths[k], targets[k]) for k in (*report.kept, *report.done)}
    if ready:
        report.gain = _gain(ready, config)
    return report


def _claim(config: PrepareConfig) -> None:
    """Refuse to mix settings in one folder; note them in it."""
    originals, out = config.videos.resolve(), config.out.resolve()
    if out == originals or originals in out.parents:
        raise ConfigError(f"--out {config.out} is the folder of the originals or inside it: give another")
    settings = {k: getattr(config, k) for k in ("fps", "size", "max_frames", "gop", "crf")}
    settings["reader"] = resolve_reader(config.reader)
    path = config.out / _SETTINGS
    if path.is_file():
        noted = read_json(path, ConfigError)
        before = {"reader": "pyav", **noted} if isinstance(noted, dict) else noted  # 0.1 had no other
        if before != settings:
            raise ConfigError(f"{config.out} was made with {before}, not {settings}: give another --out")
        return
    write_text(path, json.dumps(settings, indent=2))


def _run(todo: dict[str, tuple[Path, Path]], config: PrepareConfig) -> Iterator[tuple[str, str]]:
    if config.workers <= 1 or len(todo) <= 1:
        for video_id, (source, target) in todo.items():
            yield video_id, _reencode(source, target, config)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(config.workers, len(todo)), mp_context=context) as pool:
        futures = {pool.submit(_reencode, s, t, config): k for k, (s, t) in todo.items()}
        for future in as_completed(futures):
            yield futures[future], future.result()


def _reencode(source: Path, target: Path, config: PrepareConfig) -> str:
    """Write one video; returns its error, "" when there was none."""
    try:
        with open_video(source, config.reader) as reader:
            fps = _rate(reader.info, config)
            total = reader.num_frames(fps)
            with VideoWriter(target, fps, gop=config.gop, crf=config.crf) as writer:
                for start in range(0, total, _CHUNK_FRAMES):
                    frames = np.arange(start, min(total, start + _CHUNK_FRAMES))
                    pictures, _ = reader.frames(frames, fps, size=config.size)
                    # 4:2:0 colour needs even sides; one column less does no harm
                    even = pictures[:, : pictures.shape[1] // 2 * 2, : pictures.shape[2] // 2 * 2]
                    for picture in even:
                        writer.add(np.ascontiguousarray(picture))
    except VideoError as error:
        return str(error)
    return ""


def _rate(info: VideoInfo, config: PrepareConfig) -> float:
    return FrameGrid(config.fps).capped(info.duration_s, config.max_frames).fps


def _gain(ready: dict[str, tuple[Path, Path]], config: PrepareConfig) -> pd.DataFrame:
    """Size on disk and the time of reading a random clip, before and after.

    Opening is included, as a loader worker opens a file per clip.
    """
    rng = np.random.default_rng(0)
    some = [ready[k] for k in sorted(ready)]
    if len(some) > _MEASURED_VIDEOS:
        some = [some[i] for i in sorted(rng.choice(len(some), _MEASURED_VIDEOS, replace=False))]
    clips = [(pair, rng.random()) for pair in some for _ in range(_MEASURED_CLIPS)]
    rows = []
    for which, name in enumerate(("before", "after")):
        spent_s = 0.0
        for pair, position in clips:
            # the index, which workers keep, is not what is measured
            open_video(pair[which], config.reader).close()
            begun = time.perf_counter()
            with open_video(pair[which], config.reader) as reader:
                fps = _rate(reader.info, config)
                first = int(position * max(1, reader.num_frames(fps) - config.clip_frames))
                reader.frames(np.arange(first, first + config.clip_frames), fps, size=config.size)
            spent_s += time.perf_counter() - begun
        size = sum(pair[which].stat().st_size for pair in ready.values())
        rows.append(
            {"videos": name, "size (MB)": size / 1e6, "a random clip (ms)": 1e3 * spent_s / len(clips)}
        )
    before, after = rows
    ratio = {k: f"{float(before[k]) / max(1e-9, float(after[k])):.1f} x" for k in before if k != "videos"}  # type: ignore[arg-type]
    table = pd.DataFrame(rows).round(2).astype(object)
    return pd.concat([table, pd.DataFrame([{"videos": "gain", **ratio}])], ignore_index=True)
