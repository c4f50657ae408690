"""Extraction from start to end: register, encode what is missing, put it into the store, report."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from pathlib import Path

from featstore import FeatureSpec, FeatureStore, StoreSpecError, VideoRecord
from featstore.transfer import building
from pipelines.config import DataConfig, RunConfig
from pipelines.data.run_annotations import read_whole
from pipelines.data.videos import find_sources, tell
from pipelines.extract.crew import Crew, deliver
from pipelines.extract.options import ExtractOptions
from pipelines.extract.register import as_stored, register
from pipelines.extract.report import ExtractReport, require_some
from pipelines.extract.spool import Spool
from pipelines.shared import console
from tal.annotations import AnnotationSet
from tal.device import choose_device
from tal.encoders import Encoder, EncoderConfig, build_encoder, fastest_batch, feature_spec
from tal.encoders.stream import ClipEncoder, EncodedClip, encode_stream
from tal.errors import ConfigError
from tal.grid import FrameGrid
from tal.video import require_reader
from tal.video.pool import Begun, DecodeTask, Finished

__all__ = ["ExtractReport", "extract", "open_store", "require_some"]

_POLL_S = 0.5


def extract(
    run: RunConfig, how: ExtractOptions | None = None, annotations: AnnotationSet | None = None
) -> ExtractReport:
    """Encode the videos of a run into its feature store; videos that are complete in it are kept.

    A video that cannot be read is marked failed in the store, and the rest goes on; it is tried again by the
    next run. Several processes may extract into one store at once: each takes videos that no other has, and
    returns when all are through.

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
        something that is not an extraction writes to the store.
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
    device = choose_device(how.device, apple=True)
    if not encoder_config.adapter_weights:  # new adapters add nothing: the plain encoder gives the same rows
        encoder_config = encoder_config.model_copy(update={"adapter": None})
    encoder = build_encoder(encoder_config, seed=run.train.seed)
    precision = how.precision or run.train.precision
    data = run.data
    spec = feature_spec(encoder, data.fps, data.max_frames, how.dtype, data.reader, precision)
    report = ExtractReport(store_path, missing=list(sources.missing))
    batch_clips = how.batch_clips or fastest_batch(encoder, device, precision)
    if device.type == "cuda":
        console.log.info("%d clips at once, in %s", batch_clips, precision)
    clips = ClipEncoder(encoder, device, batch_clips, precision)
    with open_store(store_path, spec) as store, Crew(store_path) as crew:
        _Extraction(run.data, how, store, crew, as_stored(sources, store), clips, report).run()
    return report


def _required(run: RunConfig) -> tuple[Path, Path, EncoderConfig]:
    """What an extraction cannot do without: videos, store, encoder."""
    for name in ("videos", "store"):
        if not getattr(run.data, name):
            raise ConfigError(f"data.{name} is empty: name it, --{name} PATH or --set data.{name}=PATH")
    if run.encoder is None:
        raise ConfigError("there is no `encoder` section to look at videos with")
    return Path(run.data.videos), Path(run.data.store), run.encoder


def open_store(path: Path, spec: FeatureSpec) -> FeatureStore:
    """Open a store for reading, made if it is not there; another must have been made the same way."""
    if not path.exists():
        try:
            with building(path) as work:
                FeatureStore.create(work, spec).close()
        except OSError:
            if not path.exists():  # another process was faster
                raise
    store = FeatureStore.open(path)
    try:
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
    except StoreSpecError:
        store.close()
        raise
    return store


