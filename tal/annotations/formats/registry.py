"""Every format in one list; a new one is a file beside this one and a line here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from tal.annotations.corrections import Corrections, read_corrections
from tal.annotations.formats import (
    activitynet,
    boris,
    boris_project,
    charades,
    eaf,
    elan,
    epic,
    label_studio,
    multithumos,
    reviewed,
    subtitles,
    tables,
    thumos,
    vtrace,
)
from tal.annotations.formats.base import FileContent, Format, PredictionFiles
from tal.annotations.formats.foreign import foreign_reason, foreign_table
from tal.errors import AnnotationError

# Asked in this order what a file is: forms with marks of their own before general ones.
FORMATS: tuple[Format, ...] = (
    reviewed.FORMAT,
    boris_project.FORMAT,
    label_studio.FORMAT,
    multithumos.FORMAT,
    activitynet.FORMAT,
    thumos.FORMAT,
    eaf.FORMAT,
    vtrace.FORMAT,
    epic.FORMAT,
    charades.FORMAT,
    boris.FORMAT,
    tables.FORMAT,
    elan.FORMAT,
    subtitles.SRT,
    subtitles.VTT,
)
# Formats of annotations by each of their names.
BY_NAME: Mapping[str, Format] = {name: f for f in FORMATS if f.read is not None for name in f.names}
# What `predict --format` can name; first the form that is always written.
PREDICTION_FILES: Mapping[str, PredictionFiles] = {
    f.predictions.name: f.predictions for f in (activitynet.FORMAT, *FORMATS) if f.predictions is not None
}
# Formats that hold what a person said of detections -> how it is read as corrections.
JUDGED: Mapping[str, Callable[[Path], Corrections]] = {
    reviewed.FORMAT.name: read_corrections,
    vtrace.FORMAT.name: vtrace.judged_vtrace,
}
_BY_SUFFIX = {suffix: f for f in FORMATS if f.read is not None for suffix in f.suffixes}


def find_format(name: str) -> Format:
    """The format of annotations with a name.

    Raises
    ------
    AnnotationError
        there is none; names those that exist.
    """
    if name not in BY_NAME:
        raise AnnotationError(f"no annotation format {name!r}; there are {', '.join(sorted(BY_NAME))}")
    return BY_NAME[name]


def detect_format(path: Path) -> Format:
    """A file's format, by its kind and its first lines.

    Raises
    ------
    AnnotationError
        the file has the marks of no format, or cannot be read; a file of another tool is told by name.
    """
    content = FileContent(path)
    if reason := foreign_reason(content):
        raise AnnotationError(f"{path}: {reason}")
    for candidate in FORMATS:
        if candidate.detect(content):
            return candidate
    if content.is_folder:
        raise AnnotationError(
            f"{path}: a folder without files like HighJump_test.txt or VIDEO.eaf; give an annotation file"
        )
    if reason := foreign_table(content):
        raise AnnotationError(f"{path}: {reason}")
    first = ", ".join(content.header)[:100]
    raise AnnotationError(
        f"{path}: no format that is known (first line: {first!r}); a table needs a first line with the "
        f"columns video, start, end, label; or say which format: {', '.join(sorted(BY_NAME))}"
    )


def default_format(path: Path) -> Format:
    """The format to write when only the file is named: by its suffix.

    Raises
    ------
    AnnotationError
        no format has that suffix.
    """
    suffix = path.suffix.lower()
    if suffix not in _BY_SUFFIX:
        raise AnnotationError(f"{path}: no format has that suffix; say which: {', '.join(sorted(BY_NAME))}")
    return _BY_SUFFIX[suffix]


def prediction_files(names: Iterable[str]) -> list[PredictionFiles]:
    """How the named formats write detections, in the registry's order, each once.

    Raises
    ------
    AnnotationError
        no format of that name holds detections.
    """
    chosen = set(names)
    if unknown := sorted(chosen - PREDICTION_FILES.keys()):
        raise AnnotationError(f"unknown format {unknown[0]!r}; formats are {', '.join(PREDICTION_FILES)}")
    return [files for name, files in PREDICTION_FILES.items() if name in chosen]
