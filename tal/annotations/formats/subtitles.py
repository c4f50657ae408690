"""SubRip and WebVTT: a caption for each detection, at its time; overlapping ones are shown together.

They hold detections only: subtitles from elsewhere are speech.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tal.annotations.detection import Detection
from tal.annotations.formats.base import Format, PredictionFiles
from tal.shared.files import write_text


def write_srt(detections: Sequence[Detection], videos: Mapping[str, Path], path: Path) -> None:
    """Write SubRip: numbered cues, comma before the milliseconds.

    It has no escapes, and readers take a line with `-->` for a time line: a label's becomes an arrow.
    """
    cues = [
        f"{number}\n{_clock(start, ',')} --> {_clock(end, ',')}\n{text.replace('-->', '→')}\n"
        for number, (start, end, text) in enumerate(_cues(detections), 1)
    ]
    write_text(path, "\n".join(cues))


def write_vtt(detections: Sequence[Detection], videos: Mapping[str, Path], path: Path) -> None:
    """Write WebVTT (W3C): cue text escapes &, < and >."""
    cues = [
        f"{number}\n{_clock(start, '.')} --> {_clock(end, '.')}\n{html.escape(text, quote=False)}\n"
        for number, (start, end, text) in enumerate(_cues(detections), 1)
    ]
    write_text(path, "\n".join(["WEBVTT\n", *cues]))


def _cues(detections: Sequence[Detection]) -> Iterator[tuple[int, int, str]]:
    """(start, end, text) in milliseconds, in the order given."""
    for detection in detections:
        start_ms, end_ms = detection.milliseconds
        yield start_ms, end_ms, f"{' '.join(detection.label.split())} {detection.score:.2f}"


def _clock(milliseconds: int, point: str) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{point}{rest:03d}"


SRT = Format(
    "srt",
    "SubRip subtitles, of detections",
    precision_s=1e-3,
    predictions=PredictionFiles("srt", ".srt", write_srt, file_per_video=True),
)
VTT = Format(
    "vtt",
    "WebVTT subtitles, of detections",
    precision_s=1e-3,
    predictions=PredictionFiles("vtt", ".vtt", write_vtt, file_per_video=True),
)
