"""What a data set says about its videos, whatever file it came from."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tal.annotations.account import Account
from tal.errors import EvaluationError

# What the field's files call the same three splits. THUMOS14 trains on "validation" and tests on "test", so a
# name is looked up as it is written first; the alias only serves where that name does not exist.
_SUBSET_ALIASES: Mapping[str, tuple[str, ...]] = {
    "training": ("train", "training"),
    "validation": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}

# Two annotations of one label whose ends both differ by no more than this are one (ActionFormer, OpenTAD).
DUPLICATE_TOLERANCE_S = 1e-3
DUPLICATE_REASON = "duplicate within 1e-3 s"  # of an `Exclusion`


@dataclass(frozen=True, slots=True)
class Segment:
    """One labelled stretch of a video, in seconds of real time."""

    start_s: float
    end_s: float
    label: str

    @property
    def duration_s(self) -> float:
        """Seconds from start to end."""
        return self.end_s - self.start_s


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Something a file holds that is not counted, and why; ``segment`` is None for a whole video."""

    video_id: str
    reason: str
    segment: Segment | None = None


@dataclass(frozen=True, slots=True)
class VideoAnnotation:
    """One video's annotation.

    ``segments`` all end after they start. ``degenerate`` are instances whose end is not after their start:
    the official evaluator counts them as instances to be found (and nothing can find them), training cannot
    use them. ``ignored`` are stretches of ambiguous classes: neither action nor background.
    """

    id: str
    subset: str
    segments: tuple[Segment, ...]
    duration_s: float | None = None
    fps: float | None = None
    num_frames: int | None = None
    url: str | None = None
    degenerate: tuple[Segment, ...] = ()
    ignored: tuple[Segment, ...] = ()

    @property
    def counted(self) -> tuple[Segment, ...]:
        """Every instance that metrics count."""
        return self.segments + self.degenerate

    @property
    def last_end_s(self) -> float:
        """Where the last instance ends; 0 where there is none."""
        return max((s.end_s for s in self.counted), default=0.0)

    @property
    def all_segments(self) -> tuple[Segment, ...]:
        """Everything that a file of annotations holds: instances, then ignored stretches."""
        return self.counted + self.ignored


