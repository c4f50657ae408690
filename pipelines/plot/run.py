"""`longtal plot`: the timeline of one video as a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from pipelines.shared import console
from pipelines.shared.files import output_errors, require_new
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
    OutputExistsError, OutputError
        the picture stands already, or cannot be written.
    """
    path = Path(out)
    require_new([path], overwrite)
    figure = timeline(predictions, ground_truth, duration_s, title, tiou)
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)
    return path


def choose_video(predictions: pd.DataFrame, video_id: str | None, known: Sequence[str] = ()) -> str:
    """The video to draw: the named one, whose id may be written otherwise here (the log says so), or the only
    one. EvaluationError lists what there is.
    """
    there = list(dict.fromkeys([*predictions["video_id"].astype(str), *known]))
    if video_id is not None:
        matches = match_ids([video_id], there)
        if matches.pairs:
            for note in matches.bent("id"):
                console.log.info("%s", note)
            return matches.pairs[video_id]
        wanted = "; ".join(matches.refused("id")) or f"no video {video_id!r}"
    elif len(there) == 1:
        return there[0]
    else:
        wanted = "say which video with --video"
    listed = ", ".join(there[:8]) + (f", … ({len(there)} in all)" if len(there) > 8 else "")
    raise EvaluationError(f"{wanted}: the predictions have {listed or 'none'}")
