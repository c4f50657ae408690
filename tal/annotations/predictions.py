"""Predictions as a DataFrame: columns video_id, start_s, end_s, label, score.

On disk: ActivityNet's result form ``{"version", "results": {id: [{"label", "score", "segment"}]},
"external_data"}``, or CSV with those five columns, by any of their usual names.
"""

from __future__ import annotations

import csv
import json
import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tal.annotations.builder import first_ids
from tal.annotations.columns import columns_of, refuse_sheet_errors, refuse_unclear
from tal.annotations.detection import Detection
from tal.annotations.files import check_name, describe_json, load_json, read_text, too_deep
from tal.annotations.labels import clean_label
from tal.annotations.rows import Table, read_table
from tal.annotations.times import to_seconds
from tal.errors import AnnotationError
from tal.shared.files import write_text

PREDICTION_COLUMNS = Detection._fields
_SCORES = ("score", "confidence", "conf", "probability", "prob")


# What evaluation codes and tools leave that is not read.
_NOT_READ: Mapping[str, str] = {
    **dict.fromkeys((".pkl", ".pickle"), "pickles"),
    **dict.fromkeys((".npy", ".npz", ".mat", ".pt", ".pth"), "arrays"),
    ".txt": "lines of text (such as THUMOS' evaluation takes: video, start, end, number of the class, score)",
    **dict.fromkeys((".srt", ".vtt", ".eaf", ".boris", ".xml"), "files of annotation tools"),
    **dict.fromkeys((".xlsx", ".xls", ".ods"), "spreadsheets"),
    **dict.fromkeys((".zip", ".gz", ".tar", ".7z"), "archives"),
}


def prediction_frame(video_id: Any, start_s: Any, end_s: Any, label: Any, score: Any) -> pd.DataFrame:
    """Columns -> the DataFrame that every function here takes."""
    return pd.DataFrame(
        {
            "video_id": pd.Series(video_id, dtype="category"),
            "start_s": np.asarray(start_s, dtype=np.float64),
            "end_s": np.asarray(end_s, dtype=np.float64),
            "label": pd.Series(label, dtype="category"),
            "score": np.asarray(score, dtype=np.float64),
        }
    )


