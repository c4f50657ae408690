"""THUMOS14's text files: a folder with ``HighJump_test.txt`` and the like, one ``video start end`` a line.

The class and the subset are in the file's name; ``Ambiguous_test.txt`` lists stretches that are neither.
Where ``*_durations.txt`` lies beside (video and seconds on alternate lines), durations are read too.
"""

from __future__ import annotations

import re
from pathlib import Path

from tal.annotations.builder import Builder
from tal.annotations.files import read_text
from tal.annotations.formats.base import Format
from tal.annotations.options import ReadOptions
from tal.annotations.times import to_seconds
from tal.annotations.types import AnnotationSet
from tal.annotations.videos import is_litter
from tal.errors import AnnotationError
from tal.shared.files import write_text

_SUBSETS = {"val": "validation", "validation": "validation", "test": "test", "train": "training"}
# Other lists that lie in the data set's folder.
_NO_CLASS = re.compile("durations|avoid")
_FILE_NAME = re.compile(r"[\w +()&,'-][\w .+()&,'-]*")
_MAX_BYTES = 200
_SHORT = {"validation": "val", "test": "test", "training": "train"}


def _files(folder: Path) -> list[Path]:
    """Annotation files of the folder and of those in it, in alphabetical order."""
    return sorted(
        path
        for pattern in ("*.txt", "*/*.txt")
        for path in folder.glob(pattern)
        if _is_class_file(path.stem) and not is_litter(path.name)
    )


def _is_class_file(stem: str) -> bool:
    label, _, short = stem.rpartition("_")
    return bool(label) and short in _SUBSETS and not _NO_CLASS.search(stem)


def read_thumos(path: Path, options: ReadOptions) -> AnnotationSet:
    """Read a folder of THUMOS14's text files.

    Raises
    ------
    AnnotationError
        naming file and line.
    """
    files = _files(path) if path.is_dir() else [path]
    if not files:
        raise AnnotationError(f"{path}: no files like HighJump_test.txt in it")
    build = Builder(path.name, options)
    folder = path if path.is_dir() else path.parent
    durations = _durations(folder)
    rows: list[tuple[str, str, str, str]] = []
    for file in files:
        label, _, short = file.stem.rpartition("_")
        if not label:
            raise AnnotationError(f"{file}: its name must say class and subset, as HighJump_test.txt does")
        subset = _SUBSETS.get(short, options.subset)
        for number, line in enumerate(read_text(file).splitlines(), start=1):
            cells = line.split()
            if not cells:
                continue
            if len(cells) != 3:
                raise AnnotationError(f"{file}, line {number}: needs 'video start end', not {line[:80]!r}")
            build.video(cells[0], subset, durations.get(cells[0]))
            rows.append((cells[0], cells[1], cells[2], label))
    for row in rows:
        build.segment(*row)
    return build.build("thumos14")


def _durations(folder: Path) -> dict[str, float]:
    """Video -> seconds, from the folder's lists of durations; the first one counts."""
    seconds_of: dict[str, float] = {}
    for file in sorted(folder.glob("*durations.txt")):
        lines = [line.strip() for line in read_text(file).splitlines() if line.strip()]
        for name, seconds in zip(lines[::2], lines[1::2], strict=False):
            video = name.rpartition(".")[0] or name
            seconds_of.setdefault(video, to_seconds(seconds, f"{file}: {name}"))
    return seconds_of


def write_thumos(annotations: AnnotationSet, path: Path) -> None:
    """Write a folder of text files, and durations where they are known.

    Raises
    ------
    AnnotationError
        a name or subset cannot be held, or there is no segment at all; nothing is written.
    """
    lines: dict[str, list[str]] = {}
    durations: dict[str, list[str]] = {}
    for name, video in annotations.videos.items():
        short = _SHORT.get(video.subset)
        if short is None:
            raise AnnotationError(f"THUMOS14's text files know no subset {video.subset!r} (video {name!r})")
        if name.split() != [name]:
            raise AnnotationError(f"THUMOS14's text files cannot hold the video name {name!r}")
        for s in video.all_segments:
            if not _FILE_NAME.fullmatch(s.label) or len(s.label.encode()) > _MAX_BYTES:
                raise AnnotationError(f"label {s.label!r} cannot name a file, as THUMOS14's text files need")
            if _NO_CLASS.search(s.label):
                raise AnnotationError(
                    f"label {s.label!r}: THUMOS14's readers take a file of that name for another list"
                )
            lines.setdefault(f"{s.label}_{short}.txt", []).append(f"{name}  {s.start_s!r} {s.end_s!r}")
        if video.duration_s is not None:
            durations.setdefault(f"{short}_durations.txt", []).append(f"{name}.mp4\n{video.duration_s!r}")
    if not lines:
        raise AnnotationError("THUMOS14's text files cannot hold a set without a segment")
    for file, content in {**lines, **durations}.items():
        write_text(path / file, "\n".join(content) + "\n")


FORMAT = Format(
    "thumos14",
    "THUMOS14's folder of text files",
    read_thumos,
    write_thumos,
    detect=lambda content: content.is_folder and bool(_files(content.path)),
    suffixes=("",),
    keeps=("subsets", "durations", "segments without length"),
)
