"""Which videos an extraction is about: reserve their rows in the store."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from featstore import FeatureStore, VideoRecord
from pipelines.config import DataConfig
from pipelines.data.videos import Sources, open_videos, tell
from pipelines.extract.options import ExtractOptions
from pipelines.extract.report import ExtractReport
from pipelines.shared import console
from pipelines.shared.dealing import deal
from tal.annotations.ids import match_ids
from tal.grid import ClipGrid, FrameGrid
from tal.video import VideoInfo


def register(
    data: DataConfig,
    how: ExtractOptions,
    writer: FeatureStore,
    paths: Mapping[str, Path],
    grid: ClipGrid,
    report: ExtractReport,
) -> list[VideoRecord]:
    """Reserve rows of new and formerly failed videos; the records of all that are not complete.

    ``paths``: the videos' files by id, as the store writes it where it has them (`as_stored`).
    Videos that cannot be read are marked failed and noted in the report, as are those that are kept. Damaged
    ones are reopened (``repair``).
    """
    if how.repair:
        _reopen_damaged(writer, paths)
    known = writer.videos().set_index("id")["state"].to_dict()
    unknown = {k: p for k, p in paths.items() if known.get(k, "failed") == "failed"}
    infos, failed = open_videos(unknown, data.reader, how.num_workers)
    for reason in failed.values():
        console.log.warning("%s", reason)
    report.failed |= failed
    durations_s = {k: info.duration_s for k, info in infos.items()}
    registered = [k for k in paths if k not in unknown]
    durations_s |= {k: writer.video(k).duration_s or 0.0 for k in registered}
    mine = set(share(durations_s, how.part, how.parts))
    report.kept = sorted(k for k in mine if known.get(k) == "complete")
    table = [_record(k, infos[k], data, grid) for k in sorted(infos) if k in mine]
    unread = sorted(failed) if how.part == 0 else []
    writer.add_videos(table + [{"id": k, "num_rows": 1} for k in unread if k not in known])
    for video_id in unread:
        writer.fail(video_id, failed[video_id])
    writer.commit()
    return [writer.video(k) for k in sorted(mine) if known.get(k) != "complete"]


def _reopen_damaged(writer: FeatureStore, paths: Mapping[str, Path]) -> None:
    writer.mend_chunks()
    damaged = sorted(set(writer.damaged_rows()["video"]) & set(paths))
    for video_id in damaged:
        writer.reopen(video_id)
    if damaged:
        writer.commit()
        console.log.warning("%d videos have damaged rows and are extracted again", len(damaged))


def as_stored(sources: Sources, store: FeatureStore) -> dict[str, Path]:
    """The files under the ids that the store has for their videos, where it has them.

    Version 0.1 named videos without their folders: what it extracted stays, under the name that it has.
    """
    matches = match_ids(sources.listed, store.videos()["id"])
    tell(matches, "video id")
    return {matches.pairs.get(video_id, video_id): path for video_id, path in sources.paths.items()}


def share(durations_s: Mapping[str, float], part: int, parts: int) -> list[str]:
    """The videos of one machine: longest first, each to the machine with the least so far.

    Every machine comes to the same result.
    """
    owner = deal({name: durations_s[name] for name in sorted(durations_s)}, parts)
    return [name for name in sorted(owner) if owner[name] == part]


def _record(video_id: str, info: VideoInfo, data: DataConfig, grid: ClipGrid) -> dict[str, object]:
    sampling = FrameGrid(data.fps).capped(info.duration_s, data.max_frames)
    num_frames = sampling.num_frames(info.duration_s)
    return {
        "id": video_id,
        "num_rows": grid.num_rows(num_frames),
        "fps": sampling.fps,
        "duration_s": info.duration_s,
        "num_frames": num_frames,
    }
