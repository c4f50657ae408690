"""Extraction from start to end: register, encode what is missing, commit, report."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import torch

from featstore import FeatureSpec, FeatureStore, StoreSpecError, StoreValueError, VideoRecord
from pipelines import console
from pipelines.extract.config import ExtractConfig
from pipelines.extract.sources import Sources, find_sources, share
from pipelines.extract.stream import ClipEncoder, EncodedClip, encode_stream
from tal.encoders import build_encoder, feature_spec, sampling_fps
from tal.errors import ConfigError, VideoError
from tal.grid import ClipGrid
from tal.video import VideoInfo
from tal.video.pool import ClipShape, DecodeTask, Finished, decode_all


@dataclass
class ExtractReport:
    """What an extraction did. ``failed``: id -> reason; ``realtime``: seconds of video a second of work."""

    store: Path
    done: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    num_rows: int = 0
    video_s: float = 0.0
    wall_s: float = 0.0

    @property
    def realtime(self) -> float:
        return self.video_s / self.wall_s if self.wall_s else 0.0

    def failures(self) -> pd.DataFrame:
        return pd.DataFrame(list(self.failed.items()), columns=["video", "reason"])


def extract(config: ExtractConfig) -> ExtractReport:
    """Encode videos into a feature store; videos that are complete in it are kept.

    A video that cannot be read is marked failed in the store, and the rest goes on; it is tried again by the
    next run.

    Raises
    ------
    VideoError, AnnotationError
        nothing to extract.
    ConfigError, WeightsError
        an encoder that cannot be built.
    StoreSpecError
        the store's rows come from another encoder or another sampling.
    """
    sources = find_sources(config.videos, config.annotations, config.subset)
    for path in sources.doubled:
        console.log.warning("%s: left out, another file has the same name", path)
    if sources.missing:
        first = ", ".join(sources.missing[:3])
        console.log.warning(
            "%d of %d annotated videos have no file in %s (%s%s)",
            len(sources.missing),
            len(sources.missing) + len(sources.paths),
            config.videos,
            first,
            ", …" if len(sources.missing) > 3 else "",
        )
    device = pick_device(config.device)
    encoder = build_encoder(config.encoder, seed=config.seed)
    spec = feature_spec(encoder, config.fps, config.max_frames, config.dtype)
    report = ExtractReport(config.store, missing=list(sources.missing))
    batch_clips = config.batch_clips or (4 if device.type == "cpu" else 16)
    clips = ClipEncoder(encoder, device, batch_clips, config.precision)
    with open_store(config.store, spec) as store:
        _Extraction(config, store, sources, clips, report).run()
    return report


def open_store(path: Path, spec: FeatureSpec) -> FeatureStore:
    """Create a store, or open one that was made the same way."""
    if not path.exists():
        return FeatureStore.create(path, spec)
    store = FeatureStore.open(path, mode="r+")
    try:
        store.spec.require(spec, "this extraction")
        if store.run_id is not None:
            raise StoreSpecError(
                f"{path}: training ({store.run_id}) has refreshed its rows: extract into a store of its own"
            )
    except StoreSpecError:
        store.close()
        raise
    return store


def pick_device(name: str) -> torch.device:
    """``auto``: CUDA, else Apple's GPU, else the CPU."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ConfigError(f"device {name!r} is not to be had here: {str(error).splitlines()[0]}") from error
    return device