def read_predictions(path: str | Path) -> pd.DataFrame:
    """Read predictions of ActivityNet's result form, or a CSV with the columns of PREDICTION_COLUMNS.

    Returns
    -------
    DataFrame
        video_id and label (categorical: a string column of 400,000 rows would cost ten times the memory),
        start_s, end_s, score (float64), in the file's order. ``frame.attrs["videos"]`` lists every video of
        the file, also those with no prediction.

    Raises
    ------
    AnnotationError
        naming file, video and what is wrong.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix in _NOT_READ and not (suffix == ".txt" and read_text(path).lstrip().startswith("{")):
        raise AnnotationError(
            f"{path}: {_NOT_READ[suffix]} are not read as predictions: give ActivityNet's result JSON, or a "
            f"CSV with the columns {', '.join(PREDICTION_COLUMNS)}"
        )
    try:
        frame = _read_csv(path) if suffix in (".csv", ".tsv") else _read_json(path)
    except RecursionError:
        raise too_deep(str(path)) from None
    for column in ("start_s", "end_s", "score"):
        values = frame[column].to_numpy()
        if not np.isfinite(values).all():
            bad = frame["video_id"][~np.isfinite(values)].astype(str).tolist()
            raise AnnotationError(
                f"{path}: {len(bad)} predictions whose {column} is not finite: {first_ids(bad)}"
            )
    return frame


class _Columns:
    """Collects predictions while the JSON is being parsed: no dictionary outlives its own parsing.

    The parser calls ``take`` for every object; a prediction is replaced by its row number (an int), anything
    else stays as it is and is judged afterwards, when its video is known.
    """

    def __init__(self) -> None:
        self.start, self.end, self.score = array("d"), array("d"), array("d")
        self.label: array[int] = array("q")
        self.codes: dict[str, int] = {}  # label without blanks around it -> number
        self._as_written: dict[str, int] = {}

    def code_of(self, label: str) -> int:
        """Number of a label; readers of annotations clean labels in the same way."""
        if label not in self._as_written:
            self._as_written[label] = self.codes.setdefault(clean_label(label), len(self.codes))
        return self._as_written[label]

    def take(self, item: dict[str, Any]) -> Any:
        if "segment" not in item:
            return item
        try:
            start, end = item["segment"]
            score, label = item["score"], item["label"]
            self.append(float(start), float(end), float(score), self.code_of(label))
        except (TypeError, ValueError, KeyError, OverflowError, AttributeError):
            return item
        return len(self.label) - 1

    def append(self, start_s: float, end_s: float, score: float, code: int) -> None:
        self.start.append(start_s)
        self.end.append(end_s)
        self.score.append(score)
        self.label.append(code)


def _read_json(path: Path) -> pd.DataFrame:
    columns = _Columns()
    content = load_json(path, columns.take)
    results = content.get("results") if isinstance(content, dict) else None
    if not isinstance(results, dict):
        raise AnnotationError(
            f"{path}: not a prediction file: needs 'results': {{video: [...]}}, not {describe_json(content)}"
        )
    rows: array[int] = array("q")
    counts = []
    for video_id, items in results.items():
        where = f"{path}: video {video_id!r}"
        if not isinstance(items, list):
            raise AnnotationError(f"{where}: its results are not a list")
        for item in items:
            if type(item) is not int:
                _refuse(item, where)
            rows.append(item)
        counts.append(len(items))
    order = np.asarray(rows, dtype=np.int64)
    # An int in the file itself would pass for a row number: no row may occur twice.
    is_row = (order >= 0) & (order < len(columns.label))
    if not is_row.all() or len(np.unique(order)) != len(order):
        raise AnnotationError(f"{path}: 'results' holds bare numbers where predictions should be")
    return _frame(path, list(results), np.repeat(np.arange(len(counts)), counts), columns, order)


def _frame(
    path: Path,
    ids: list[str],
    video_codes: NDArray[np.int64],
    columns: _Columns,
    order: NDArray[np.int64] | None = None,
) -> pd.DataFrame:
    """The table of predictions; ``order``: rows of ``columns`` in the file's order, None: as they are."""
    labels = list(columns.codes)
    for label in labels:
        check_name(label, f"{path}: a label")
    for video_id in ids:
        check_name(video_id, f"{path}: a video")
    rows = slice(None) if order is None else order
    frame = prediction_frame(
        pd.Categorical.from_codes(video_codes, categories=pd.Index(ids, dtype=str)),
        np.asarray(columns.start)[rows],
        np.asarray(columns.end)[rows],
        pd.Categorical.from_codes(np.asarray(columns.label)[rows], categories=pd.Index(labels, dtype=str)),
        np.asarray(columns.score)[rows],
    )
    frame.attrs["videos"] = ids
    return frame


def _refuse(item: Any, where: str) -> None:
    """Say what is wrong with an entry that could not be taken."""
    if not isinstance(item, dict) or not {"label", "score", "segment"} <= set(item):
        proposal = isinstance(item, dict) and {"score", "segment"} <= set(item)
        hint = "; proposals get their label from a classifier of videos" if proposal else ""
        raise AnnotationError(
            f"{where}: a result needs 'label', 'score' and 'segment', not {_short(item)}{hint}"
        )
    segment = item["segment"]
    if not isinstance(segment, list) or len(segment) != 2:
        raise AnnotationError(f"{where}: 'segment' must be [start, end], not {_short(segment)}")
    check_name(item["label"], f"{where}: a label")
    for value in (*segment, item["score"]):
        to_seconds(value, where)
    raise AnnotationError(f"{where}: cannot be read: {_short(item)}")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else text[:97] + "…"


