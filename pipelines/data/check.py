"""A check of a data set: annotations against themselves, against the videos, and against a store."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from featstore import FeatureStore
from pipelines.data.stored_fit import check_stored
from pipelines.data.videos import (
    ANNOTATED,
    Opened,
    Sources,
    decode_videos,
    find_sources,
    open_videos,
    pair_with_files,
)
from tal.annotations import AnnotationSet, VideoAnnotation, read_annotations
from tal.annotations.account import Account
from tal.annotations.clock_factor import ClockFactor, clock_factor
from tal.annotations.ids import match_ids
from tal.annotations.labels import alike
from tal.annotations.types import drop_duplicates
from tal.annotations.units import Reach, likely_unit
from tal.video import VideoInfo

# Annotated durations are often rounded, and count a last picture or not.
_DURATION_SHARE, _DURATION_S = 0.02, 0.5
# A label this rare, beside one of nearly the same name that is this much more frequent, is a misspelling.
_RARE, _MORE_FREQUENT, _ALIKE = 3, 5, 0.84
_END_SLACK_S = 0.5
NOT_DECODED = (
    "looked at every time stamp and one picture of each video; the other pictures were not decoded: --decode "
    "does, and finds damage inside files"
)


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding: the check, the video and a description; ``severity``: error, or warning (worth a look)."""

    check: str
    video: str
    severity: str
    detail: str


@dataclass(frozen=True)
class CheckReport:
    """Findings, and counts by subset: videos, videos found, instances, seconds.

    ``account`` says what was taken from the annotations and what was left; None without annotations.
    """

    problems: tuple[Problem, ...]
    subsets: pd.DataFrame
    notes: tuple[str, ...] = ()
    account: Account | None = None

    @property
    def num_errors(self) -> int:
        return sum(p.severity == "error" for p in self.problems)

    def table(self) -> pd.DataFrame:
        columns = ["severity", "check", "video", "detail"]
        return pd.DataFrame([[getattr(p, c) for c in columns] for p in self.problems], columns=columns)


def check(
    annotations: Path | None,
    videos: Path | None = None,
    store: Path | None = None,
    workers: int = 0,
    opened: Opened | None = None,
    reader: str = "auto",
    decode: bool = False,
) -> CheckReport:
    """Look at all of it, and decode one picture of each video.

    Parameters
    ----------
    workers
        processes that open videos; 0: this one.
    opened
        what `open_videos` gave for these very videos, if they were opened already.
    reader
        must be able to read the videos.
    decode
        decode every picture: damage inside a file shows in no other way.

    Raises
    ------
    AnnotationError, VideoError, StoreFormatError
        when annotations, folder or store cannot be read at all.
    """
    named = read_annotations(annotations) if annotations else None
    problems: list[Problem] = []
    notes = list(named.notes) if named else []
    infos: dict[str, VideoInfo] | None = None
    if videos is not None:
        sources = pair_with_files(videos, named) if named is not None else find_sources(videos)
        notes += sources.matches.bent(ANNOTATED)
        problems += _missing(sources, videos)
        infos, failed = opened or open_videos(sources.by_annotation, reader, workers)
        problems += [Problem("unreadable", name, "error", reason) for name, reason in failed.items()]
        notes += [f"{name}: {note}" for name, info in infos.items() for note in info.notes]
        if decode:
            damaged = decode_videos(sources.by_annotation, infos, reader, workers)
            problems += [Problem("undecodable", name, "error", reason) for name, reason in damaged.items()]
        elif infos:
            notes.append(NOT_DECODED)
    if named is not None:
        problems += _labels(named)
        problems += _unit(named, infos)
        clock = find_clock(named, infos or {})
        if clock is not None:
            problems.append(Problem("clock", "", "error", str(clock)))
        for video in named.videos.values():
            info = infos.get(video.id) if infos is not None else None
            problems += _segments(video, info, clock is not None and video.id in clock.videos)
        problems += [
            Problem("excluded", e.video_id, "warning", e.reason) for e in named.excluded if e.segment is None
        ]
        problems += _subsets(named)
    if store is not None:
        problems += _store(store, named, infos, notes)
    order = {"error": 0, "warning": 1}
    problems.sort(key=lambda p: (order[p.severity], p.check, p.video))
    account = named.account if named else None
    return CheckReport(tuple(problems), _counts(named, infos), tuple(notes), account)


