"""BORIS' tabular exports: aggregated events (``Start (s)``, ``Stop (s)``) and plain ones (``START``).

Aggregated events are what is written. A video is named after its media file; or by the observation, where
that is the path's end (``P01/P01_11`` of ``/data/P01/P01_11.mp4``) or there is no media file. Times are
those of the file: the observation's offset is subtracted, and what was coded in a queue of files is given to
the file that shows it. Point events have no length and are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tal.annotations.builder import Builder
from tal.annotations.detection import Detection
from tal.annotations.files import path_text
from tal.annotations.formats.base import FileContent, Format, PredictionFiles, refuse_blanks
from tal.annotations.formats.boris_events import add_events, is_aggregated, is_events
from tal.annotations.options import ReadOptions
from tal.annotations.rows import Table, read_table, write_rows
from tal.annotations.types import AnnotationSet
from tal.errors import AnnotationError

# The columns of BORIS' own "export aggregated events", a row for each state event.
COLUMNS = (
    "Observation id",
    "Observation date",
    "Description",
    "Media file",
    "Total length",
    "FPS",
    "Subject",
    "Behavior",
    "Behavioral category",
    "Modifiers",
    "Behavior type",
    "Start (s)",
    "Stop (s)",
    "Duration (s)",
    "Comment start",
    "Comment stop",
)
# Exports of plain events of BORIS 7 begin with lines about the observation.
_MAX_LINES_ABOVE = 60


def _is_boris(content: FileContent) -> bool:
    return not content.is_folder and _top(content.table) is not None


def _top(table: Table) -> int | None:
    """Number of the row that names the columns."""
    headers = ({c.strip() for c in cells} for _, cells in table.rows[:_MAX_LINES_ABOVE])
    return next((n for n, header in enumerate(headers) if is_aggregated(header) or is_events(header)), None)


def read_boris(path: Path, options: ReadOptions) -> AnnotationSet:
    """Read either export.

    Raises
    ------
    AnnotationError
        a column is missing, or an event does not fit those above; names file and line.
    """
    table = read_table(path)
    top = _top(table)
    if top is None:
        raise AnnotationError(
            f"{path}: not a BORIS export: it needs the columns 'Behavior' and 'Start (s)', 'Stop (s)', or "
            "'Time' and 'Status' or 'Behavior type'; in BORIS choose Observations > Export events > Tabular "
            "events"
        )
    build = Builder(path.name, options)
    add_events(table, top, options, build)
    return build.build("boris")


def write_boris(annotations: AnnotationSet, path: Path) -> None:
    """Write aggregated events, times to the millisecond; observations are named after the videos.

    Raises
    ------
    AnnotationError
        a name cannot be held.
    """
    refuse_blanks(annotations, "BORIS' tables")
    _write(
        path,
        (
            {
                "Observation id": name,
                "Total length": "NA" if v.duration_s is None else repr(v.duration_s),
                "FPS": "NA" if v.fps is None else repr(v.fps),
                **_event(s.label, s.start_s, s.end_s),
            }
            for name, v in annotations.videos.items()
            for s in v.all_segments
        ),
    )


def write_boris_predictions(detections: Sequence[Detection], videos: Mapping[str, Path], path: Path) -> None:
    """Write detections in the same table; the score goes to the start's comment, as ``score=0.87``."""
    _write(
        path,
        (
            {
                "Observation id": d.video_id,
                "Media file": path_text(videos[d.video_id]) if d.video_id in videos else "",
                "Total length": "NA",
                "FPS": "NA",
                "Comment start": f"score={d.score:.6g}",
                **_event(d.label, d.start_s, d.end_s),
            }
            for d in detections
        ),
    )


def _event(label: str, start_s: float, end_s: float) -> dict[str, str]:
    return {
        "Subject": "No focal subject",
        "Behavior": label,
        "Behavior type": "STATE",
        "Start (s)": f"{start_s:.3f}",
        "Stop (s)": f"{end_s:.3f}",
        "Duration (s)": f"{end_s - start_s:.3f}",
    }


def _write(path: Path, events: Iterable[Mapping[str, str]]) -> None:
    """One row an event; commas for ``.csv``, else tabs."""
    rows = ([event.get(column, "") for column in COLUMNS] for event in events)
    write_rows(path, COLUMNS, rows, "," if path.suffix.lower() == ".csv" else "\t")


FORMAT = Format(
    "boris",
    "BORIS tabular events",
    read_boris,
    write_boris,
    detect=_is_boris,
    precision_s=1e-3,
    keeps=("durations", "frame rates", "segments without length"),
    predictions=PredictionFiles("boris", "predictions.boris.tsv", write_boris_predictions),
)
