"""EPIC-KITCHENS-100's CSV, as verbs, nouns or actions (verb and noun).

Class names come from ``EPIC_100_verb_classes.csv`` / ``EPIC_100_noun_classes.csv`` where they lie beside;
else a class is called by the word that narrators used most for it. The subset is in the file's name.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tal.annotations.builder import Builder
from tal.annotations.formats.base import Format, refuse_names
from tal.annotations.options import ReadOptions
from tal.annotations.rows import listed_classes, read_table, write_rows
from tal.annotations.types import AnnotationSet
from tal.errors import AnnotationError

_NEEDED = ("video_id", "start_timestamp", "stop_timestamp")
_HEADER = (
    *("narration_id", "participant_id", *_NEEDED, "narration"),
    *("verb", "verb_class", "noun", "noun_class"),
)
_LABEL = re.compile(r"\S+( \S+)?")
TARGETS = ("verb", "noun", "action")


def read_epic(path: Path, options: ReadOptions) -> AnnotationSet:
    """Read a file of EPIC-KITCHENS-100; ``options.target`` says what a label is.

    An action's label is verb and noun with a blank between; class names have none within. A row without a
    noun is labelled by its verb.

    Raises
    ------
    AnnotationError
        a column or value is missing, or a class has no name; names file and line.
    """
    if options.target not in TARGETS:
        raise AnnotationError(f"EPIC-KITCHENS labels are {', '.join(TARGETS)}, not {options.target!r}")
    parts = ("verb", "noun") if options.target == "action" else (options.target,)
    rows = list(read_table(path).dicts((*_NEEDED, *(f"{p}_class" for p in parts)), parts))
    names = {p: _class_names(path, p, options, [cells for _, cells in rows]) for p in parts}
    subset = options.subset or _subset_of(path)
    build = Builder(path.name, options)
    for where, cells in rows:
        classes = [p for p in parts if not _lacks_noun(p, cells)]
        if lacking := [c for c in (*_NEEDED, *(f"{p}_class" for p in classes)) if not cells[c]]:
            raise AnnotationError(f"{where}: lacks a value of {', '.join(lacking)}")
        if unnamed := [p for p in classes if cells[f"{p}_class"] not in names[p]]:
            number = cells[f"{unnamed[0]}_class"]
            raise AnnotationError(
                f"{where}: {unnamed[0]} class {number!r} has no name in the list of classes"
            )
        build.video(cells["video_id"], subset)
        label = " ".join(names[p][cells[f"{p}_class"]] for p in classes)
        build.segment(cells["video_id"], cells["start_timestamp"], cells["stop_timestamp"], label, where)
    return build.build("epic100")


def _lacks_noun(part: str, cells: dict[str, str]) -> bool:
    return part == "noun" and not cells["noun_class"] and not cells.get("noun")


def _class_names(path: Path, part: str, options: ReadOptions, rows: list[dict[str, str]]) -> dict[str, str]:
    """Class number -> name: listed, or the commonest word; with its number where two classes share it."""
    given = options.labels if options.target == part else None
    listed = listed_classes(path, f"EPIC_100_{part}_classes.csv", given)
    if listed is not None:
        return listed
    words: dict[str, Counter[str]] = {}
    for cells in rows:
        word = cells.get(part, "").strip().replace(" ", "-")
        words.setdefault(cells.get(f"{part}_class", ""), Counter())[word] += 1
    names = {number: counts.most_common(1)[0][0] or number for number, counts in words.items()}
    shared = {n for n, k in Counter(names.values()).items() if k > 1}
    return {number: f"{name}#{number}" if name in shared else name for number, name in names.items()}


def _subset_of(path: Path) -> str:
    return next((k for k in ("train", "validation", "test") if k in path.stem.lower()), "")


def write_epic(annotations: AnnotationSet, path: Path) -> None:
    """Write the columns that readers need; times to the millisecond.

    Labels are a verb, or verb and noun with a blank between.

    Raises
    ------
    AnnotationError
        a label is neither.
    """
    labels = annotations.used_labels
    refuse_names(labels, _LABEL.fullmatch, "EPIC-KITCHENS labels are 'verb' or 'verb noun', not")
    verbs = _numbers(label.partition(" ")[0] for label in labels)
    nouns = _numbers(label.partition(" ")[2] for label in labels)
    rows = []
    for name, video in annotations.videos.items():
        for i, s in enumerate(video.all_segments):
            verb, _, noun = s.label.partition(" ")
            times = [_stamp(s.start_s), _stamp(s.end_s)]
            about = [f"{name}_{i}", name.partition("_")[0], name, *times, s.label]
            rows.append([*about, verb, verbs[verb], noun, nouns.get(noun, "")])
    write_rows(path, _HEADER, rows)


def _numbers(words: Iterable[str]) -> dict[str, int]:
    return {word: i for i, word in enumerate(sorted({word for word in words if word}))}


def _stamp(seconds: float) -> str:
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest / 1000:06.3f}"


FORMAT = Format(
    "epic100",
    "EPIC-KITCHENS-100 CSV (verb, noun or action)",
    read_epic,
    write_epic,
    detect=lambda content: {"verb_class", "start_timestamp"} <= set(content.header),
    precision_s=1e-3,
    keeps=("segments without length",),
)