def _missing(sources: Sources, videos: Path) -> Iterator[Problem]:
    for video_id in sources.missing:
        detail = f"no file for it in {videos}{sources.why_missing(video_id)}"
        yield Problem("missing", video_id, "error", detail)


def find_clock(named: AnnotationSet, infos: Mapping[str, VideoInfo]) -> ClockFactor | None:
    """The factor that annotated durations have in common against those of the files."""
    known = {k: (v.duration_s, infos[k].duration_s) for k, v in named.videos.items() if k in infos}
    durations = {k: (said_s, real_s) for k, (said_s, real_s) in known.items() if said_s and real_s > 0}
    return clock_factor(durations, [infos[k].fps for k in durations])


def _differ(said_s: float, real_s: float) -> bool:
    return abs(said_s - real_s) > max(_DURATION_S, _DURATION_SHARE * real_s)


def _segments(video: VideoAnnotation, info: VideoInfo | None, other_clock: bool) -> Iterator[Problem]:
    """``other_clock``: its duration is one of those that differ by a common factor, which is said once."""
    said_s, real_s = video.duration_s, info.duration_s if info else None
    if said_s and real_s and not other_clock and _differ(said_s, real_s):
        yield Problem("duration", video.id, "error", f"annotated {said_s:.2f} s, the file has {real_s:.2f} s")
    end_s = real_s or said_s
    for segment in video.counted:
        where = f"{segment.label!r} {segment.start_s:.2f}-{segment.end_s:.2f} s"
        if segment.end_s <= segment.start_s:
            yield Problem("empty segment", video.id, "error", f"{where} ends before it begins")
        elif segment.start_s < 0:
            yield Problem("out of range", video.id, "error", f"{where} begins before the video")
        elif end_s and segment.start_s >= end_s:
            yield Problem("out of range", video.id, "error", f"{where} lies behind the end, {end_s:.2f} s")
        elif end_s and segment.end_s > end_s + _END_SLACK_S:
            yield Problem("out of range", video.id, "error", f"{where} goes beyond the end, {end_s:.2f} s")
    for segment in drop_duplicates(video.counted)[1]:
        where = f"{segment.label!r} {segment.start_s:.2f}-{segment.end_s:.2f} s"
        yield Problem("duplicate", video.id, "warning", f"{where} is there twice")


def _unit(named: AnnotationSet, infos: Mapping[str, VideoInfo] | None) -> Iterator[Problem]:
    """Times that are something else than seconds; files say best how long a video is."""
    reaches = []
    for video in named.videos.values():
        info = (infos or {}).get(video.id)
        duration_s, fps = (info.duration_s, info.fps) if info else (video.duration_s, video.fps)
        reaches.append(Reach(video.last_end_s, duration_s or 0.0, fps))
    if unit := likely_unit(reaches):
        yield Problem("unit", "", "error", f"the times look like {unit}")


def _labels(named: AnnotationSet) -> Iterator[Problem]:
    """Labels that look like misspellings of a more frequent one, or of one that differs in case or blanks."""
    counts = Counter(s.label for v in named.videos.values() for s in v.counted)
    first = {s.label: v.id for v in reversed(list(named.videos.values())) for s in v.counted}
    twins: dict[str, str] = {}
    for group in alike(counts):
        best = max(group, key=lambda label: (counts[label], label))
        twins |= {label: best for label in group if label != best}
    for label, count in counts.items():
        near = twins.get(label) or _misspelt(label, counts)
        if near:
            detail = f"{label!r} ({count} times) looks like {near!r} ({counts[near]} times)"
            yield Problem("label", first[label], "error", detail)


def _misspelt(label: str, counts: Mapping[str, int]) -> str:
    """A more frequent label that a label is probably a slip of; "" if there is none."""
    count, plain = counts[label], _plain(label)
    same = [o for o in counts if o != label and plain and _plain(o) == plain and counts[o] > count]
    frequent = [o for o in counts if counts[o] >= _MORE_FREQUENT * count]
    near = same or difflib.get_close_matches(label, frequent, n=1, cutoff=_ALIKE) * (count <= _RARE)
    return near[0] if near else ""