@dataclass(frozen=True)
class AnnotationSet:
    """Videos by id, the labels in a fixed order, and what the reader found worth saying.

    ``labels`` belongs to the whole data set: a subset keeps it, so that class indices agree between splits.
    ``account`` says what the reader took from the file and what it left.
    """

    videos: Mapping[str, VideoAnnotation]
    labels: tuple[str, ...]
    notes: tuple[str, ...] = ()
    excluded: tuple[Exclusion, ...] = ()
    source: str = ""
    format: str = field(default="activitynet", compare=False)
    account: Account = field(default=Account(), compare=False)

    def __len__(self) -> int:
        return len(self.videos)

    @property
    def subsets(self) -> dict[str, int]:
        """Subset names with their number of videos, in the file's order."""
        return dict(Counter(v.subset for v in self.videos.values()))

    @property
    def num_instances(self) -> int:
        """Instances of all videos, degenerate ones included."""
        return sum(len(v.segments) + len(v.degenerate) for v in self.videos.values())

    @property
    def used_labels(self) -> list[str]:
        """Labels that occur, sorted; also those of ignored stretches."""
        return sorted({s.label for v in self.videos.values() for s in v.all_segments})

    def subset(self, name: str | Sequence[str]) -> AnnotationSet:
        """The videos of one subset (or several); labels stay those of the whole set.

        A name that the file does not use is tried without regard to case, then as an alias (train/training,
        val/validation, test/testing); a note says what was taken.

        Raises
        ------
        EvaluationError
            no such subset; names those that exist.
        """
        counts = self.subsets
        notes = list(self.notes)
        taken: set[str] = set()
        for asked in [name] if isinstance(name, str) else name:
            matches = match_subset(asked, counts)
            if not matches:
                shown = [f"{k!r} ({n} videos)" for k, n in list(counts.items())[:20]]
                listing = (
                    ", ".join(shown) + (", …" if len(counts) > 20 else "") if shown else "no video at all"
                )
                raise EvaluationError(
                    f"{self.source or 'the annotations'}: no subset {asked!r}; it has {listing}"
                )
            if matches != [asked]:
                notes.append(f"subset {asked!r} taken as {', '.join(map(repr, matches))}")
            taken.update(matches)
        videos = {k: v for k, v in self.videos.items() if v.subset in taken}
        excluded = tuple(e for e in self.excluded if e.video_id in videos or e.video_id not in self.videos)
        return replace(self, videos=videos, notes=tuple(notes), excluded=excluded)

    def renamed(self, names: Mapping[str, str]) -> AnnotationSet:
        """Videos under other ids (old -> new), in the same order; the others keep theirs."""
        videos = {names.get(k, k): replace(v, id=names.get(k, k)) for k, v in self.videos.items()}
        assert len(videos) == len(self.videos), "two videos got one id"
        excluded = tuple(replace(e, video_id=names.get(e.video_id, e.video_id)) for e in self.excluded)
        return replace(self, videos=videos, excluded=excluded)

    def without(self, video_ids: Iterable[str], reason: str) -> AnnotationSet:
        """Leave videos out, and say so in ``excluded``; ids that the set does not know become a note."""
        drop = list(dict.fromkeys(video_ids))
        gone = [i for i in drop if i in self.videos]
        notes = self.notes
        if missing := len(drop) - len(gone):
            notes = (
                *notes,
                f"{missing} of {len(drop)} ids of the list ({reason}) are not in these annotations",
            )
        names = set(gone)
        return replace(
            self,
            videos={k: v for k, v in self.videos.items() if k not in names},
            notes=notes,
            excluded=self.excluded + tuple(Exclusion(i, reason) for i in gone),
        )

    def without_degenerate(self) -> AnnotationSet:
        """Leave out instances whose end is not after their start; ``excluded`` lists them."""
        dropped = [(k, s) for k, v in self.videos.items() for s in v.degenerate]
        return replace(
            self,
            videos={k: replace(v, degenerate=()) for k, v in self.videos.items()},
            excluded=self.excluded + tuple(Exclusion(k, "no length", s) for k, s in dropped),
        )


def match_subset(name: str, subsets: Iterable[str]) -> list[str]:
    """Those of ``subsets`` that ``name`` means: exactly, else without case, else by alias."""
    subsets = list(subsets)
    if name in subsets:
        return [name]
    folded = name.strip().casefold()
    if same := [s for s in subsets if s.strip().casefold() == folded]:
        return same
    for canonical, aliases in _SUBSET_ALIASES.items():
        if folded in aliases or folded == canonical:
            return [s for s in subsets if s.strip().casefold() in aliases]
    return []


def subset_names(name: str) -> tuple[str, ...]:
    """All names that files have for a subset; an unknown one has its own alone."""
    folded = name.strip().casefold()
    for canonical, aliases in _SUBSET_ALIASES.items():
        if folded in (canonical, *aliases):
            return tuple(dict.fromkeys((canonical, *aliases)))
    return (folded,)


def label_order(videos: Iterable[VideoAnnotation]) -> tuple[str, ...]:
    """Labels sorted by name: the order does not depend on that of the file."""
    return tuple(sorted({s.label for v in videos for s in v.counted}))


def drop_duplicates(segments: Sequence[Segment]) -> tuple[list[Segment], list[Segment]]:
    """Segments without those that repeat an earlier one of the same label within 1e-3 s; and the repeats.

    Greedy in the order given, as ActionFormer and OpenTAD do it.
    """
    kept: list[Segment] = []
    dropped: list[Segment] = []
    near: dict[tuple[str, int], list[Segment]] = {}  # by label and start, in steps of the tolerance
    for s in segments:
        step = math.floor(s.start_s / DUPLICATE_TOLERANCE_S)
        around = (o for k in (step - 1, step, step + 1) for o in near.get((s.label, k), ()))
        if any(_same(s, o) for o in around):
            dropped.append(s)
        else:
            near.setdefault((s.label, step), []).append(s)
            kept.append(s)
    return kept, dropped


def _same(a: Segment, b: Segment) -> bool:
    return (
        abs(a.start_s - b.start_s) <= DUPLICATE_TOLERANCE_S
        and abs(a.end_s - b.end_s) <= DUPLICATE_TOLERANCE_S
    )
