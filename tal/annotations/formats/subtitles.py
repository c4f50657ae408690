"""SubRip and WebVTT: a caption for each detection, at its time; overlapping ones are shown together."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from pathlib import Path

from tal.annotations.detection import Detection


def srt(detections: Sequence[Detection], video: Path | None, out_dir: Path) -> str:
    """SubRip: numbered cues, comma before the milliseconds.

    It has no escapes, and readers take a line with `-->` for a time line: a label's becomes an arrow.
    """
    cues = [
        f"{number}\n{_clock(start, ',')} --> {_clock(end, ',')}\n{text.replace('-->', '→')}\n"
        for number, (start, end, text) in enumerate(_cues(detections), 1)
    ]
    return "\n".join(cues)


def vtt(detections: Sequence[Detection], video: Path | None, out_dir: Path) -> str:
    """WebVTT (W3C): cue text escapes &, < and >."""
    cues = [
        f"{number}\n{_clock(start, '.')} --> {_clock(end, '.')}\n{html.escape(text, quote=False)}\n"
        for number, (start, end, text) in enumerate(_cues(detections), 1)
    ]
    return "\n".join(["WEBVTT\n", *cues])


def _cues(detections: Sequence[Detection]) -> Iterator[tuple[int, int, str]]:
    """(start, end, text) in milliseconds, by time."""
    for found in detections:
        start_ms, end_ms = found.milliseconds
        yield start_ms, end_ms, f"{' '.join(found.label.split())} {found.score:.2f}"


def _clock(milliseconds: int, point: str) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{point}{rest:03d}"