class _Extraction:
    """One process's run over the videos that the store lacks."""

    def __init__(
        self,
        data: DataConfig,
        how: ExtractOptions,
        store: FeatureStore,
        crew: Crew,
        paths: Mapping[str, Path],
        clips: ClipEncoder,
        report: ExtractReport,
    ) -> None:
        self.data, self.how, self.store, self.crew, self.paths = data, how, store, crew, paths
        self.clips, self.report = clips, report
        self._hands: dict[str, Spool] = {}  # videos that this process has claimed
        self._delivered_at = time.monotonic()

    def run(self) -> None:
        with self.crew.writing(wait_s=5.0) as writer:
            deliver(writer, self.crew.folder)  # what an interrupted run had finished
            todo = register(
                self.data, self.how, writer, self.crew.first, self.paths, self.clips.encoder, self.report
            )
        started = time.monotonic()
        try:
            self._encode(todo)
        finally:
            for spool in self._hands.values():
                spool.discard()
            self.crew.deliver()  # also when interrupted: what is finished is safe
        self.report.wall_s = time.monotonic() - started
        self._close(todo)

    def _encode(self, todo: list[VideoRecord]) -> None:
        # long videos first: no worker is left alone with one at the end
        order = sorted(todo, key=lambda r: -(r.duration_s or 0.0))
        open_ = {r.id: r for r in order if r.state == "reserved"}
        total_s = sum(r.duration_s or 0.0 for r in open_.values())
        with console.progress() as bar:
            videos = bar.add_task("videos", total=len(open_))
            minutes = bar.add_task("minutes of video", total=total_s / 60)

            def left_to_others(record: VideoRecord) -> None:
                bar.advance(videos)
                bar.advance(minutes, (record.duration_s or 0.0) / 60)

            waiting = False
            while open_:
                with closing(self._stream(self._claim(open_, left_to_others))) as stream:
                    for event in stream:
                        spool = self._hands[event.key]
                        if isinstance(event, EncodedClip):
                            self._write(spool, event)
                            bar.advance(minutes, _clip_s(self.clips.encoder, spool.record) / 60)
                        elif isinstance(event, Finished):
                            self._end(spool, event)
                            bar.advance(videos)
                            self._deliver_now_and_then()
                if not open_:
                    return
                if not waiting:
                    self.crew.deliver()
                    console.log.info(
                        "nothing left to take: waiting for %d videos that other processes have", len(open_)
                    )
                waiting = True
                time.sleep(_POLL_S)

    def _claim(
        self, open_: dict[str, VideoRecord], left_to_others: Callable[[VideoRecord], None]
    ) -> Iterator[DecodeTask]:
        """Videos for the decoders, one by one as they ask.

        Those that other processes have at the moment stay in ``open_``.
        """
        for record in list(open_.values()):
            spool = self.crew.claim(record, self.store)
            if spool is None:
                continue
            del open_[record.id]
            if self.crew.is_done(record, self.store):
                spool.discard()
                left_to_others(record)
                continue
            self._hands[record.id] = spool
            yield DecodeTask(record.id, self.paths[record.id], self.data.reader, record.fps)

    def _stream(self, tasks: Iterator[DecodeTask]) -> Generator[Begun | EncodedClip | Finished, None, None]:
        return encode_stream(self.clips, tasks, self.how.num_workers)

    def _write(self, spool: Spool, encoded: EncodedClip) -> None:
        spool.add(self.clips.encoder.grid.first_row(encoded.clip), encoded.rows)

    def _end(self, spool: Spool, event: Finished) -> None:
        record = spool.record
        if event.error:
            spool.error = event.error
        elif event.num_frames != record.num_frames:
            spool.error = (
                f"{self.paths[record.id]}: has {event.num_frames} frames, "
                f"{record.num_frames} when it was registered: remove it from the store and extract again"
            )
        spool.finish()
        del self._hands[record.id]
        if spool.error:
            self._failed(record.id, spool.error)
            return
        self.report.done.append(record.id)
        self.report.num_rows += record.num_rows
        self.report.video_s += record.duration_s or 0.0

    def _failed(self, video_id: str, reason: str) -> None:
        self.report.failed[video_id] = reason
        console.log.warning("%s", reason)

    def _deliver_now_and_then(self) -> None:
        if time.monotonic() - self._delivered_at >= self.how.commit_every_s:
            self.crew.deliver()
            self._delivered_at = time.monotonic()

    def _close(self, todo: list[VideoRecord]) -> None:
        """What became of the videos that other processes took."""
        mine = set(self.report.done)
        for record in todo:
            now = self.store.video(record.id)
            if now.state == "complete":
                if record.id not in mine:
                    self.report.others.append(record.id)
            else:
                reason = now.reason or f"video {record.id!r}: its rows got lost on their way: extract again"
                self.report.failed.setdefault(record.id, reason)


def _clip_s(encoder: Encoder, record: VideoRecord) -> float:
    """Seconds of a clip of the video."""
    return FrameGrid(record.fps).to_seconds(encoder.grid.clip_frames)
