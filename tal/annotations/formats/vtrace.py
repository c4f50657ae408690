"""V-TRACE's CSV: ``labelId,timestamp,endTimestamp`` in seconds, one file per video, several as a folder.

A file is named after its video: ``v.csv``, or ``v.pred.csv`` with a column ``score`` for predictions. Lines
that begin with ``#`` are V-TRACE's own notes. What a person rejected there stays in the file, with
``rejected`` in the column ``review``.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from tal.annotations.builder import Builder, first_ids
from tal.annotations.corrections import SOURCES, Corrections, Judgement, VideoCorrections
from tal.annotations.detection import Detection
from tal.annotations.files import check_name, read_text
from tal.annotations.formats.base import (
    FileContent,
    Format,
    PredictionFiles,
    file_per_video,
    fits_path,
    refuse_names,
)
from tal.annotations.labels import clean_label
from tal.annotations.options import ReadOptions
from tal.annotations.rows import Table, parse_table
from tal.annotations.times import to_seconds
from tal.annotations.types import AnnotationSet, Segment
from tal.annotations.videos import is_litter
from tal.errors import AnnotationError
from tal.shared.files import write_text

_SUFFIX, _PREDICTED = ".csv", ".pred"
_COLUMNS = ("labelId", "timestamp", "endTimestamp")
_SCORE, _REVIEW, _SOURCE, _REJECTED = "score", "review", "source", "rejected"
_ID_NOTE = "# longtal-video: "
_ASKED = 3  # files of a folder that tell what it is


def _is_vtrace(content: FileContent) -> bool:
    if content.is_folder:
        return any(
            _has_columns(_table(file, read_text(file))) for file in islice(_files(content.path), _ASKED)
        )
    return content.suffix == _SUFFIX and _has_columns(_table(content.path, content.text))


def _files(folder: Path) -> Iterator[Path]:
    """A folder's files by path; those of systems are none."""
    files = (path for path in sorted(folder.rglob("*")) if path.suffix.lower() == _SUFFIX and path.is_file())
    return (path for path in files if not any(map(is_litter, path.relative_to(folder).parts)))


def _has_columns(table: Table) -> bool:
    return set(_COLUMNS) <= set(table.header)


def _table(path: Path, text: str) -> Table:
    """The rows without V-TRACE's notes; they keep their numbers of lines."""
    lines = ("\n" if line.lstrip().startswith("#") else line for line in io.StringIO(text, newline=""))
    return parse_table(path, "".join(lines))


def read_vtrace(path: Path, options: ReadOptions) -> AnnotationSet:
    """Read a file, or all those of a folder and its sub-folders: an id is the path below it.

    Where a video has both, its annotations count and its predictions are not read.

    Raises
    ------
    AnnotationError
        a file is something else, or a row makes no sense; names file and line.
    """
    files, passed = _chosen(path)
    build = Builder(path.name, options)
    for video, file in files.items():
        _read_file(video, file, options, build)
    if passed:
        build.notes.append(
            f"{len(passed)} files of predictions are not read, since annotations lie beside them: "
            f"{first_ids(passed)}"
        )
    return build.build("vtrace")


def _chosen(path: Path) -> tuple[dict[str, Path], list[str]]:
    """Video -> its file; and the videos of which a file of predictions is passed over."""
    files: dict[str, Path] = {}
    passed = []
    # what is no prediction comes first
    for file in sorted(_files(path), key=_is_predicted) if path.is_dir() else [path]:
        name = file.relative_to(path).as_posix() if path.is_dir() else file.name
        video = name[: -len(_SUFFIX)].removesuffix(_PREDICTED)
        if _is_predicted(file) and video in files:
            passed.append(video)
        else:
            files[video] = file
    if not files:
        raise AnnotationError(f"{path}: no .csv files in it")
    return files, passed


