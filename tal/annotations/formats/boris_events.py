"""Events of BORIS' tables: what starts and stops, in which observation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

from tal.annotations.builder import Builder, first_ids
from tal.annotations.decimals import Decimals
from tal.annotations.formats.boris_media import Media, Number, Placed, media_name, video_id
from tal.annotations.options import ReadOptions
from tal.annotations.rows import Table
from tal.annotations.times import to_seconds
from tal.errors import AnnotationError

_NO_NUMBER = ("", "NA", "NAN", "NONE")
POINT = "point events"
_NO_TIME, _AFTER = "events without a time", "events after the end of their media files"
_NUMBERS = ("Time", "Start (s)", "Stop (s)", "Time offset (s)", "Total length", "FPS")
_USED = (
    "Observation id",
    "Subject",
    "Behavior",
    "Behavior type",
    "Status",
    "Source",
    "Media file name",
    *_NUMBERS,
)


def is_aggregated(header: set[str]) -> bool:
    return {"Behavior", "Start (s)", "Stop (s)"} <= header


def is_events(header: set[str]) -> bool:
    return {"Behavior", "Time"} <= header and bool({"Status", "Behavior type"} & header)


@dataclass(frozen=True)
class Event:
    """A state from its start to its stop, on the observation's clock; ``cells`` are those of its row."""

    where: str
    label: str
    start_s: float
    end_s: float
    cells: Mapping[str, str] = field(default_factory=dict)


def add_events(table: Table, top: int, options: ReadOptions, build: Builder) -> None:
    """Give all events of a table to ``build``; ``top`` is the number of the row that names the columns.

    Raises
    ------
    AnnotationError
        an event does not fit those above, or nobody can tell in which file it is; names file and line.
    """
    above: dict[str, list[str]] = defaultdict(list)
    for _, line in table.rows[:top]:
        name, *values = map(str.strip, line)
        above[name] += filter(None, values[:1])
    below = table.below(top)
    decimals = below.decimals(i for i, name in enumerate(below.header) if name in _NUMBERS)
    rows = list(below.dicts(used=_USED))
    by_observation: dict[str, list[tuple[str, dict[str, str]]]] = defaultdict(list)
    for where, cells in rows:
        observation = cells.get("Observation id", "") or next(iter(above["Observation id"]), "")
        by_observation[observation.strip()].append((where, cells))
    read = _aggregated if is_aggregated(set(below.header)) else _paired
    found = Findings()
    for observation, its_rows in by_observation.items():
        where, cells = its_rows[0]
        media = Media.read(cells, above, _number_reader(decimals, where))
        events = list(read(its_rows, decimals, build))
        times = ((event.start_s, media_name(event.cells)) for event in events)
        media.learn_names(times, where)
        # "Total length" is that of all media; versions with "Source" call the time between two events so
        total = cells.get("Total length", "") if len(media.names) <= 1 and "Source" not in cells else ""
        number = _number_reader(decimals, f"{build.source}: observation {observation!r:.80}")
        add_observation(
            observation,
            media,
            events,
            build,
            found,
            subset=options.subset,
            total_s=number(total),
            of_files=not cells.get("Observation type", "").startswith("From "),
        )
    found.modified = sum(any(_modifiers(cells)) for _, cells in rows)
    build.notes += found.notes()


@dataclass
class Findings:
    """What is worth a note: observations by what was found in them.

    Attributes
    ----------
    modified
        number of events with modifiers.
    observations
        video -> the observations that it is in.
    """

    modified: int = 0
    observations: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    shifted: list[str] = field(default_factory=list)
    split: list[str] = field(default_factory=list)
    cameras: list[str] = field(default_factory=list)

    def notes(self) -> Iterator[str]:
        several = [video for video, observations in self.observations.items() if len(observations) > 1]
        if self.shifted:
            shown = first_ids(self.shifted)
            yield f"the time offset of {len(self.shifted)} observations is subtracted: {shown}"
        if self.split:
            yield (
                f"{len(self.split)} states run over the end of a media file; each is one action in every "
                f"file that it is in; in the observations {first_ids(dict.fromkeys(self.split))}"
            )
        if self.cameras:
            yield (
                f"{len(self.cameras)} files show other cameras (player #2 and up); actions are taken for the "
                f"files of player #1 alone, not for {first_ids(self.cameras)}"
            )
        if several:
            yield (
                f"{len(several)} videos are in several observations, whose actions are taken together: "
                f"{first_ids(several)}"
            )
        if self.modified:
            yield f"{self.modified} events have modifiers, which are not part of labels"


