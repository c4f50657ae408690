"""Moments as files write them, in seconds."""

from __future__ import annotations

import math
import re
from typing import Any

from tal.errors import AnnotationError

# No video is longer (32 years): a greater number is not a time, and its arithmetic is not exact.
_MAX_S = 1e9
_MAX_TEXT = 350  # characters: floats with all their digits have no more
_CLOCK = re.compile(r"([+-]?)(?:(\d+):)?(\d+):(\d+(?:[.,]\d*)?)", re.ASCII)
_FRAMES = re.compile(r"\d+[:;]\d+[:;]\d+[:;]\d+", re.ASCII)
# 0 days 00:01:30.5, as pandas writes it; PT1H2M3.5S, as ISO 8601 does
_DAYS = re.compile(r"(\d+) days? (\d+:\d+:\d+(?:\.\d+)?)", re.ASCII)
_ISO = re.compile(r"PT(?=\d)(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?", re.ASCII)
# 12:01:30 AM or 1900-01-00 00:01:30: what spreadsheets make of 00:01:30
_TIME_OF_DAY = re.compile(r".*\d:\d\d(?::\d\d)? *[ap]m|\d+[-/.]\d+[-/.]\d+ +\d+:.*", re.ASCII | re.IGNORECASE)
_RATE = re.compile(r"(\d+(?:\.\d+)?)/(\d+(?:\.\d+)?)", re.ASCII)
# 1h02m03s, 2 min 5 s, 90s, 1500ms
_WITH_UNITS = re.compile(
    r"(?=\d)(?:(\d+)\s*h(?:ours?|rs?)?)?\s*(?:(\d+)\s*m(?:in(?:utes?)?)?(?!s))?\s*"
    r"(?:(\d+(?:\.\d+)?)\s*s(?:ec(?:onds?)?)?)?\s*(?:(\d+(?:\.\d+)?)\s*ms)?",
    re.ASCII | re.IGNORECASE,
)


def to_seconds(value: Any, where: str) -> float:
    """A finite number of seconds from a number or its text.

    Text may also be ``HH:MM:SS.mmm`` (or ``HH:MM:SS,mmm``), ``MM:SS``, ``1h02m03s``, ``PT1M2.5S``
    or ``0 days 00:01:02``.

    Raises
    ------
    AnnotationError
        the value is not such a number; the message begins with ``where``.
    """
    if isinstance(value, str):
        seconds = _parse(value.strip(), where)
    elif isinstance(value, bool) or value is None:
        raise AnnotationError(f"{where}: {value!r} is not a time in seconds")
    else:
        try:
            seconds = float(value)
        except (TypeError, ValueError, OverflowError):
            raise AnnotationError(f"{where}: {str(value)[:60]!r} is not a time in seconds") from None
    if not math.isfinite(seconds):
        raise AnnotationError(f"{where}: {str(value)[:60]} is not a finite time")
    if abs(seconds) > _MAX_S:
        raise AnnotationError(f"{where}: {str(value)[:60]} is not a time in seconds: no video is as long")
    return seconds


def to_rate(value: Any, where: str) -> float:
    """Frames a second from a number or its text, also as a fraction: ``30000/1001``; 0 for ``0/0``.

    Raises
    ------
    AnnotationError
        the value is not such a number; the message begins with ``where``.
    """
    rate = value
    if isinstance(value, str) and (match := _RATE.fullmatch(value.strip()[:_MAX_TEXT])):
        rate = float(match[1]) / float(match[2]) if float(match[2]) else 0.0
    try:
        return to_seconds(rate, where)
    except AnnotationError:
        raise AnnotationError(
            f"{where}: {str(value)[:60]!r} is not a frame rate; give a number such as 29.97, or 30000/1001"
        ) from None


def _parse(text: str, where: str) -> float:
    if len(text) > _MAX_TEXT:
        raise AnnotationError(f"{where}: {text[:60]!r}… is not a time in seconds")
    try:
        if "_" not in text:  # Python reads 1_000 as a number
            return float(text)
    except ValueError:
        pass
    if match := _CLOCK.fullmatch(text):
        sign, hours, minutes, seconds = match.groups()
        parts = float(hours or 0), float(minutes), float(seconds.replace(",", "."))
        if parts[2] < 60 and (hours is None or parts[1] < 60):
            return (-1 if sign == "-" else 1) * ((parts[0] * 60 + parts[1]) * 60 + parts[2])
    elif (match := _WITH_UNITS.fullmatch(text)) and any(match.groups()):
        hours, minutes, seconds, milliseconds = (float(part or 0) for part in match.groups())
        return (hours * 60 + minutes) * 60 + seconds + milliseconds / 1000
    elif (match := _ISO.fullmatch(text)) and any(match.groups()):
        hours, minutes, seconds = (float(part or 0) for part in match.groups())
        return (hours * 60 + minutes) * 60 + seconds
    elif match := _DAYS.fullmatch(text):
        return float(match[1]) * 86_400 + _parse(match[2], where)
    elif _TIME_OF_DAY.fullmatch(text):
        raise AnnotationError(
            f"{where}: {text[:60]!r} is a time of day; in the spreadsheet give the column the format "
            "[h]:mm:ss.000, or give seconds"
        )
    elif _FRAMES.fullmatch(text):
        raise AnnotationError(
            f"{where}: {text[:60]!r} counts frames; give seconds, or a time like 00:01:02.345"
        )
    raise AnnotationError(f"{where}: {text[:60]!r} is not a time in seconds")
