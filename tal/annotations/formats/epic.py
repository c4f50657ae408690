"""EPIC-KITCHENS-100's CSV, as verbs, nouns or actions (verb and noun).

Class names come from ``EPIC_100_verb_classes.csv`` / ``EPIC_100_noun_classes.csv`` where they lie beside;
else a class is called by the word that narrators used most for it. The subset is in the file's name.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tal.annotations.builder import Builder
from tal.annotations.options import ReadOptions
from tal.annotations.rows import dict_rows, read_class_list, read_rows, write_rows
from tal.annotations.types import AnnotationSet
from tal.errors import AnnotationError

_NEEDED = ("video_id", "start_timestamp", "stop_timestamp")
TARGETS = ("verb", "noun", "action")


def read_epic(path: Path, options: ReadOptions) -> AnnotationSet:
    """Read a file of EPIC-KITCHENS-100; ``options.target`` says what a label is.

    An action's label is verb and noun with a blank between; class names have none within.
    """
    if options.target not in TARGETS:
        raise AnnotationError(f"EPIC-KITCHENS labels are {', '.join(TARGETS)}, not {options.target!r}")
    parts = ("verb", "noun") if options.target == "action" else (options.target,)
    rows = list(dict_rows(path, read_rows(path, ","), (*_NEEDED, *(f"{p}_class" for p in parts))))
    names = {p: _class_names(path, p, options, [cells for _, cells in rows]) for p in parts}
    subset = options.subset or _subset_of(path)
    build = Builder(path.name, options)
    for where, cells in rows:
        try:
            video = cells["video_id"]
            label = " ".join(names[p][cells[f"{p}_class"]] for p in parts)
            start, end = cells["start_timestamp"], cells["stop_timestamp"]
        except KeyError as error:
            raise AnnotationError(f"{where}: lacks a value, or its class has no name ({error})") from None
        build.video(video, subset)
        build.segment(video, start, end, label)
    return build.build("epic100")


def _class_names(path: Path, part: str, options: ReadOptions, rows: list[dict[str, str]]) -> dict[str, str]:
    beside = path.parent / f"EPIC_100_{part}_classes.csv"
    listed = options.labels if options.labels and options.target == part else None
    if listed or beside.is_file():
        return read_class_list(listed or beside)
    words: dict[str, Counter[str]] = {}
    for cells in rows:
        word = cells.get(part, "").strip().replace(" ", "-")
        words.setdefault(cells.get(f"{part}_class", ""), Counter())[word] += 1
    names = {number: most.most_common(1)[0][0] or number for number, most in words.items()}
    twice = {n for n, k in Counter(names.values()).items() if k > 1}
    return {number: f"{name}#{number}" if name in twice else name for number, name in names.items()}


def _subset_of(path: Path) -> str:
    known = ("train", "validation", "test")
    return next((k for k in known if k in path.stem.lower()), "")


def write_epic(annotations: AnnotationSet, path: Path) -> None:
    """Write the columns that readers need; times to the millisecond. Labels are a verb, or verb and noun
    with a blank between; subset and duration have no place in this format."""
    labels = sorted({s.label for v in annotations.videos.values() for s in (*v.counted, *v.ignored)})
    if bad := [n for n in labels if n.count(" ") > 1]:
        raise AnnotationError(f"EPIC-KITCHENS labels are 'verb' or 'verb noun', not {bad[0]!r}")
    verbs = {n: i for i, n in enumerate(sorted({n.partition(" ")[0] for n in labels}))}
    nouns = {n: i for i, n in enumerate(sorted({n.partition(" ")[2] for n in labels}))}
    rows = []
    for name, video in annotations.videos.items():
        for i, s in enumerate((*video.counted, *video.ignored)):
            verb, _, noun = s.label.partition(" ")
            rows.append(
                [
                    f"{name}_{i}",
                    name.partition("_")[0],
                    name,
                    _stamp(s.start_s),
                    _stamp(s.end_s),
                    f"{verb} {noun}".strip(),
                    verb,
                    verbs[verb],
                    noun,
                    nouns[noun],
                ]
            )
    header = [
        "narration_id",
        "participant_id",
        *_NEEDED,
        "narration",
        "verb",
        "verb_class",
        "noun",
        "noun_class",
    ]
    write_rows(path, header, rows)


def _stamp(seconds: float) -> str:
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest / 1000:06.3f}"