def _plain(label: str) -> str:
    return "".join(c for c in label.casefold() if c.isalnum())


def _subsets(named: AnnotationSet) -> Iterator[Problem]:
    per_subset: dict[str, set[str]] = {}
    for video in named.videos.values():
        per_subset.setdefault(video.subset, set()).update(s.label for s in video.counted)
    for name, labels in per_subset.items():
        if not labels:
            yield Problem("subset", "", "warning", f"{name!r} has videos but no segments")
        elif lacking := sorted(set(named.labels) - labels):
            shown = ", ".join(lacking[:5]) + (", …" if len(lacking) > 5 else "")
            yield Problem(
                "subset", "", "warning", f"{name!r} has no segment of {len(lacking)} labels: {shown}"
            )


def _store(
    path: Path, named: AnnotationSet | None, infos: dict[str, VideoInfo] | None, notes: list[str]
) -> Iterator[Problem]:
    with FeatureStore.open(path) as store:
        table = store.videos().set_index("id")
        matches = match_ids(named.videos if named else infos or (), table.index)
        notes += [f"{path.name}: {note}" for note in matches.bent(ANNOTATED if named else "video id")]
        for video_id, row in table[table["state"] == "failed"].iterrows():
            yield Problem("store", str(video_id), "error", f"failed in extraction: {row['reason']}")
        for video_id in table.index[table["state"] == "reserved"]:
            yield Problem("store", video_id, "error", "its extraction is not finished")
        for video_id in sorted(set(named.videos if named else infos or ()) - matches.pairs.keys()):
            why = matches.unclear.get(video_id)
            yield Problem("store", video_id, "error", "not in the store" + (f": the id {why}" if why else ""))
        for video_id, info in (infos or {}).items():
            said_s = table["duration_s"].get(matches.pairs.get(video_id, video_id))
            if said_s is not None and abs(said_s - info.duration_s) > _DURATION_S:
                detail = f"extracted from a file of {said_s:.2f} s, it now has {info.duration_s:.2f} s"
                yield Problem("store", video_id, "error", detail)
        durations = {v.id: v.duration_s for v in (named.videos.values() if named else ())}
        durations |= {video_id: info.duration_s for video_id, info in (infos or {}).items()}
        by_stored = {matches.pairs[k]: s for k, s in durations.items() if k in matches.pairs}
        yield from _rows(store, by_stored, notes)
        damaged = store.verify()
    for video_id, rows in damaged.groupby("video"):
        yield Problem(
            "store", str(video_id), "error", f"{len(rows)} rows fail their checksum: extract --repair"
        )


def _rows(store: FeatureStore, durations: Mapping[str, float | None], notes: list[str]) -> Iterator[Problem]:
    """Rows that end somewhere else than their video does.

    Parameters
    ----------
    durations
        of the stored ids, as annotations or files say it.
    """
    fit, left_out = check_stored(store, store.video_ids, durations)
    if left_out:
        notes.append(left_out)
    hint = f"; {fit.hint}" if fit.hint else ""
    for rows in fit.wrong:
        yield Problem("rows", rows.video_id, "error", f"{rows}: {rows.made}{hint}")
    for rows in fit.slight:
        yield Problem("rows", rows.video_id, "warning", f"{rows}: {rows.made}")


def _counts(named: AnnotationSet | None, infos: dict[str, VideoInfo] | None) -> pd.DataFrame:
    if named is None:
        total_s = sum(i.duration_s for i in (infos or {}).values())
        return pd.DataFrame([{"subset": "all files", "videos": len(infos or {}), "hours": total_s / 3600}])
    rows = []
    for name in named.subsets:
        videos = [v for v in named.videos.values() if v.subset == name]
        seconds = (infos[v.id].duration_s if infos and v.id in infos else v.duration_s or 0.0 for v in videos)
        rows.append(
            {
                "subset": name,
                "videos": len(videos),
                "readable": len(videos) if infos is None else sum(v.id in infos for v in videos),
                "instances": sum(len(v.counted) for v in videos),
                "labels": len({s.label for v in videos for s in v.counted}),
                "hours": sum(seconds) / 3600,
            }
        )
    return pd.DataFrame(rows)
