"""`write_exports`: check the detections once, then let each format write its files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from pipelines.shared.files import output_errors, require_new, safe_names, write_text
from tal.annotations import write_predictions
from tal.annotations.detection import Detection
from tal.annotations.formats import eaf as elan
from tal.annotations.formats import subtitles
from tal.annotations.formats.boris_events import boris
from tal.errors import LongtalError

COLUMNS = Detection._fields

# One file for all videos.
_WHOLE = {"json": "predictions.json", "csv": "predictions.csv", "boris": "predictions.boris.tsv"}
# One file a video: suffix -> text of (detections of the video, its path or None, folder the file goes to).
_EACH: dict[str, tuple[str, Callable[[Sequence[Detection], Path | None, Path], str]]] = {
    "srt": (".srt", subtitles.srt),
    "vtt": (".vtt", subtitles.vtt),
    "eaf": (".eaf", elan.eaf),
}
FORMATS: tuple[str, ...] = ("json", "csv", "srt", "vtt", "eaf", "boris")


class ExportError(LongtalError, ValueError):
    """Detections that cannot be written, or a format that does not exist."""


def write_exports(
    predictions: pd.DataFrame,
    videos: Mapping[str, Path],
    formats: Sequence[str],
    out_dir: Path,
    overwrite: bool = False,
) -> list[Path]:
    """Write detections in several formats; returns the files in the order written.

    Parameters
    ----------
    predictions
        columns video_id (str), start_s, end_s (seconds), label (str), score.
    videos
        id -> file of every video looked at; those without a detection get an empty list or file. The files
        are only referred to, never opened.
    formats
        any of `FORMATS`.
    out_dir
        is made when missing; no id can name a file outside it.

    Raises
    ------
    ExportError
        unknown format, missing column, or a time or score that is not finite; nothing is written.
    OutputExistsError
        a file stands already and ``overwrite`` is false; nothing is written.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        raise ExportError(f"unknown format {unknown[0]!r}; formats are {', '.join(FORMATS)}")
    detections = _checked(predictions)
    videos = {_text(video_id): Path(path) for video_id, path in videos.items()}
    names = safe_names([*(found.video_id for found in detections), *videos])
    of_video: dict[str, list[Detection]] = {video_id: [] for video_id in names}
    for found in detections:
        of_video[found.video_id].append(found)
    out_dir = Path(out_dir)

    def target(kind: str, video_id: str) -> Path:
        return out_dir / f"{names[video_id]}{_EACH[kind][0]}"

    wanted = [name for name in FORMATS if name in formats]
    require_new(
        [out_dir / _WHOLE[k] for k in wanted if k in _WHOLE]
        + [target(k, v) for k in wanted if k in _EACH for v in names],
        overwrite,
    )
    written: list[Path] = []
    for kind in wanted:
        if kind == "boris":
            written.append(write_text(out_dir / _WHOLE[kind], boris(detections, videos), overwrite))
        elif kind in _WHOLE:
            path = out_dir / _WHOLE[kind]
            with output_errors(path):
                write_predictions(pd.DataFrame(detections, columns=list(COLUMNS)), path, videos)
            written.append(path)
        else:
            each = _EACH[kind][1]
            for video_id in names:
                text = each(of_video[video_id], videos.get(video_id), out_dir)
                written.append(write_text(target(kind, video_id), text, overwrite))
    return written


def _checked(predictions: pd.DataFrame) -> list[Detection]:
    """Detections in order of video and time."""
    missing = [name for name in COLUMNS if name not in predictions.columns]
    if missing:
        raise ExportError(f"predictions lack the column {missing[0]!r}; they need {', '.join(COLUMNS)}")
    numbers = predictions[["start_s", "end_s", "score"]].to_numpy(np.float64)
    bad = ~np.isfinite(numbers).all(axis=1) | (numbers[:, 1] < numbers[:, 0])
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise ExportError(
            f"{int(bad.sum())} of {len(bad)} detections cannot be written; the first is row {row}: "
            f"{predictions.iloc[row].to_dict()}: times and scores must be finite and end_s not before start_s"
        )
    ids, labels = (map(_text, predictions[name].tolist()) for name in ("video_id", "label"))
    return sorted(
        Detection(video_id, start_s, end_s, label, score)
        for video_id, label, (start_s, end_s, score) in zip(ids, labels, numbers.tolist(), strict=True)
    )


def _text(value: object) -> str:
    """Text that can be written as UTF-8: file names may hold bytes that are none."""
    return str(value).encode("utf-8", "replace").decode("utf-8")
