"""What a review holds: one document per video with its version, all of them in one file.

One lock covers the check of a version and the write, so that of two tabs that save the same version one is
told that it is late. The file is written before a version counts as saved.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from featstore.documents import parse_json
from pipelines.review.changes import STEPS, Change, ChangeError, check_change
from pipelines.review.history import History, Stacks, Step
from pipelines.review.labels import new_label
from pipelines.review.output import OutputFile
from pipelines.review.run import Review, ReviewError
from pipelines.review.text import FileText
from tal.annotations.corrections import (
    Corrections,
    Sample,
    VideoCorrections,
    corrections_json,
    parse_corrections,
)
from tal.errors import AnnotationError, LongtalError

# Of one request: what waited while another one was under way.
_MOST_STEPS = 1000


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
        self._text = FileText()
        self._history = History(file)
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

    def save(self, video_id: str, version: Any, steps: Any) -> Document:
        """Make changes in a document, all of them or none, and keep it on the disk.

        Parameters
        ----------
        version
            the one that the first change was made in.
        steps
            list of ``{"step": "do" | "undo" | "redo", "minus": part, "plus": part}`` (`Change`).

        Raises
        ------
        StaleError
            ``version`` is not the newest: nothing was changed.
        ChangeError
            a change does not fit the schema.
        OutputError, AnnotationError
            the file cannot be written, or another program made something else of it.
        """
        with self._lock:
            self._look()
            now = self._documents[video_id]
            if type(version) is not int:
                raise ChangeError(f"{str(version)[:40]!r} is not a version")
            if version != now.version:
                raise StaleError(f"{video_id}: version {version} is not the newest, {now.version}")
            video, noted = self._changed(now.video, steps)
            saved = {**self._saved, video_id: video}
            self._history.note(video_id, noted)
            self._stamp = self._file.write(self._text.whole(self.labels, saved))
            self._saved = saved
            self._documents[video_id] = Document(video, now.version + 1)
            return self._documents[video_id]

    def _changed(self, video: VideoCorrections, steps: Any) -> tuple[VideoCorrections, list[Step]]:
        """The corrections after steps of a request, and those steps for the history."""
        if not isinstance(steps, list) or not 1 <= len(steps) <= _MOST_STEPS:
            raise ChangeError(f"changes are a list of 1 to {_MOST_STEPS}")
        known = self._videos[video.id]
        noted, before = [], self._text.digest(video)
        for entry in steps:
            if not isinstance(entry, dict) or entry.get("step") not in STEPS:
                raise ChangeError(f"a change has a step, one of {', '.join(STEPS)}")
            change = Change.from_json({key: entry[key] for key in entry if key != "step"})
            video = change.made_in(video)
            check_change(change, video, self.labels, known.last_end_s)
            after = self._text.digest(video)
            noted.append(Step(entry["step"], change.to_json(), before, after))
            before = after
        return video, noted

    def add_label(self, label: Any) -> tuple[str, ...]:
        """Add a class, on the disk; all of them.

        Raises
        ------
        ChangeError
            it cannot be a class, or there is one like it.
        OutputError, AnnotationError
            as `save`.
        """
        with self._lock:
            self._look()
            labels = (*self.labels, new_label(label, self.labels))
            self._stamp = self._file.write(self._text.whole(labels, self._saved))
            self.labels = labels
            return labels

    def history(self, video_id: str) -> tuple[Document, Stacks]:
        """A document, and what can be undone and redone in it."""
        with self._lock:
            now = self._documents[video_id]
            return now, self._history.stacks(video_id, self._text.digest(now.video))

    def corrections(self) -> Corrections:
        """All documents of the review as they stand."""
        with self._lock:
            return Corrections(self.labels, {key: d.video for key, d in self._documents.items()})

    def keep_samples(self, drawn: Mapping[str, Sequence[Sample]]) -> None:
        """Note random stretches that were drawn, on the disk; versions stay, for no page edits them.

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
            self._stamp = self._file.write(self._text.whole(self.labels, saved))
            self._saved = saved
            for key in drawn:
                self._documents[key] = replace(self._documents[key], video=saved[key])

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
