"""What a review holds: one document per video with its version, all of them in one file.

One lock covers the check of a version and the write, so that of two tabs that save the same version one is
told that it is late. The file is written before a version counts as saved.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from featstore.documents import parse_json
from pipelines.review.output import OutputFile
from pipelines.review.run import Review, ReviewError
from tal.annotations.corrections import (
    VERSION,
    Corrections,
    Sample,
    VideoCorrections,
    corrections_json,
    parse_corrections,
)
from tal.errors import AnnotationError, LongtalError

# Keys of a document that a page may change.
_EDITED = ("annotations", "rejected", "reviewed")
_MOST_SEGMENTS = 20_000
_MOST_TIME_CHARACTERS = 40
# A segment may end so much behind the video: durations of annotation files are rounded.
_SLACK_S = 1.0


class DocumentError(LongtalError, ValueError):
    """A document that was sent does not fit its schema."""


class StaleError(LongtalError, RuntimeError):
    """The document was changed by somebody else since it was read."""


@dataclass(frozen=True)
class Document:
    """One video's corrections; ``version`` grows with every change, also by others."""

    video: VideoCorrections
    version: int = 1

    def to_json(self) -> dict[str, Any]:
        """As a page has it: an entry of corrections.json, and the version."""
        whole = corrections_json(Corrections((), {self.video.id: self.video}))
        return {**whole["database"][self.video.id], "version": self.version}


class ReviewState:
    """The documents of a review and the file that they are kept in.

    Parameters
    ----------
    review
        what is reviewed: a video stands as it is known there where the file does not hold it.
    file
        where they are kept; videos that it holds beside those of the review stay in it.

    Raises
    ------
    ReviewError
        no class is known.
    AnnotationError
        the file holds something else than corrections.
    """

    def __init__(self, review: Review, file: OutputFile) -> None:
        self._file = file
        self.path = file.path
        self._videos = {video.id: video for video in review.videos}
        self._lock = threading.Lock()
        self._stamp = file.stamp()
        self._saved: dict[str, VideoCorrections] = {}
        self._lines: dict[str, tuple[VideoCorrections, str]] = {}  # of the file, by video
        kept: tuple[str, ...] = ()
        if self._stamp is not None and (content := file.read()).strip():
            there = parse_corrections(parse_json(content, str(file.path), AnnotationError), str(file.path))
            self._saved, kept = dict(there.videos), there.labels
        self.labels = tuple(dict.fromkeys([*review.labels, *kept]))
        if not self.labels:
            raise ReviewError("no class is known: name them with --labels walk,run,jump")
        self._documents = {
            key: Document(_with_facts(self._saved.get(key, video.known), video.known))
            for key, video in self._videos.items()
        }

    def document(self, video_id: str) -> Document:
        with self._lock:
            return self._documents[video_id]

    def learn_duration(self, video_id: str, duration_s: float, fps: float) -> None:
        """Note what the video's file says; it is kept with the next change."""
        with self._lock:
            document = self._documents[video_id]
            facts = replace(document.video, duration_s=duration_s, fps=document.video.fps or fps)
            self._documents[video_id] = replace(document, video=facts)

    def save(self, video_id: str, version: Any, entry: Any) -> Document:
        """Take a changed document, and keep it on the disk.

        Raises
        ------
        StaleError
            ``version`` is not the newest: nothing was changed.
        DocumentError
            the document does not fit its schema.
        OutputError, AnnotationError
            the file cannot be written, or another program made something else of it.
        """
        with self._lock:
            self._look()
            now = self._documents[video_id]
            if type(version) is not int:
                raise DocumentError(f"{str(version)[:40]!r} is not a version")
            if version != now.version:
                raise StaleError(f"{video_id}: version {version} is not the newest, {now.version}")
            video = _checked(entry, now.video, self.labels, self._videos[video_id].last_end_s)
            saved = {**self._saved, video_id: video}
            self._stamp = self._file.write(self._text(saved))
            self._saved = saved
            self._documents[video_id] = Document(video, now.version + 1)
            return self._documents[video_id]

    def corrections(self) -> Corrections:
        """All documents of the review as they stand."""
        with self._lock:
            return Corrections(self.labels, {key: d.video for key, d in self._documents.items()})

    def keep_samples(self, drawn: Mapping[str, Sequence[Sample]]) -> None:
        """Note random stretches that were drawn, on the disk.

        Raises
        ------
        OutputError, AnnotationError
            as `save`.
        """
        if not drawn:
            return
        with self._lock:
            self._look()
            saved = dict(self._saved)
            for key, samples in drawn.items():
                now = self._documents[key].video
                saved[key] = replace(now, sampled=(*now.sampled, *samples))
            self._stamp = self._file.write(self._text(saved))
            self._saved = saved
            for key in drawn:
                self._documents[key] = Document(saved[key], self._documents[key].version + 1)

    def _text(self, videos: Mapping[str, VideoCorrections]) -> bytes:
        """The whole file, a line per video: of thousands, only those that changed are written out anew."""
        lines = []
        for key, video in videos.items():
            if key not in self._lines or self._lines[key][0] is not video:
                entry = corrections_json(Corrections((), {key: video}))["database"]
                self._lines[key] = (video, json.dumps(entry, ensure_ascii=False)[1:-1])
            lines.append(self._lines[key][1])
        head = json.dumps(corrections_json(Corrections(self.labels, {})), ensure_ascii=False)
        assert head.endswith('"database": {}}')
        return (head.removesuffix("}}") + "\n" + ",\n".join(lines) + "\n}}\n").encode("utf-8")

    def _look(self) -> None:
        """Take in what another program wrote into the file; one that is gone is written anew."""
        stamp = self._file.stamp()
        if stamp == self._stamp or stamp is None:
            return
        content = parse_json(self._file.read(), str(self._file.path), AnnotationError)
        theirs = parse_corrections(content, str(self._file.path))
        self._stamp, self._saved = stamp, dict(theirs.videos)
        self.labels = tuple(dict.fromkeys([*self.labels, *theirs.labels]))
        for key, old in self._documents.items():
            video = _with_facts(self._saved.get(key, self._videos[key].known), old.video)
            if video != old.video:
                self._documents[key] = Document(video, old.version + 1)


