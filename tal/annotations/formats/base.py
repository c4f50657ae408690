"""What a file format is: how it is told, read and written, and what it can hold."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tal.annotations.builder import first_ids
from tal.annotations.detection import Detection
from tal.annotations.files import parse_json, read_text
from tal.annotations.options import ReadOptions
from tal.annotations.rows import Table, parse_table
from tal.annotations.types import AnnotationSet, label_order
from tal.errors import AnnotationError

# Of a file or folder on every common file system, less a suffix.
_MAX_NAME_BYTES = 255 - len(".csv")

Reader = Callable[[Path, ReadOptions], AnnotationSet]
Writer = Callable[[AnnotationSet, Path], None]
# (detections by video and time, id -> file of every video that was looked at, file to write)
PredictionWriter = Callable[[Sequence[Detection], Mapping[str, Path], Path], None]


def _videos_with(attribute: str) -> Callable[[AnnotationSet], int]:
    return lambda annotations: sum(
        getattr(v, attribute) not in (None, "") for v in annotations.videos.values()
    )


def _length_of_own_list(annotations: AnnotationSet) -> int:
    """Number of labels, where their list says more than the segments do: their order, or unused ones."""
    same = annotations.labels == label_order(annotations.videos.values())
    return 0 if same else len(annotations.labels)


# What an annotation set holds beside segments with a length -> how much of it a set has.
PARTS: Mapping[str, Callable[[AnnotationSet], int]] = {
    "subsets": _videos_with("subset"),
    "durations": _videos_with("duration_s"),
    "frame rates": _videos_with("fps"),
    "frame counts": _videos_with("num_frames"),
    "addresses": _videos_with("url"),
    "videos without a segment": lambda a: sum(not v.all_segments for v in a.videos.values()),
    "segments without length": lambda a: sum(
        s.end_s <= s.start_s for v in a.videos.values() for s in v.all_segments
    ),
    "list of labels": _length_of_own_list,
}


class FileContent:
    """A file or folder that formats are asked about; what one of them reads of it serves the others too."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.suffix = path.suffix.lower()
        self.is_folder = path.is_dir()

    @cached_property
    def text(self) -> str:
        """The text; "" of a folder."""
        return "" if self.is_folder else read_text(self.path)

    @cached_property
    def json(self) -> Any:
        """A ``.json`` file's content; None for any other file."""
        return (
            parse_json(self.text, str(self.path)) if self.suffix == ".json" and not self.is_folder else None
        )

    @cached_property
    def table(self) -> Table:
        """Rows of a delimited text; none of a folder."""
        return parse_table(self.path, self.text)

    @property
    def rows(self) -> Sequence[tuple[int, list[str]]]:
        """(line number, cells) of the table's rows."""
        return self.table.rows

    @property
    def header(self) -> list[str]:
        """Cells of the first line."""
        return self.table.header


@dataclass(frozen=True)
class PredictionFiles:
    """How detections are written in a format.

    Attributes
    ----------
    name
        what ``longtal predict --format`` calls it.
    ending
        the file's name; for a format with a file for each video, what follows the video's name.
    write
        called once for each file.
    file_per_video
        whether each video has a file of its own.
    """

    name: str
    ending: str
    write: PredictionWriter
    file_per_video: bool = False


@dataclass(frozen=True)
class Format:
    """A file format: what it is, how it is told, read and written.

    Attributes
    ----------
    name, aliases
        what users call it.
    title
        what it is, in a few words.
    read, write
        None where it holds detections only.
    detect
        whether a file is of this format; formats are asked in the registry's order.
    suffixes
        suffixes for which it is taken when none is named; "" stands for a folder.
    precision_s
        how exactly times are kept, in seconds; 0: every digit.
    keeps
        those of `PARTS` that are read back as they were.
    predictions
        None where it has no place for scores.
    """

    name: str
    title: str
    read: Reader | None = None
    write: Writer | None = None
    detect: Callable[[FileContent], bool] = lambda content: False
    suffixes: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    precision_s: float = 0.0
    keeps: tuple[str, ...] = ()
    predictions: PredictionFiles | None = None

    def __post_init__(self) -> None:
        assert set(self.keeps) <= PARTS.keys(), self.keeps
        assert (self.read is None) == (self.write is None), self.name

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name, *self.aliases)

    @property
    def drops(self) -> tuple[str, ...]:
        """Those of `PARTS` that have no place in this format."""
        return tuple(part for part in PARTS if part not in self.keeps)

    def losses(self, annotations: AnnotationSet) -> tuple[str, ...]:
        """A line that counts what of this set has no place in the format; none where all has."""
        counts = {part: PARTS[part](annotations) for part in self.drops}
        lost = [f"{part} ({count})" for part, count in counts.items() if count]
        return (f"format {self.name!r} has no place for: {', '.join(lost)}",) if lost else ()


def refuse_names(names: Iterable[str], fits: Callable[[str], object], message: str) -> None:
    """Refuse to write names that would not be read back as they are.

    Raises
    ------
    AnnotationError
        ``message`` and the first names that do not fit.
    """
    bad = [name for name in names if not fits(name)]
    if bad:
        raise AnnotationError(f"{message}: {first_ids(bad)}")


def fits_path(video_id: str) -> bool:
    """Whether an id with a suffix of four characters is a path that stays below its folder."""
    parts = video_id.split("/")
    return not re.search(r"[\x00-\x1f\\]|^[A-Za-z]:", video_id) and all(
        part not in ("", ".", "..") and len(part.encode()) <= _MAX_NAME_BYTES for part in parts
    )


def file_per_video(videos: Collection[str], path: Path, suffix: str, file: str) -> dict[str, Path]:
    """The file of each video in a format whose files are named after videos: ``path`` itself, or below it.

    Parameters
    ----------
    suffix
        of a file; a ``path`` with it is the one video's own.
    file
        what such a file is called, for messages: "an ELAN file".

    Raises
    ------
    AnnotationError
        there is no video, or ``path`` is a file and named after none or not the only one of them.
    """
    if not videos:
        raise AnnotationError(f"{path}: {file} is named after its one video, and there is none to write")
    if path.suffix.lower() != suffix:
        return {name: path.joinpath(*f"{name}{suffix}".split("/")) for name in videos}
    if list(videos) != [path.stem]:
        raise AnnotationError(
            f"{path}: {file} is named after its one video, {next(iter(videos))!r} say; "
            "or give a folder for all"
        )
    return {path.stem: path}


def fits_cell(name: str) -> bool:
    """Whether a name stays what it is when blanks around a table's cells are cut off."""
    return name == name.strip()


def refuse_blanks(annotations: AnnotationSet, title: str) -> None:
    """Refuse names of videos, subsets and labels that blanks begin or end: readers of tables cut them off.

    Raises
    ------
    AnnotationError
        naming them.
    """
    names = [*annotations.videos, *annotations.subsets, *annotations.used_labels]
    refuse_names(names, fits_cell, f"{title} cannot hold names with blanks around them")