def _read_csv(path: Path) -> pd.DataFrame:
    table = read_table(path)
    places, units = _table_columns(table)
    # between commas no number has a comma
    decimals = table.decimals(places[1:4]) if table.delimiter != "," else None
    width = len(table.header)
    columns = _Columns()
    videos: dict[str, int] = {}
    video_codes: array[int] = array("q")
    for line, cells in table.rows[1:]:
        where = f"{path}, line {line}"
        if len(cells) < width or any(map(str.strip, cells[width:])):
            raise AnnotationError(f"{where}: {len(cells)} cells under {width} columns")
        video, start, end, score, label = (cells[place] for place in places)
        refuse_sheet_errors((video, label), where)
        texts = (start, end, score)
        try:
            numbers = [float(decimals.plain(t, where) if decimals else t) for t in texts]
        except ValueError:
            numbers = [math.nan]
        if not all(map(math.isfinite, numbers)):
            raise AnnotationError(
                f"{where}: {start!r:.40}, {end!r:.40}, {score!r:.40} are not all finite numbers"
            )
        video_codes.append(videos.setdefault(video, len(videos)))
        columns.append(numbers[0] * units[0], numbers[1] * units[1], numbers[2], columns.code_of(label))
    return _frame(path, list(videos), np.asarray(video_codes, dtype=np.int64), columns)


def _table_columns(table: Table) -> tuple[list[int], tuple[float, float]]:
    """Places of video, start, end, score and label, by any of their names; seconds a unit of start and end.

    Raises
    ------
    AnnotationError
        one is missing, is there twice, or counts frames.
    """
    header = table.header
    if all(header.count(name) == 1 for name in PREDICTION_COLUMNS):
        video, start, end, label, score = map(header.index, PREDICTION_COLUMNS)
        return [video, start, end, score, label], (1.0, 1.0)
    found = columns_of(header)
    scores = [place for place, name in enumerate(header) if name.casefold() in _SCORES]
    missing = [name for name in ("video", "start", "end", "label") if name not in found]
    missing += [] if scores else ["score"]
    if missing:
        raise AnnotationError(
            f"{table.path}: lacks the columns {missing}; it needs {list(PREDICTION_COLUMNS)}, or other usual "
            f"names of them, and has {header[:20]}"
        )
    if len(scores) > 1:
        raise AnnotationError(f"{table.path}: two columns can be 'score': delete or rename one of them")
    refuse_unclear(table, found, ("start", "end"))
    order = [found[name] for name in ("video", "start", "end", "label")]
    places = [column.place for column in order]
    return [*places[:3], scores[0], places[3]], (order[1].unit_s or 1.0, order[2].unit_s or 1.0)


def write_predictions(frame: pd.DataFrame, path: str | Path, videos: Iterable[str] | None = None) -> None:
    """Write predictions; ``.csv`` gives a table, anything else ActivityNet's result JSON.

    Parameters
    ----------
    frame
        columns of PREDICTION_COLUMNS; the order within a video is kept.
    videos
        every video that was looked at: those without a prediction get an empty list.

    Raises
    ------
    AnnotationError
        a column is missing.
    """
    path = Path(path)
    missing = [c for c in PREDICTION_COLUMNS if c not in frame.columns]
    if missing:
        raise AnnotationError(f"{path}: predictions lack the columns {missing}")
    if path.suffix.lower() in (".csv", ".tsv"):
        write_text(path, _csv_text(frame, "\t" if path.suffix.lower() == ".tsv" else ","))
        return
    results: dict[str, list[dict[str, Any]]] = {str(v): [] for v in videos or ()}
    columns = (frame[c].tolist() for c in PREDICTION_COLUMNS)
    for video, start, end, label, score in zip(*columns, strict=True):
        results.setdefault(str(video), []).append(
            {"label": str(label), "score": float(score), "segment": [float(start), float(end)]}
        )
    content = {
        "version": "VERSION 1.3",
        "results": results,
        "external_data": {"used": False, "details": ""},
    }
    write_text(path, json.dumps(content, ensure_ascii=False, allow_nan=False))


def _csv_text(frame: pd.DataFrame, separator: str) -> str:
    """A table with every digit; text in quotes where a carriage return would end the line for readers."""
    names = {str(name) for column in ("video_id", "label") for name in frame[column].unique()}
    quoting: Literal[0, 2] = csv.QUOTE_NONNUMERIC if any("\r" in n for n in names) else csv.QUOTE_MINIMAL
    return frame[list(PREDICTION_COLUMNS)].to_csv(index=False, sep=separator, quoting=quoting)


def write_detections(detections: Sequence[Detection], videos: Mapping[str, Path], path: Path) -> None:
    """`write_predictions` for detections in a list; ``videos`` has every video that was looked at."""
    write_predictions(pd.DataFrame(detections, columns=list(PREDICTION_COLUMNS)), path, videos)
