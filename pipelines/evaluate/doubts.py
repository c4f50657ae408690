"""Predictions that find nothing because of how their times are written."""

from __future__ import annotations

import pandas as pd

from tal.annotations import AnnotationSet
from tal.annotations.units import Reach, likely_unit


def doubts(annotations: AnnotationSet, predictions: pd.DataFrame) -> list[str]:
    """What the times of predictions make doubtful: another unit than seconds, ends before starts.

    Parameters
    ----------
    predictions
        under the ids of the annotations.
    """
    notes = []
    backward = predictions["end_s"] <= predictions["start_s"]
    if count := int(backward.sum()):
        notes.append(
            f"{count} of {len(predictions)} predictions end at or before their start, and find nothing: is a "
            "segment [start, end]?"
        )
    last = predictions.groupby("video_id", observed=True)["end_s"].max()
    reaches = []
    for video_id, end in last.items():
        if (video := annotations.videos.get(str(video_id))) is None:
            continue
        if video.duration_s is not None:
            reaches.append(Reach(float(end), video.duration_s, video.fps))
        else:  # it lasts at least as long as its actions: enough to tell shares
            reaches.append(Reach(min(float(end), video.last_end_s), video.last_end_s))
    if unit := likely_unit(reaches):
        notes.append(f"predicted times look like {unit}")
    return notes
