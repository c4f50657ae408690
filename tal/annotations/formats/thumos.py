"""THUMOS14's text files: a folder with ``HighJump_test.txt`` and the like, one ``video start end`` a line.

The class and the subset are in the file's name; ``Ambiguous_test.txt`` lists stretches that are neither.
Where ``*_durations.txt`` lies beside (video and seconds on alternate lines), durations are read too.
"""

from __future__ import annotations

import re
from pathlib import Path

from tal.annotations.builder import Builder, to_seconds
from tal.annotations.files import read_text, write_text
from tal.annotations.options import ReadOptions
from tal.annotations.types import AnnotationSet
from tal.errors import AnnotationError

_SUBSETS = {"val": "validation", "validation": "validation", "test": "test", "train": "training"}
_SHORT = {"validation": "val", "test": "test", "training": "train"}


def is_thumos(path: Path) -> bool:
    return path.is_dir() and bool(_files(path))


def _files(folder: Path) -> list[Path]:
    """Annotation files of the folder and of those in it, in alphabetical order."""
    found = [p for pattern in ("*.txt", "*/*.txt") for p in folder.glob(pattern)]
    return sorted(
        p for p in found if p.stem.rpartition("_")[2] in _SUBSETS and not re.search("durations|avoid", p.stem)
    )


def read_thumos(path: Path, options: ReadOptions) -> AnnotationSet:
    """Read a folder of THUMOS14's text files.

    Raises:
        AnnotationError: naming file and line.
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
    found: dict[str, float] = {}
    for file in sorted(folder.glob("*durations.txt")):
        lines = [line.strip() for line in read_text(file).splitlines() if line.strip()]
        for name, seconds in zip(lines[::2], lines[1::2], strict=False):
            found.setdefault(Path(name).stem, to_seconds(seconds, f"{file}: {name}"))
    return found


def write_thumos(annotations: AnnotationSet, path: Path) -> None:
    """Write a folder of text files, and durations where they are known. Videos without a segment and names of
    subsets other than training, validation and test have no place in this format."""
    lines: dict[str, list[str]] = {}
    durations: dict[str, list[str]] = {}
    for name, video in annotations.videos.items():
        short = _SHORT.get(video.subset)
        if short is None:
            raise AnnotationError(f"THUMOS14's text files know no subset {video.subset!r} (video {name!r})")
        if not name.strip() or len(name.split()) != 1:
            raise AnnotationError(f"THUMOS14's text files cannot hold the video name {name!r}")
        for s in (*video.counted, *video.ignored):
            if not re.fullmatch(r"[\w .+()&,'-]{1,200}", s.label) or s.label.startswith("."):
                raise AnnotationError(f"label {s.label!r} is no file name, as THUMOS14's text files need it")
            lines.setdefault(f"{s.label}_{short}.txt", []).append(f"{name}  {s.start_s!r} {s.end_s!r}")
        if video.duration_s is not None:
            durations.setdefault(f"{short}_durations.txt", []).append(f"{name}.mp4\n{video.duration_s!r}")
    for file, content in {**lines, **durations}.items():
        write_text(path / file, "\n".join(content) + "\n")
