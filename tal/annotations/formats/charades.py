"""Charades' CSV: one video per row, ``actions`` = ``c092 11.90 21.20;c147 0.00 12.60``.

Class codes get their names from ``Charades_v1_classes.txt`` (``c000 Holding some clothes``), if it is in the
same folder.
"""

from __future__ import annotations

from pathlib import Path

from tal.annotations.builder import Builder
from tal.annotations.formats.base import Format, refuse_blanks
from tal.annotations.options import ReadOptions
from tal.annotations.rows import listed_classes, name_of_class, read_table, write_class_list, write_rows
from tal.annotations.times import to_seconds
from tal.annotations.types import AnnotationSet
from tal.errors import AnnotationError

_CLASSES = "Charades_v1_classes.txt"


def read_charades(path: Path, options: ReadOptions) -> AnnotationSet:
    """Read ``Charades_v1_train.csv`` / ``_test.csv``; the subset is in the file's name."""
    names = listed_classes(path, _CLASSES, options.labels) or {}
    subset = options.subset or next((k for k in ("train", "test") if k in path.stem.lower()), "")
    build = Builder(path.name, options)
    table = read_table(path)
    decimals = table.decimals([table.header.index("length")] if "length" in table.header else [])
    for where, cells in table.dicts(("id", "actions", "length"), ("subset",)):
        video = cells["id"].strip()
        length = decimals.plain(cells["length"], where)
        duration_s = to_seconds(length, f"{where}: length") if length else None
        build.video(video, cells.get("subset", "").strip() or subset, duration_s)
        for action in filter(str.strip, cells["actions"].split(";")):
            parts = action.split()
            if len(parts) != 3:
                raise AnnotationError(f"{where}: an action is 'class start end', not {action[:80]!r}")
            build.segment(video, parts[1], parts[2], name_of_class(names, parts[0], where), where)
    return build.build("charades", tuple(names.values()))


def write_charades(annotations: AnnotationSet, path: Path) -> None:
    """Write the CSV (with a column ``subset``, which the original lacks) and the class list beside it.

    Raises
    ------
    AnnotationError
        a name cannot be held, or the class list that lies there is another one.
    """
    refuse_blanks(annotations, "Charades' CSV")
    codes = {name: f"c{i:03d}" for i, name in enumerate(annotations.used_labels)}
    rows = []
    for name, video in annotations.videos.items():
        actions = (f"{codes[s.label]} {s.start_s!r} {s.end_s!r}" for s in video.all_segments)
        length = "" if video.duration_s is None else repr(video.duration_s)
        rows.append([name, ";".join(actions), length, video.subset])
    write_class_list(path.parent / _CLASSES, {code: name for name, code in codes.items()})
    write_rows(path, ["id", "actions", "length", "subset"], rows)


FORMAT = Format(
    "charades",
    "Charades CSV",
    read_charades,
    write_charades,
    detect=lambda content: {"id", "actions", "length"} <= set(content.header),
    keeps=("subsets", "durations", "videos without a segment", "segments without length"),
)
