"""The timeline of one video as a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from pipelines.shared import console
from pipelines.shared.files import require_new, save_figure
from tal.annotations import Segment
from tal.annotations.ids import match_ids
from tal.errors import EvaluationError
from tal.plot import timeline


def write_timeline(
    out: str | Path,
    predictions: pd.DataFrame,
    ground_truth: Sequence[Segment] | None = None,
    duration_s: float | None = None,
    title: str = "",
    tiou: float = 0.5,
    overwrite: bool = False,
) -> Path:
    """Write `tal.plot.timeline` as PNG, or another format by ``out``'s suffix.

    Raises
    ------
    OutputExistsError
        the picture exists already and ``overwrite`` is false.
    OutputError
        the picture cannot be written.
    """
    path = Path(out)
    require_new([path], overwrite)
    figure = timeline(predictions, ground_truth, duration_s, title, tiou)
    return save_figure(figure, path)


def choose_video(predictions: pd.DataFrame, video_id: str | None, video_ids: Sequence[str] = ()) -> str:
    """The id of the video to draw: the one named, or the only one.

    Parameters
    ----------
    video_id
        may be written otherwise than in the predictions: it is matched, and the log says so.
    video_ids
        videos that the predictions are about, with or without detections.

    Raises
    ------
    EvaluationError
        there is no such video, or several and none is named; lists them.
    """
    there = list(dict.fromkeys([*predictions["video_id"].astype(str), *video_ids]))
    if video_id is not None:
        matches = match_ids([video_id], there)
        if matches.pairs:
            for note in matches.bent("id"):
                console.log.info("%s", note)
            return matches.pairs[video_id]
        problem = "; ".join(matches.refused("id")) or f"no video {video_id!r}"
    elif len(there) == 1:
        return there[0]
    else:
        problem = "say which video with --video"
    listed = ", ".join(there[:8]) + (f", … ({len(there)} in all)" if len(there) > 8 else "")
    raise EvaluationError(f"{problem}: the predictions have {listed or 'none'}")