def judged_vtrace(path: Path) -> Corrections:
    """What a person said of V-TRACE's predictions: rows with a verdict, and those without a score, by hand.

    The column ``source`` counts where it says what `Judgement.source` can; a prediction without a verdict
    was not judged.

    Raises
    ------
    AnnotationError
        as `read_vtrace`.
    """
    videos = {}
    for name, file in _chosen(path)[0].items():
        text = read_text(file)
        video = _id(name, file, text)
        actions, rejected = [], []
        for where, cells in _table(file, text).dicts(_COLUMNS, (_REVIEW, _SCORE, _SOURCE)):
            verdict, score = (cells.get(column, "").strip() for column in (_REVIEW, _SCORE))
            label, start, end = (cells[column] for column in _COLUMNS)
            start_s, end_s = to_seconds(start, where), to_seconds(end, where)
            if (score and not verdict) or not 0 <= start_s < end_s:
                continue
            segment = Segment(start_s, end_s, clean_label(label))
            number = to_seconds(score, f"{where}: score") if score else None
            if verdict.lower() == _REJECTED:
                rejected.append(Judgement(segment, "", number))
            else:
                said = cells.get(_SOURCE, "").strip().lower()
                source = said if said in SOURCES else "accepted" if score else "added"
                actions.append(Judgement(segment, source, number))
        videos[video] = VideoCorrections(video, actions=tuple(actions), rejected=tuple(rejected))
    labels = {j.segment.label for v in videos.values() for j in (*v.actions, *v.rejected)}
    return Corrections(tuple(sorted(labels)), videos)


def _is_predicted(file: Path) -> bool:
    return file.stem.endswith(_PREDICTED)


def _read_file(video: str, file: Path, options: ReadOptions, build: Builder) -> None:
    text = read_text(file)
    video = _id(video, file, text)
    if video in build:
        raise AnnotationError(f"{file}: another file too is of video {video!r:.80}")
    build.video(video, options.subset)
    for where, cells in _table(file, text).dicts(_COLUMNS, (_REVIEW,)):
        if cells.get(_REVIEW, "").strip().lower() == _REJECTED:
            build.leave("rejected detections")
            continue
        label, start, end = (cells[name] for name in _COLUMNS)
        build.segment(video, start, end, label, where)


def _id(video: str, file: Path, text: str) -> str:
    """The id of a file's video: what a note in it says, else the one that it is named after."""
    if note := next((line for line in text.splitlines() if line.startswith(_ID_NOTE)), ""):
        try:
            video = json.loads(note.removeprefix(_ID_NOTE))
        except ValueError:
            raise AnnotationError(f"{file}: {note[:80]!r} is not a video's id") from None
        check_name(video, f"{file}: {_ID_NOTE.strip('# :')}")
    return video


def write_vtrace(annotations: AnnotationSet, path: Path) -> None:
    """Write one video to the file that is named after it, or any number to a folder; times keep every digit.

    Raises
    ------
    AnnotationError
        a name cannot be held, or there is no video at all; nothing is written.
    """
    refuse_names(
        annotations.videos,
        lambda name: fits_path(name) and not name.endswith(_PREDICTED),
        "no file can be named after videos",
    )
    refuse_names(
        annotations.used_labels,
        lambda label: len(label.splitlines()) == 1,
        "V-TRACE's files hold a label on one line",
    )
    files = file_per_video(annotations.videos, path, _SUFFIX, "V-TRACE's file")
    for name, video in annotations.videos.items():
        rows = ((s.label, s.start_s, s.end_s) for s in video.all_segments)
        write_text(files[name], _text(_COLUMNS, rows))


def write_vtrace_predictions(detections: Sequence[Detection], videos: Mapping[str, Path], path: Path) -> None:
    """Write one video's detections; a note holds the id where the file's name is another."""
    video = next(iter([*videos, *(d.video_id for d in detections)]), "")
    named = path.name[: -len(_PREDICTED + _SUFFIX)]
    note = f"{_ID_NOTE}{json.dumps(video)}\n" if video.strip() and video != named else ""
    rows = ((d.label, d.start_s, d.end_s, d.score) for d in detections)
    write_text(path, note + _text((*_COLUMNS, _SCORE), rows))


def _text(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Rows below a header without marks; texts in quotation marks, so that no row begins with a #."""
    text = io.StringIO(newline="")
    text.write(",".join(header) + "\n")
    csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC).writerows(rows)
    return text.getvalue()


FORMAT = Format(
    "vtrace",
    "V-TRACE's CSV: labelId, timestamp, endTimestamp; one file per video",
    read_vtrace,
    write_vtrace,
    detect=_is_vtrace,
    keeps=("videos without a segment", "segments without length"),
    predictions=PredictionFiles("vtrace", ".pred.csv", write_vtrace_predictions, file_per_video=True),
)