class _Extraction:
    """One run over the videos that the store lacks."""

    def __init__(
        self,
        config: ExtractConfig,
        store: FeatureStore,
        sources: Sources,
        clips: ClipEncoder,
        report: ExtractReport,
    ) -> None:
        self.config, self.store, self.sources, self.report = config, store, sources, report
        self.clips = clips
        encoder = clips.encoder
        self.shape = ClipShape(encoder.clip_frames, encoder.preprocess.size, encoder.preprocess.crop)
        self.rows_per_clip = encoder.rows_per_clip
        self._committed_at = time.monotonic()

    def run(self) -> None:
        if self.config.repair:
            self._reopen_damaged()
        todo = self._register()
        started = time.monotonic()
        try:
            self._encode(todo)
        finally:
            self.store.commit()  # also when interrupted: what is complete is safe
        self.report.wall_s = time.monotonic() - started

    # -- which videos
    # ------------------------------------------------------------------------------------------

    def _reopen_damaged(self) -> None:
        self.store.mend_chunks()
        damaged = sorted(set(self.store.damaged_rows()["video"]) & set(self.sources.paths))
        for video_id in damaged:
            self.store.reopen(video_id)
        if damaged:
            self.store.commit()
            console.log.warning("%d videos have damaged rows and are extracted again", len(damaged))

    def _register(self) -> list[VideoRecord]:
        """Reserve rows of new and formerly failed videos; the records of all that are to be encoded."""
        known = self.store.videos().set_index("id")["state"].to_dict()
        unknown = {k: p for k, p in self.sources.paths.items() if known.get(k, "failed") == "failed"}
        infos = self._look(unknown)
        durations_s = {k: info.duration_s for k, info in infos.items()}
        registered = [k for k in self.sources.paths if k not in unknown]
        durations_s |= {k: self.store.video(k).duration_s or 0.0 for k in registered}
        mine = set(share(durations_s, self.config.part, self.config.parts))
        self.report.kept = sorted(k for k in mine if known.get(k) == "complete")
        table = [self._record(k, infos[k]) for k in sorted(infos) if k in mine]
        unread = sorted(k for k in unknown if k not in infos) if self.config.part == 0 else []
        failed = [{"id": k, "num_rows": 1} for k in unread]
        self.store.add_videos(table + failed)
        for video in failed:
            self.store.fail(str(video["id"]), self.report.failed[str(video["id"])])
        self.store.commit()
        todo = sorted(k for k in mine if known.get(k) != "complete")
        return [self.store.video(k) for k in todo]

    def _look(self, paths: dict[str, Path]) -> dict[str, VideoInfo]:
        """Index each file: its length, and whether it can be read at all."""
        infos: dict[str, VideoInfo] = {}
        if not paths:
            return infos
        with console.progress("videos") as bar:
            task = bar.add_task("look at", total=len(paths))
            tasks = [DecodeTask(k, p) for k, p in paths.items()]
            workers = self.config.num_workers if len(paths) > 64 else 0
            for event in decode_all(tasks, self.shape, workers):
                assert isinstance(event, Finished)
                if event.info is None:
                    self._failed(event.key, event.error)
                else:
                    infos[event.key] = event.info
                bar.advance(task)
        return infos

    def _record(self, video_id: str, info: VideoInfo) -> dict[str, object]:
        fps = sampling_fps(info, self.config.fps, self.config.max_frames)
        num_frames = ClipGrid(fps, 1, 1).num_frames(info.duration_s)
        num_rows = -(-num_frames // self.clips.encoder.frame_stride)
        return {
            "id": video_id,
            "num_rows": num_rows,
            "fps": fps,
            "duration_s": info.duration_s,
            "num_frames": num_frames,
        }

    # -- rows
    # --------------------------------------------------------------------------------------------------

    def _encode(self, todo: list[VideoRecord]) -> None:
        if not todo:
            return
        records = {r.id: r for r in todo}
        # long videos first: no worker is left alone with one at the end
        order = sorted(todo, key=lambda r: -(r.duration_s or 0.0))
        tasks = [DecodeTask(r.id, self.sources.paths[r.id], r.fps) for r in order]
        total_s = sum(r.duration_s or 0.0 for r in todo)
        broken: set[str] = set()
        with console.progress() as bar, closing(self._stream(tasks)) as stream:
            videos = bar.add_task("videos", total=len(todo))
            minutes = bar.add_task("minutes of video", total=total_s / 60)
            for event in stream:
                record = records[event.key]
                if isinstance(event, EncodedClip):
                    if event.key not in broken and not self._write(record, event):
                        broken.add(event.key)
                    bar.advance(minutes, self.shape.clip_frames / record.fps / 60)
                    continue
                bar.advance(videos)
                if event.key not in broken:
                    self._end(record, event)
                self._commit_now_and_then()

    def _stream(self, tasks: list[DecodeTask]) -> Generator[EncodedClip | Finished, None, None]:
        return encode_stream(self.clips, tasks, self.config.num_workers)

    def _write(self, record: VideoRecord, encoded: EncodedClip) -> bool:
        start = encoded.clip * self.rows_per_clip
        rows = encoded.rows[: max(0, record.num_rows - start)]
        try:
            self.store.write(record.id, start, rows, step=0)
        except StoreValueError as error:
            self._failed(record.id, str(error))
            self.store.fail(record.id, str(error))
            return False
        return True

    def _end(self, record: VideoRecord, event: Finished) -> None:
        error = event.error
        if not error and event.num_frames != record.num_frames:
            error = (
                f"{self.sources.paths[record.id]}: has {event.num_frames} frames, "
                f"{record.num_frames} when it was registered: remove it from the store and extract again"
            )
        if error:
            self._failed(record.id, error)
            self.store.fail(record.id, error)
            return
        self.store.complete(record.id)
        self.report.done.append(record.id)
        self.report.num_rows += record.num_rows
        self.report.video_s += record.duration_s or 0.0

    def _failed(self, video_id: str, reason: str) -> None:
        self.report.failed[video_id] = reason
        console.log.warning("%s", reason)

    def _commit_now_and_then(self) -> None:
        if time.monotonic() - self._committed_at >= self.config.commit_every_s:
            self.store.commit()
            self._committed_at = time.monotonic()


def require_some(report: ExtractReport) -> None:
    """Raise when the store holds nothing after all."""
    if not report.done and not report.kept:
        first = next(iter(report.failed.values()), "no videos")
        raise VideoError(f"no video could be extracted; the first: {first}")
