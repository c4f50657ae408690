"""Read and write annotations of any known format."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tal.annotations.builder import to_seconds
from tal.annotations.files import load_json
from tal.annotations.formats.activitynet import read_activitynet, write_activitynet
from tal.annotations.formats.boris import is_boris, read_boris, write_boris
from tal.annotations.formats.charades import read_charades, write_charades
from tal.annotations.formats.elan import is_elan, read_elan, write_elan
from tal.annotations.formats.epic import read_epic, write_epic
from tal.annotations.formats.multithumos import is_multithumos, read_multithumos, write_multithumos
from tal.annotations.formats.tables import columns_of, is_table, read_table, write_table
from tal.annotations.formats.thumos import is_thumos, read_thumos, write_thumos
from tal.annotations.ids import match_ids
from tal.annotations.options import ReadOptions
from tal.annotations.rows import dict_rows, read_rows
from tal.annotations.types import AnnotationSet, label_order
from tal.errors import AnnotationError


@dataclass(frozen=True)
class Format:
    """A file format: what it is, how it is read and written."""

    name: str
    title: str
    read: Callable[[Path, ReadOptions], AnnotationSet]
    write: Callable[[AnnotationSet, Path], None]


FORMATS: dict[str, Format] = {
    f.name: f
    for f in (
        Format(
            "activitynet",
            "ActivityNet JSON, official and variants (HACS, FineAction, …)",
            read_activitynet,
            write_activitynet,
        ),
        Format("thumos14", "THUMOS14's folder of text files", read_thumos, write_thumos),
        Format(
            "multithumos",
            "MultiTHUMOS / Charades JSON with class numbers",
            read_multithumos,
            write_multithumos,
        ),
        Format("epic100", "EPIC-KITCHENS-100 CSV (verb, noun or action)", read_epic, write_epic),
        Format("charades", "Charades CSV", read_charades, write_charades),
        Format("table", "plain CSV / TSV: video, start, end, label", read_table, write_table),
        Format("elan", "ELAN tab-delimited text", read_elan, write_elan),
        Format("boris", "BORIS tabular events", read_boris, write_boris),
    )
}
FORMATS["hacs"] = replace(FORMATS["activitynet"], name="hacs", title="HACS Segments JSON")
FORMATS["csv"] = FORMATS["tsv"] = FORMATS["table"]


def read_annotations(
    path: str | Path,
    file_format: str = "auto",
    keep_duplicates: bool = False,
    ignore_labels: Collection[str] = ("Ambiguous",),
    subset: str = "",
    target: str = "action",
    labels: Path | None = None,
    info: Path | None = None,
) -> AnnotationSet:
    """Read annotations of any format.

    Args:
        file_format: a name in FORMATS, or "auto": told by name and content.
        keep_duplicates: keep annotations that repeat another one of their video within 1e-3 s.
        ignore_labels: labels that are neither action nor background.
        subset: name of the subset where the file gives none.
        target: "verb", "noun" or "action" of EPIC-KITCHENS.
        labels: a file of class names, for formats that number their classes.
        info: a table of videos that fills in what the annotations lack.

    Raises:
        AnnotationError: the file is missing or not what it should be.
    """
    path = Path(path)
    options = ReadOptions(keep_duplicates, tuple(ignore_labels), subset, target, labels, info)
    name = detect_format(path) if file_format == "auto" else file_format
    annotations = _format(name).read(path, options)
    return with_info(annotations, info) if info is not None else annotations


def write_annotations(annotations: AnnotationSet, path: str | Path, file_format: str = "activitynet") -> None:
    """Write annotations; THUMOS14's text files take a folder.

    Raises:
        AnnotationError: the format cannot hold a name that occurs.
    """
    _format(file_format).write(annotations, Path(path))


def _format(name: str) -> Format:
    if name not in FORMATS:
        raise AnnotationError(f"no annotation format {name!r}; there are {', '.join(sorted(FORMATS))}")
    return FORMATS[name]


def detect_format(path: Path) -> str:
    """The name of a file's format, by its kind and its first lines.

    Raises:
        AnnotationError: nothing known.
    """
    if path.is_dir():
        if is_thumos(path):
            return "thumos14"
        raise AnnotationError(
            f"{path}: a folder without files like HighJump_test.txt; give an annotation file"
        )
    if path.suffix.lower() == ".json":
        return "multithumos" if is_multithumos(load_json(path)) else "activitynet"
    rows = read_rows(path)
    header = [c.strip() for c in rows[0][1]] if rows else []
    if {"verb_class", "start_timestamp"} <= set(header):
        return "epic100"
    if {"id", "actions", "length"} <= set(header):
        return "charades"
    if is_boris(rows):
        return "boris"
    if is_table(header):
        return "table"
    if is_elan(header):
        return "elan"
    raise AnnotationError(
        f"{path}: no format that is known (first line: {', '.join(header)[:100]!r}); "
        f"say which: {', '.join(sorted(FORMATS))}"
    )


def with_info(annotations: AnnotationSet, path: Path) -> AnnotationSet:
    """Fill in subset, duration, rate and frames from a table of videos, such as ActivityNet's
    ``video_info_new.csv``.

    Ids are matched (`tal.annotations.ids`); notes say how, and how many videos the table does not have.
    """
    rows = read_rows(path)
    columns = columns_of(rows[0][1]) if rows else {}
    if "video" not in columns:
        raise AnnotationError(f"{path}: a table of videos needs a column 'video'")
    known: dict[str, tuple[str, dict[str, str]]] = {}
    for where, cells in dict_rows(path, rows):
        known[cells.get(columns["video"], "").strip()] = (where, cells)
    matches = match_ids(annotations.videos, known)
    videos, missing = {}, 0
    for name, video in annotations.videos.items():
        if name not in matches.pairs:
            missing += 1
            videos[name] = video
            continue
        where, cells = known[matches.pairs[name]]
        value: dict[str, float | None] = {}
        for ours in ("duration", "fps"):
            text = cells.get(columns.get(ours, ""), "").strip()
            value[ours] = to_seconds(text, f"{where}: {ours}") if text else None
        videos[name] = replace(
            video,
            subset=video.subset or cells.get(columns.get("subset", ""), "").strip(),
            duration_s=video.duration_s if video.duration_s is not None else value["duration"],
            fps=video.fps if video.fps is not None else value["fps"],
        )
    notes = (*annotations.notes, *(f"{path.name}: {note}" for note in matches.notes("annotated id")))
    if missing:
        notes = (*notes, f"{path.name} does not have {missing} of {len(videos)} videos")
    return replace(annotations, videos=videos, notes=notes)


def merge(sets: Sequence[AnnotationSet]) -> AnnotationSet:
    """Several files as one set.

    Raises:
        AnnotationError: a video is in two of them.
    """
    videos: dict = {}
    for part in sets:
        if both := videos.keys() & part.videos.keys():
            raise AnnotationError(
                f"{part.source}: {len(both)} videos are in another file too, such as {min(both)!r}"
            )
        videos |= part.videos
    kept = list(dict.fromkeys(n for part in sets for n in part.labels))
    labels: Mapping[str, None] = dict.fromkeys(kept)
    order = tuple(labels) if len({p.labels for p in sets}) == 1 else label_order(videos.values())
    return AnnotationSet(
        videos,
        order,
        tuple(n for p in sets for n in p.notes),
        tuple(e for p in sets for e in p.excluded),
        " + ".join(p.source for p in sets),
        sets[0].format,
    )
