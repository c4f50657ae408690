"""Extraction from start to end: register, encode what is missing, put it into the store, report."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

import torch

from featstore import FeatureSpec, FeatureStore, StoreLockedError, StoreSpecError, VideoRecord
from featstore.remote import is_url
from featstore.transfer import building
from pipelines.actors.cluster import connected, require_ray
from pipelines.actors.loop import run_on_actors
from pipelines.config import DataConfig, RunConfig
from pipelines.data.run_annotations import read_whole
from pipelines.data.videos import find_sources, tell
from pipelines.extract.encode import EncodeVideos, clip_encoder
from pipelines.extract.options import ExtractOptions
from pipelines.extract.receive import Receiver, uninterrupted
from pipelines.extract.register import as_stored, register
from pipelines.extract.report import ExtractReport, require_some
from pipelines.shared import console
from tal.annotations import AnnotationSet
from tal.encoders import Encoder, EncoderConfig, build_encoder, feature_spec
from tal.encoders.stream import EncodedClip, encode_stream
from tal.errors import ConfigError
from tal.grid import ClipGrid, FrameGrid
from tal.shared.defaults import PrecisionName
from tal.video import require_reader
from tal.video.pool import Begun, DecodeTask, Finished

__all__ = ["ExtractReport", "extract", "open_store", "require_some"]

Events = Generator[Begun | EncodedClip | Finished, None, None]
Stream = Callable[[Iterable[DecodeTask]], Events]


def extract(
    run: RunConfig, how: ExtractOptions | None = None, annotations: AnnotationSet | None = None
) -> ExtractReport:
    """Encode the videos of a run into its feature store; videos that are complete in it are kept.

    A video that cannot be read is marked failed in the store, and the rest goes on; it is tried again by the
    next run.

    Parameters
    ----------
    run
        what is extracted: its ``data`` and ``encoder``, ``train.seed``, the seed of random weights, and
        ``train.precision``.
    how
        what is not of the run; None: the defaults.
    annotations
        those of the run where they were read, and what is to be said of them was said.

    Raises
    ------
    VideoError, AnnotationError
        nothing to extract.
    ConfigError, WeightsError
        no videos, store or encoder is named, the encoder cannot be built, or the reader is not installed.
    StoreSpecError
        the store's rows come from another encoder, sampling or reader.
    StoreLockedError
        another process writes to the store.
    """
    how = how or ExtractOptions()
    videos, store_path, encoder_config = _required(run)
    require_reader(run.data.reader)
    if annotations is None and run.data.annotations:
        annotations, notes = read_whole(run.data)
        for note in notes:
            console.log.info("%s", note)
    sources = find_sources(videos, annotations, how.subset)
    tell(sources.matches)
    if sources.missing:
        console.log.warning(
            "%d of %d annotated videos have no file in %s (%s)",
            len(sources.missing),
            len(sources.missing) + len(sources.paths),
            videos,
            sources.first_missing,
        )
    if not encoder_config.adapter_weights:  # new adapters add nothing: the plain encoder gives the same rows
        encoder_config = encoder_config.model_copy(update={"adapter": None})
    encoder = build_encoder(encoder_config, seed=run.train.seed)
    precision = how.precision or run.train.precision
    data = run.data
    spec = feature_spec(encoder, data.fps, data.max_frames, how.dtype, data.reader, precision)
    report = ExtractReport(store_path, missing=list(sources.missing))
    stream = _here(encoder, precision, how) if how.actors is None else _by_actors(encoder_config, run, how)
    with open_store(store_path, spec) as store:
        Extraction(run.data, how, store, as_stored(sources, store), encoder.grid, stream, report).run()
    return report


def _here(encoder: Encoder, precision: PrecisionName, how: ExtractOptions) -> Stream:
    """Encode in this process."""
    clips = clip_encoder(encoder, how.device, precision, how.batch_clips)
    return lambda tasks: encode_stream(clips, tasks, how.num_workers)


def _by_actors(config: EncoderConfig, run: RunConfig, how: ExtractOptions) -> Stream:
    """Encode in actors, which begin when the first event is asked for."""
    assert how.actors is not None
    actors = how.actors
    require_ray()

    def stream(tasks: Iterable[DecodeTask]) -> Events:
        with connected(actors, how.device) as cluster:
            work = EncodeVideos(
                config=config,
                seed=run.train.seed,
                device=how.device,
                precision=how.precision or run.train.precision,
                batch_clips=how.batch_clips,
                workers=how.workers if how.workers >= 0 else cluster.decoders,
                dtype=how.dtype,
                threads=torch.get_num_threads(),
            )
            with closing(run_on_actors(cluster, work, tasks)) as events:
                yield from events

    return stream


def _required(run: RunConfig) -> tuple[Path, Path, EncoderConfig]:
    """What an extraction cannot do without: videos, store, encoder."""
    for name in ("videos", "store"):
        if not getattr(run.data, name):
            raise ConfigError(f"data.{name} is empty: name it, --{name} PATH or --set data.{name}=PATH")
    if is_url(run.data.store):
        raise ConfigError(
            f"{run.data.store}: extraction writes to a path; `longtal store push` brings it there"
        )
    if run.encoder is None:
        raise ConfigError("there is no `encoder` section to look at videos with")
    return Path(run.data.videos), Path(run.data.store), run.encoder


def open_store(path: Path, spec: FeatureSpec) -> FeatureStore:
    """Open a store for writing, made if it is not there; another must have been made the same way."""
    if not path.exists():
        try:
            with building(path) as work:
                FeatureStore.create(work, spec).close()
        except OSError:
            if not path.exists():  # another process was faster
                raise
    with FeatureStore.open(path) as store:
        remarks = store.spec.require(
            spec,
            "this extraction",
            then="extract into a new store, or with the encoder, sampling, reader and precision of this one",
            store=path,
        )
        for remark in remarks:
            console.log.info("%s, compared with this extraction: %s", path, remark)
        if store.run_id is not None:
            raise StoreSpecError(
                f"{path}: training ({store.run_id}) has refreshed its rows: extract into a store of its own"
            )
    _tell_of_spool(path / "extract")
    try:
        return FeatureStore.open(path, mode="r+")
    except StoreLockedError as error:
        raise StoreLockedError(
            f"{error}; one process extracts into a store: share the videos among actors (--ray), or "
            "by --part I/N into stores of their own"
        ) from error


def _tell_of_spool(folder: Path) -> None:
    """Say what becomes of finished videos that versions before 0.2 kept beside the store for a moment."""
    left = len(list(folder.glob("*.done")))
    if left:
        console.log.warning(
            "%s: holds %d videos that an earlier version finished and did not put into the store; "
            "they are extracted again. Nothing reads the folder any more: remove it",
            folder,
            left,
        )


class Extraction:
    """One run over the videos that the store lacks; ``stream`` encodes them."""

    def __init__(
        self,
        data: DataConfig,
        how: ExtractOptions,
        store: FeatureStore,
        paths: Mapping[str, Path],
        grid: ClipGrid,
        stream: Stream,
        report: ExtractReport,
    ) -> None:
        self.data, self.how, self.store, self.paths = data, how, store, paths
        self.grid, self.stream, self.report = grid, stream, report
        self._committed_at = time.monotonic()

    def run(self) -> None:
        todo = register(self.data, self.how, self.store, self.paths, self.grid, self.report)
        started = time.monotonic()
        try:
            self.encode([record for record in todo if record.state == "reserved"])
        finally:
            self.store.commit()  # also when interrupted: what is finished is safe
        self.report.wall_s = time.monotonic() - started

    def encode(self, todo: list[VideoRecord]) -> None:
        """Put the rows of these reserved videos into the store."""
        # long videos first: no worker is left alone with one at the end
        order = sorted(todo, key=lambda r: -(r.duration_s or 0.0))
        receivers: dict[str, Receiver] = {}
        with console.progress() as bar, closing(self.stream(self._tasks(order, receivers))) as stream:
            videos = bar.add_task("videos", total=len(todo))
            minutes = bar.add_task("minutes of video", total=sum(r.duration_s or 0.0 for r in todo) / 60)
            for event in stream:
                if isinstance(event, EncodedClip):
                    self._write(receivers[event.key], event)
                    bar.advance(minutes, _clip_s(self.grid, receivers[event.key].record) / 60)
                elif isinstance(event, Finished):
                    self._end(receivers.pop(event.key), event)
                    bar.advance(videos)
                self._commit_now_and_then()

    def _tasks(self, order: list[VideoRecord], receivers: dict[str, Receiver]) -> Iterator[DecodeTask]:
        """Videos for the decoders, one by one as they ask."""
        for record in order:
            receivers[record.id] = Receiver(self.store, record, self.paths[record.id])
            yield DecodeTask(record.id, self.paths[record.id], self.data.reader, record.fps)

    def _write(self, receiver: Receiver, encoded: EncodedClip) -> None:
        receiver.add(self.grid.first_row(encoded.clip), encoded.rows)

    def _end(self, receiver: Receiver, event: Finished) -> None:
        record = receiver.record
        reason = receiver.end(event)
        if reason:
            self.report.failed[record.id] = reason
            console.log.warning("%s", reason)
            return
        self.report.done.append(record.id)
        self.report.num_rows += record.num_rows
        self.report.video_s += record.duration_s or 0.0

    def _commit_now_and_then(self) -> None:
        """Also in the middle of videos: what the log holds stays small, however long they are."""
        if time.monotonic() - self._committed_at >= self.how.commit_every_s:
            with uninterrupted():
                self.store.commit()
            self._committed_at = time.monotonic()


def _clip_s(grid: ClipGrid, record: VideoRecord) -> float:
    """Seconds of a clip of the video."""
    return FrameGrid(record.fps).to_seconds(grid.clip_frames)
