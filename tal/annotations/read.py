"""Read and write annotations of any known format."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path

from tal.annotations.account import Account
from tal.annotations.columns import columns_of, rows_by_column
from tal.annotations.files import check_name, too_deep
from tal.annotations.formats.base import refuse_names
from tal.annotations.formats.registry import detect_format, find_format
from tal.annotations.ids import match_ids
from tal.annotations.labels import clean_label
from tal.annotations.options import ReadOptions
from tal.annotations.rows import read_table
from tal.annotations.times import to_rate, to_seconds
from tal.annotations.types import AnnotationSet, label_order
from tal.errors import AnnotationError


def read_annotations(
    path: str | Path,
    file_format: str = "auto",
    keep_duplicates: bool = False,
    ignore_labels: Collection[str] = ("Ambiguous",),
    subset: str = "",
    target: str = "action",
    labels: Path | None = None,
    info: Path | None = None,
    time_stamps: Callable[[str], Sequence[float] | None] | None = None,
    frame_rate: float = 0.0,
) -> AnnotationSet:
    """Read annotations of any format.

    Parameters
    ----------
    file_format
        a name in `tal.annotations.formats.registry.BY_NAME`, or "auto": told by name and content.
    keep_duplicates, ignore_labels, subset, target, labels, time_stamps, frame_rate
        see `ReadOptions`.
    info
        a table of videos that fills in what the annotations lack.

    Raises
    ------
    AnnotationError
        the file is missing or not what it should be.
    """
    path = Path(path)
    if not (math.isfinite(frame_rate) and frame_rate >= 0):
        raise AnnotationError(f"a timeline of {frame_rate:g} frames a second: give a number above 0")
    options = ReadOptions(
        keep_duplicates, tuple(ignore_labels), subset, target, labels, frame_rate=frame_rate
    )
    if time_stamps is not None:
        options = replace(options, time_stamps=time_stamps)
    try:
        chosen = detect_format(path) if file_format == "auto" else find_format(file_format)
        assert chosen.read is not None, "formats of detections alone detect nothing"
        annotations = chosen.read(path, options)
    except RecursionError:
        raise too_deep(str(path)) from None
    return with_info(annotations, info) if info is not None else annotations


def write_annotations(annotations: AnnotationSet, path: str | Path, file_format: str = "activitynet") -> None:
    """Write annotations; THUMOS14's text files take a folder, and so do ELAN's files of several videos.

    What the format has no place for is left out: `Format.losses` tells it.

    Raises
    ------
    AnnotationError
        the format cannot hold a name that occurs.
    """
    chosen = find_format(file_format)
    assert chosen.write is not None, "formats of detections alone have no name here"
    for name in annotations.videos:
        check_name(name, "a video")
    for label in annotations.used_labels:
        check_name(label, "a label")
    refuse_names(
        annotations.used_labels,
        lambda label: label == clean_label(label),
        "readers take labels without blanks around them, and in composed Unicode (NFC); not so",
    )
    chosen.write(annotations, Path(path))


def with_info(annotations: AnnotationSet, path: Path) -> AnnotationSet:
    """Fill in subset, duration and frame rate from a table of videos, such as ActivityNet's
    ``video_info_new.csv``.

    Ids are matched (`tal.annotations.ids`); notes say how, and how many videos the table does not have.

    Raises
    ------
    AnnotationError
        the table has no column of videos, or a number in it makes no sense.
    """
    table = read_table(path)
    columns = columns_of(table.header)
    if "video" not in columns:
        raise AnnotationError(f"{path}: a table of videos needs a column 'video'")
    decimals = table.decimals(columns[name].place for name in ("duration", "fps") if name in columns)
    row_of: dict[str, tuple[str, dict[str, str]]] = {}
    for where, cells in rows_by_column(table, columns, times=("duration",)):
        before = row_of.setdefault(cells["video"], (where, cells))[1]
        if any(before.get(name) != cells.get(name) for name in ("subset", "duration", "fps")):
            raise AnnotationError(f"{where}: another line says otherwise of video {cells['video']!r}")
    matches = match_ids(annotations.videos, row_of)
    videos, missing = {}, 0
    for name, video in annotations.videos.items():
        if name not in matches.pairs:
            missing += 1
            videos[name] = video
            continue
        where, cells = row_of[matches.pairs[name]]
        value: dict[str, float | None] = {}
        for ours, read in (("duration", to_seconds), ("fps", to_rate)):
            text = decimals.plain(cells.get(ours, ""), where)
            number = read(text, f"{where}: {ours}") if text else 0.0
            value[ours] = number if number > 0 else None
        videos[name] = replace(
            video,
            subset=video.subset or cells.get("subset", ""),
            duration_s=video.duration_s if video.duration_s is not None else value["duration"],
            fps=video.fps if video.fps is not None else value["fps"],
        )
    notes = (*annotations.notes, *(f"{path.name}: {note}" for note in matches.notes("annotated id")))
    if missing:
        notes = (*notes, f"{path.name} does not have {missing} of {len(videos)} videos")
    return replace(annotations, videos=videos, notes=notes)


def merge(sets: Sequence[AnnotationSet]) -> AnnotationSet:
    """Several files as one set.

    Raises
    ------
    AnnotationError
        a video is in two of them.
    """
    videos: dict = {}
    for part in sets:
        if both := videos.keys() & part.videos.keys():
            raise AnnotationError(
                f"{part.source}: {len(both)} videos are in another file too, such as {min(both)!r}"
            )
        videos |= part.videos
    same_labels = len({part.labels for part in sets}) == 1
    return AnnotationSet(
        videos,
        tuple(dict.fromkeys(sets[0].labels)) if same_labels else label_order(videos.values()),
        tuple(n for p in sets for n in p.notes),
        tuple(e for p in sets for e in p.excluded),
        " + ".join(p.source for p in sets),
        sets[0].format,
        sum((p.account for p in sets), Account()),
    )