def _number_reader(decimals: Decimals, where: str) -> Number:
    def number(text: str) -> float | None:
        if text.strip().upper() in _NO_NUMBER:
            return None
        return to_seconds(decimals.plain(text, where), where)

    return number


def _aggregated(
    rows: Sequence[tuple[str, dict[str, str]]], decimals: Decimals, build: Builder
) -> Iterator[Event]:
    """States that have start and stop in one row."""
    for where, cells in rows:
        number = _number_reader(decimals, where)
        if cells.get("Behavior type", "").strip().upper() == "POINT":
            build.leave(POINT)
            continue
        start_s, end_s = number(cells["Start (s)"]), number(cells["Stop (s)"])
        if start_s is None or end_s is None:
            build.leave(_NO_TIME)
        else:
            yield Event(where, cells["Behavior"].strip(), start_s, end_s, cells)


def _paired(
    rows: Sequence[tuple[str, dict[str, str]]], decimals: Decimals, build: Builder
) -> Iterator[Event]:
    """States of plain events: a STOP closes the START of its subject, behaviour and modifiers."""
    opened: dict[tuple[str, str], list[tuple[str, dict[str, str], float]]] = defaultdict(list)
    for where, cells in rows:
        label = cells["Behavior"].strip()
        status = (cells.get("Status") or cells.get("Behavior type") or "").strip().upper()
        key = (cells.get("Subject", "").strip(), label)
        time_s = _number_reader(decimals, where)(cells["Time"])
        if status == "POINT":
            build.leave(POINT)
        elif time_s is None:
            build.leave(_NO_TIME)
        elif status == "START" and not any(_modifiers(c) == _modifiers(cells) for _, c, _ in opened[key]):
            opened[key].append((where, cells, time_s))
        elif status == "STOP" and opened[key]:
            same = (o for o in opened[key] if _modifiers(o[1]) == _modifiers(cells))
            start = next(same, opened[key][0])
            opened[key].remove(start)
            yield Event(start[0], label, start[2], time_s, start[1])
        else:
            raise AnnotationError(
                f"{where}: {status or 'no status'!r} of {label!r} does not fit the rows above"
            )
    for (_, label), starts in opened.items():
        if starts:
            raise AnnotationError(
                f"{starts[0][0]}: {label!r} starts and never stops; in BORIS choose Observations > Fix "
                "unpaired events, and export again"
            )


def _modifiers(cells: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(cells[name].strip() for name in cells if name.startswith("Modifier"))


def add_observation(
    observation: str,
    media: Media,
    events: Sequence[Event],
    build: Builder,
    found: Findings,
    *,
    subset: str,
    total_s: float | None = None,
    of_files: bool = True,
) -> None:
    """Give an observation's files and events to ``build``, and what is worth a note to ``found``.

    Parameters
    ----------
    total_s
        duration of the one file of which the media do not say it.
    of_files
        whether its files count without an event, too: those of pictures do not.

    Raises
    ------
    AnnotationError
        nothing says in which file an event is, or a name or time makes no sense.
    """

    def add_video(part: Placed) -> str:
        video = video_id(part.file, observation) or PurePath(build.source).stem
        build.video(video, subset, part.duration_s or total_s, part.fps)
        return video

    if of_files:
        for file in media.files():
            add_video(file)
    for event in events:
        parts = list(media.place(event.start_s, event.end_s, event.where))
        if not parts:
            build.leave(_AFTER)
        if len(parts) > 1:
            found.split.append(observation)
        for part in parts:
            video = add_video(part)
            build.segment(video, part.start_s, part.end_s, event.label, event.where)
            found.observations[video].add(observation)
    found.cameras += media.cameras
    found.shifted += [observation] if media.offset_s else []
