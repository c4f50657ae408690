"""Which videos an extraction is about: reserve their rows in the store, once for all processes."""

from __future__ import annotations

from pathlib import Path

from featstore import FeatureStore, VideoRecord
from pipelines import console
from pipelines.extract.config import ExtractConfig
from pipelines.extract.report import ExtractReport
from pipelines.extract.sources import Sources, share
from tal.encoders import Encoder, sampling_fps
from tal.grid import ClipGrid
from tal.video import VideoInfo
from tal.video.pool import ClipShape, DecodeTask, Finished, decode_all


def register(
    config: ExtractConfig,
    writer: FeatureStore,
    first: bool,
    sources: Sources,
    encoder: Encoder,
    report: ExtractReport,
) -> list[VideoRecord]:
    """Reserve rows of new and formerly failed videos; the records of all that are not complete.

    Videos that cannot be read are marked failed and noted in the report, as are those that are kept.
    Formerly failed ones are tried again, and damaged ones reopened (``repair``), by the ``first`` process of
    those that share the work; the others leave it at that.
    """
    if config.repair and first:
        _reopen_damaged(writer, sources)
    known = writer.videos().set_index("id")["state"].to_dict()
    again = "failed" if first else None
    unknown = {k: p for k, p in sources.paths.items() if known.get(k, again) == again}
    infos, failed = _look(unknown, config.num_workers)
    report.failed |= failed
    durations_s = {k: info.duration_s for k, info in infos.items()}
    registered = [k for k in sources.paths if k not in unknown]
    durations_s |= {k: writer.video(k).duration_s or 0.0 for k in registered}
    mine = set(share(durations_s, config.part, config.parts))
    report.kept = sorted(k for k in mine if known.get(k) == "complete")
    table = [_record(k, infos[k], config, encoder) for k in sorted(infos) if k in mine]
    unread = sorted(failed) if config.part == 0 else []
    writer.add_videos(table + [{"id": k, "num_rows": 1} for k in unread if k not in known])
    for video_id in unread:
        writer.fail(video_id, failed[video_id])
    writer.commit()
    return [writer.video(k) for k in sorted(mine) if known.get(k) != "complete"]


def _reopen_damaged(writer: FeatureStore, sources: Sources) -> None:
    writer.mend_chunks()
    damaged = sorted(set(writer.damaged_rows()["video"]) & set(sources.paths))
    for video_id in damaged:
        writer.reopen(video_id)
    if damaged:
        writer.commit()
        console.log.warning("%d videos have damaged rows and are extracted again", len(damaged))


def _look(paths: dict[str, Path], workers: int) -> tuple[dict[str, VideoInfo], dict[str, str]]:
    """Index each file -> what it is, or why it cannot be read, by id."""
    infos: dict[str, VideoInfo] = {}
    failed: dict[str, str] = {}
    if not paths:
        return infos, failed
    with console.progress("videos") as bar:
        task = bar.add_task("opening videos", total=len(paths))
        tasks = [DecodeTask(k, p) for k, p in paths.items()]
        for event in decode_all(tasks, ClipShape(1, 32, 32), workers if len(paths) > 64 else 0):
            assert isinstance(event, Finished)
            if event.info is None:
                failed[event.key] = event.error
                console.log.warning("%s", event.error)
            else:
                infos[event.key] = event.info
            bar.advance(task)
    return infos, failed


def _record(video_id: str, info: VideoInfo, config: ExtractConfig, encoder: Encoder) -> dict[str, object]:
    fps = sampling_fps(info, config.fps, config.max_frames)
    num_frames = ClipGrid(fps, 1, 1).num_frames(info.duration_s)
    return {
        "id": video_id,
        "num_rows": -(-num_frames // encoder.frame_stride),
        "fps": fps,
        "duration_s": info.duration_s,
        "num_frames": num_frames,
    }
