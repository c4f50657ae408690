"""Formats that hold all videos in one file: ActivityNet JSON, CSV, BORIS aggregated events."""

from __future__ import annotations

import csv as csv_module
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pipelines.exports.detection import Detection

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


def activitynet_json(detections: Sequence[Detection], videos: Mapping[str, Path]) -> str:
    """The official result form: version, results {id: [{label, score, segment}]}, external_data."""
    results: dict[str, list[dict[str, object]]] = {video_id: [] for video_id in sorted(videos)}
    for row in detections:
        results.setdefault(row.video_id, []).append(
            {"label": row.label, "score": row.score, "segment": [row.start_s, row.end_s]}
        )
    document = {
        "version": "VERSION 1.3",
        "results": results,
        "external_data": {"used": False, "details": ""},
    }
    return json.dumps(document, indent=1) + "\n"


def csv(detections: Sequence[Detection], videos: Mapping[str, Path]) -> str:
    """video_id,start_s,end_s,label,score; numbers keep every digit."""
    return _delimited(Detection._fields, detections, ",")


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
    return _delimited(BORIS_COLUMNS, ([row.get(name, "") for name in BORIS_COLUMNS] for row in events), "\t")


def _delimited(header: Iterable[str], rows: Iterable[Iterable[object]], delimiter: str) -> str:
    text = io.StringIO()
    writer = csv_module.writer(text, delimiter=delimiter, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()
