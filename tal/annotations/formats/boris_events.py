"""BORIS aggregated events: one table for all videos."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from tal.annotations.detection import Detection

# The columns of BORIS's own "export aggregated events", one row a paired state event.
BORIS_COLUMNS = (
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


def boris(detections: Sequence[Detection], videos: Mapping[str, Path]) -> str:
    """BORIS aggregated events, tab separated: videos are observations, classes behaviors.

    The score goes to the comment of the start, as `score=0.87`.
    """
    events = (
        {
            "Observation id": row.video_id,
            "Media file": str(videos.get(row.video_id, "")),
            "Subject": "No focal subject",
            "Behavior": row.label,
            "Behavior type": "STATE",
            "Start (s)": f"{row.start_s:.3f}",
            "Stop (s)": f"{row.end_s:.3f}",
            "Duration (s)": f"{row.end_s - row.start_s:.3f}",
            "Comment start": f"score={row.score:.6g}",
        }
        for row in detections
    )
    text = io.StringIO()
    writer = csv.DictWriter(text, BORIS_COLUMNS, restval="", delimiter="\t", lineterminator="\n")
    writer.writeheader()
    writer.writerows(events)
    return text.getvalue()