def _with_facts(saved: VideoCorrections, known: VideoCorrections) -> VideoCorrections:
    """The file's corrections; what it does not say of the video itself comes from ``known``."""
    return replace(
        saved,
        subset=saved.subset or known.subset,
        duration_s=saved.duration_s if known.duration_s is None else known.duration_s,
        fps=saved.fps if known.fps is None else known.fps,
    )


def _checked(entry: Any, now: VideoCorrections, labels: Sequence[str], end_s: float) -> VideoCorrections:
    """``now`` with the edited parts of ``entry``; DocumentError where it does not fit the schema."""
    if not isinstance(entry, dict) or set(entry) - set(_EDITED):
        raise DocumentError(f"a document has the keys {', '.join(_EDITED)} and no others")
    content = {"version": VERSION, "taxonomy": [], "database": {now.id: entry}}
    try:
        new = parse_corrections(content, "the document").videos[now.id]
    except AnnotationError as error:
        raise DocumentError(str(error)) from error
    judged = (*new.actions, *new.rejected)
    if len(judged) > _MOST_SEGMENTS or len(new.reviewed) > _MOST_SEGMENTS:
        raise DocumentError(f"a document holds at most {_MOST_SEGMENTS} segments")
    ends = [end for _, end in new.reviewed]
    for judgement in judged:
        both = [judgement.segment, *([judgement.original] if judgement.original else [])]
        if unknown := {segment.label for segment in both} - set(labels):
            raise DocumentError(f"the class {min(unknown)[:60]!r} is not one of this review")
        if len(judgement.time) > _MOST_TIME_CHARACTERS:
            raise DocumentError(f"{judgement.time[:60]!r} is not a time")
        ends.append(judgement.segment.end_s)
    last = max([*ends, 0.0])
    if now.duration_s is not None and last > max(now.duration_s + _SLACK_S, end_s):
        raise DocumentError(f"a segment ends at {last:g} s, the video at {now.duration_s:g} s")
    return replace(now, actions=new.actions, rejected=new.rejected, reviewed=new.reviewed)
