"""Ids of videos as two files write them, and which of them mean the same video.

An id is the path of a video's file below the folder of videos, without its suffix: ``P01/P01_11``. Files from
elsewhere often say less, or more: only the last part (``P01_11``), the suffix too (``P01/P01_11.MP4``), or
ActivityNet's ``v_``, which its video files have and its annotations have not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

import pandas as pd

from tal.annotations.builder import first_ids

# Of video files as FFmpeg reads them: usual ones, camcorders and discs (m2ts, mod, tod, vob), phones (3gp),
# editing (mxf, dv), the web (f4v, ogv), action cameras (insv, lrv) and surveillance (dav).
VIDEO_SUFFIXES = (
    *(".mp4", ".mkv", ".webm", ".avi", ".mov", ".m4v", ".mpg", ".mpeg", ".ts", ".flv", ".wmv"),
    *(".mts", ".m2ts", ".m2t", ".trp", ".mod", ".tod", ".vob", ".vro", ".mpe", ".m1v", ".m2v"),
    *(".3gp", ".3g2", ".qt", ".mxf", ".dv", ".divx", ".asf", ".f4v", ".ogv", ".ogm", ".rm", ".rmvb"),
    *(".insv", ".lrv", ".dav", ".wtv", ".nut", ".y4m"),
)
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class _Id:
    """An id taken apart: ``P01/v_a.MP4`` is folder ``P01/``, prefix ``v_``, core ``a``, suffix ``.MP4``."""

    text: str
    folder: str
    prefix: str
    core: str
    suffix: str

    @classmethod
    def parse(cls, text: str) -> _Id:
        folder, slash, name = text.rpartition("/")
        suffix = PurePosixPath(name).suffix
        suffix = suffix if suffix.lower() in VIDEO_SUFFIXES else ""
        stem = name.removesuffix(suffix)
        prefix = "v_" if stem.startswith("v_") and len(stem) > 2 else ""
        return cls(text, folder + slash, prefix, stem.removeprefix(prefix), suffix)

    def same_file(self, other: _Id) -> bool:
        """Whether the last parts can be one file's name."""
        either = not (self.suffix and other.suffix) or self.suffix.lower() == other.suffix.lower()
        return self.core == other.core and either


class IdIndex:
    """Ids of one source (a folder, a store, an annotation file), in which those of another are looked up."""

    def __init__(self, ids: Iterable[str]) -> None:
        self._ids = {text: _Id.parse(text) for text in ids}
        self._at: dict[tuple[str, str], list[_Id]] = {}  # by folder and core
        self._of_core: dict[str, list[_Id]] = {}
        for item in self._ids.values():
            self._at.setdefault((item.folder, item.core), []).append(item)
            self._of_core.setdefault(item.core, []).append(item)

    def match(self, ids: Iterable[str]) -> IdMatches:
        """Pair ``ids`` with these.

        Two ids are nearest when they are equal; else when only the suffix differs or is missing on one side;
        else when ``v_`` is missing on one side, too; else when one has no folder and their last parts agree
        as far as that. They are a pair when each is the other's one nearest: so the pairs are one to one, and
        the same whichever side is looked up in the other.
        """
        theirs = IdIndex(ids)
        back: dict[str, dict[str, _Id]] = {}
        pairs: dict[str, str] = {}
        unclear: dict[str, str] = {}
        for mine in theirs._ids.values():
            near = self._nearest(mine)
            if len(near) > 1:
                unclear[mine.text] = f"could be {first_ids([n.text for n in near])}"
                continue
            for one in near:
                if one.text not in back:
                    back[one.text] = {n.text: n for n in theirs._nearest(one)}
                rivals = back[one.text]
                if len(rivals) == 1 and mine.text in rivals:
                    pairs[mine.text] = one.text
                elif mine.text in rivals:
                    other = next(text for text in rivals if text != mine.text)
                    more = f" and {len(rivals) - 2} more" if len(rivals) > 2 else ""
                    unclear[mine.text] = (
                        f"could be {first_ids([one.text])}, and so could {first_ids([other])}{more}"
                    )
        return IdMatches(pairs, unclear)

    def _nearest(self, item: _Id) -> list[_Id]:
        if item.text in self._ids:
            return [self._ids[item.text]]
        at_place = [o for o in self._at.get((item.folder, item.core), ()) if o.same_file(item)]
        if at_place:
            return [o for o in at_place if o.prefix == item.prefix] or at_place
        pool = self._at.get(("", item.core), ()) if item.folder else self._of_core.get(item.core, ())
        return [o for o in pool if o.same_file(item)]


@dataclass(frozen=True)
class IdMatches:
    """Pairs of ids: as one source writes them -> as the other does; and why others have no counterpart
    although there are candidates.
    """

    pairs: Mapping[str, str]
    unclear: Mapping[str, str]

    def bent(self, what: str) -> list[str]:
        """A line for each kind of difference within the pairs; ``what`` are they: "annotated id"."""
        kinds: dict[str, list[str]] = {}
        for ours, theirs in self.pairs.items():
            if ours != theirs:
                shown = f"{first_ids([ours])} as {first_ids([theirs])}"
                kinds.setdefault(_difference(_Id.parse(ours), _Id.parse(theirs)), []).append(shown)
        return [f"{_count(shown, what)} matched with {kind}: {_few(shown)}" for kind, shown in kinds.items()]

    def refused(self, what: str) -> list[str]:
        """A line about ids that could mean several videos, if there are any."""
        shown = [f"{first_ids([text])} {why}" for text, why in self.unclear.items()]
        return [f"{_count(shown, what)} not matched: {_few(shown, '; ')}"] if shown else []

    def notes(self, what: str) -> list[str]:
        """All that a user should know of these matches."""
        return [*self.bent(what), *self.refused(what)]


def _count(items: Collection[str], what: str) -> str:
    return f"{len(items)} {what}{'' if len(items) == 1 else 's'}"


def _few(items: Collection[str], separator: str = ", ") -> str:
    return separator.join(list(items)[:_SHOWN]) + (f"{separator}…" if len(items) > _SHOWN else "")


def _difference(ours: _Id, theirs: _Id) -> str:
    changes = [
        f"{name} {'taken off' if a and not b else 'put on' if b and not a else 'in another case'}"
        for name, a, b in (
            ("the folder", ours.folder, theirs.folder),
            ("'v_'", ours.prefix, theirs.prefix),
            ("the suffix", ours.suffix, theirs.suffix),
        )
        if a != b
    ]
    return " and ".join(changes)


def match_ids(ids: Iterable[str], known: Iterable[str]) -> IdMatches:
    """Pair ``ids`` with those of ``known`` that mean the same videos; see `IdIndex.match`."""
    return IdIndex(known).match(ids)


def align_ids(predictions: pd.DataFrame, known: Iterable[str]) -> tuple[pd.DataFrame, list[str]]:
    """Predictions with video ids spelled as ``known`` spells them, and notes on what was changed or could
    not be told.
    """
    column = predictions["video_id"].astype("category")
    looked_at = [*map(str, column.cat.categories), *predictions.attrs.get("videos", ())]
    matches = match_ids(looked_at, known)
    pairs = matches.pairs
    if all(ours == theirs for ours, theirs in pairs.items()):
        return predictions, matches.notes("prediction id")
    changed = predictions.assign(video_id=column.cat.rename_categories(lambda i: pairs.get(str(i), str(i))))
    changed.attrs = dict(predictions.attrs)
    if "videos" in changed.attrs:
        changed.attrs["videos"] = [pairs.get(v, v) for v in changed.attrs["videos"]]
    return changed, matches.notes("prediction id")
