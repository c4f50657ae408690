"""The media of a BORIS observation: which file shows a moment of the observation's clock, and when.

The clock begins at the observation's time offset and runs through the files of the first player, one after
the other. Further players show other cameras at the same time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from tal.errors import AnnotationError

# What BORIS writes where there is no file.
_NO_FILE = ("", "NA", "LIVE", "NOT FOUND", "NOT AVAILABLE")
_NAME_COLUMNS = ("Media file name", "Media file path", "Media file")
_PLAYER = re.compile(r"player #(\d+):", re.IGNORECASE)
# Event times are rounded to this; the name that BORIS gives to one on the border of two files can be either.
_ROUNDED_S = 1e-3
# An event as much after the end of the last file is of that file: durations are rounded, too.
_SLACK_S = 0.5

Number = Callable[[str], float | None]


def media_name(cells: Mapping[str, str]) -> str:
    """The file that BORIS names for an event; "" where it names none."""
    names = (cells.get(column, "").strip() for column in _NAME_COLUMNS)
    return next((name for name in names if name.upper() not in _NO_FILE and not _PLAYER.search(name)), "")


@dataclass(frozen=True)
class Placed:
    """A part of an event: which file of the queue, and from when to when in that file."""

    file: str
    start_s: float
    end_s: float
    duration_s: float | None
    fps: float | None


@dataclass
class Media:
    """Files of an observation's first player in their order.

    Attributes
    ----------
    names
        paths as BORIS has them; "" where it is not said.
    durations_s, fps
        of each; None where they are not said.
    cameras
        files of further players.
    """

    offset_s: float = 0.0
    names: list[str] = field(default_factory=list)
    durations_s: list[float | None] = field(default_factory=list)
    fps: list[float | None] = field(default_factory=list)
    cameras: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, cells: Mapping[str, str], above: Mapping[str, Sequence[str]], number: Number) -> Media:
        """What one row of a table says, and the lines above its header (name -> values)."""
        offset = cells.get("Time offset (s)", "") or next(iter(above.get("Time offset (s)", ())), "")
        durations = _lists(_column(cells, "Media duration"), number)
        fps = _lists(_column(cells, "FPS"), number)
        players = _players(cells.get("Source", "") or cells.get("Media file", ""), list(map(len, durations)))
        players = players or [list(files) for name, files in above.items() if name.startswith("Player #")]
        names = players[0] if players else []
        media = cls(number(offset) or 0.0, names, durations[0] if durations else [], fps[0] if fps else [])
        media.cameras = [file for files in players[1:] for file in files]
        return media

    def learn_names(self, events: Iterable[tuple[float, str]], where: str) -> None:
        """Names of the files from those that BORIS gives for single events: (time of the event, name).

        Raises
        ------
        AnnotationError
            the names do not fit the durations; begins with ``where``.
        """
        if self.names:
            return
        events = [(time, name) for time, name in events if name]
        distinct = list(dict.fromkeys(name for _, name in events))
        if len(distinct) <= 1 and len(self.durations_s) <= 1:
            self.names = distinct
            return
        # BORIS subtracts the offset when it looks for the file, or does not: by version
        for offset_s in (self.offset_s, 0.0):
            names = self._names_by_time((time - offset_s, name) for time, name in events)
            if names is not None:
                self.names = names
                return
        raise self._unknown(where)

    def _names_by_time(self, events: Iterable[tuple[float, str]]) -> list[str] | None:
        if not self.durations_s or None in self.durations_s[:-1]:
            return None
        names = [""] * len(self.durations_s)
        for time_s, name in events:
            index, begin_s = self._file_at(time_s)
            end_s = begin_s + (self.durations_s[index] or 0.0)
            if min(abs(time_s - begin_s), abs(time_s - end_s)) <= _ROUNDED_S:
                continue
            if names[index] not in ("", name):
                return None
            names[index] = name
        told = [name for name in names if name]
        return names if len(set(told)) == len(told) else None

    def files(self) -> Iterator[Placed]:
        """Every file whose name is known, as an event at its start; else one without a name."""
        for index, name in enumerate(self.names or [""]):
            if name or not self.names:
                yield self._placed(index, 0.0, 0.0)

    def place(self, start_s: float, end_s: float, where: str) -> Iterator[Placed]:
        """The parts of an event, one a file that it is in; none where it is after the end of all files.

        Raises
        ------
        AnnotationError
            nothing says in which file it is; begins with ``where``.
        """
        start_s, end_s = start_s - self.offset_s, end_s - self.offset_s
        num_files = max(len(self.names), len(self.durations_s))
        if num_files <= 1:
            yield self._placed(0, start_s, end_s)
            return
        if len(self.names) != num_files or len(self.durations_s) != num_files:
            raise self._unknown(where)
        last = num_files - 1
        if None in self.durations_s[:-1]:
            raise self._unknown(where)
        total_s = sum(d or 0.0 for d in self.durations_s)
        if self.durations_s[last] is not None and start_s > total_s + _SLACK_S:
            return
        index, begin_s = self._file_at(start_s)
        while True:
            next_s = begin_s + (self.durations_s[index] or 0.0)
            if index == last or end_s <= next_s + _ROUNDED_S:
                if not self.names[index]:
                    raise self._unknown(where)
                yield self._placed(index, start_s - begin_s, end_s - begin_s)
                return
            if next_s - start_s > _ROUNDED_S:
                if not self.names[index]:
                    raise self._unknown(where)
                yield self._placed(index, start_s - begin_s, next_s - begin_s)
            start_s, begin_s, index = max(start_s, next_s), next_s, index + 1

    def _file_at(self, time_s: float) -> tuple[int, float]:
        """(number of the file that shows a moment, when it begins); first and last beyond the ends."""
        begin_s = 0.0
        for index, duration_s in enumerate(self.durations_s[:-1]):
            if time_s < begin_s + (duration_s or 0.0):
                return index, begin_s
            begin_s += duration_s or 0.0
        return len(self.durations_s) - 1, begin_s

    def _placed(self, index: int, start_s: float, end_s: float) -> Placed:
        def at(values: Sequence[float | None]) -> float | None:
            return values[index] if index < len(values) else None

        name = self.names[index] if self.names else ""
        return Placed(name, start_s, end_s, at(self.durations_s), at(self.fps))

    def _unknown(self, where: str) -> AnnotationError:
        return AnnotationError(
            f"{where}: its observation has several media files, and the table does not say which of them "
            "shows the event, and when: it needs the columns 'Source' and 'Media duration (s)'; in BORIS 8 "
            "or newer choose Observations > Export events > Tabular events"
        )


def _column(cells: Mapping[str, str], begin: str) -> str:
    """The column whose name begins so: units and versions change what follows."""
    return next(
        (cells[name] for name in cells if name.startswith(begin) and not name.startswith("Media file")), ""
    )


def _lists(text: str, number: Number) -> list[list[float | None]]:
    """``5.000;30.000|35.000`` -> numbers of the files of each player."""
    if not text.strip() or text.strip().upper() == "NA":
        return []
    return [[number(part) for part in player.split(";")] for player in text.split("|")]


def _players(text: str, counts: Sequence[int]) -> list[list[str]]:
    """``player #1:a.mp4;b.mp4|player #2:c.mp4`` -> files of each player; [] where the text has no players.

    ``counts``: how many files the players have, if that is known; a name may have semicolons itself.
    """
    parts = _PLAYER.split(text)[2::2]
    players = []
    for index, part in enumerate(parts):
        whole = part.strip(" |;")
        files = [name.strip() for name in whole.split(";") if name.strip()]
        if index < len(counts) and counts[index] == 1:
            files = [whole]
        players.append(files)
    return players


def video_id(media: str, observation: str) -> str:
    """The id of a media file: its name without suffix; or the observation's, where that is the path's end."""
    folder, slash, file = media.strip().replace("\\", "/").rpartition("/")
    stem = PurePosixPath(file).stem
    if f"/{folder}{slash}{stem}".endswith("/" + observation.replace("\\", "/")):
        return observation or stem
    return stem or observation
