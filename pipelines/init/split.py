"""The split into training and validation videos: the annotations' own, or a new one, stratified by class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from tal.annotations import AnnotationSet
from tal.annotations.types import match_subset
from tal.errors import AnnotationError

VALIDATION_SHARE = 0.2


@dataclass(frozen=True)
class Split:
    """Which videos train and which validate.

    Attributes
    ----------
    annotations
        with the two subsets.
    train, validation
        the subsets' names; ``validation`` empty: nothing is held out.
    made
        whether the split is new; else it is the annotations' own.
    reason
        where it comes from, in words.
    """

    annotations: AnnotationSet
    train: str
    validation: str
    made: bool
    reason: str


def split(annotations: AnnotationSet, seed: int = 0, whole: Collection[str] | None = None) -> Split:
    """Keep a split that is there; else take a fifth of the videos, so that every class keeps its share.

    A split counts as such when both subsets have an annotated action.

    Parameters
    ----------
    whole
        videos of which every action is known, which alone are held out by a new split; None: all.

    Raises
    ------
    AnnotationError
        when there are fewer than two videos with an action.
    """
    acting = Counter(v.subset for v in annotations.videos.values() if v.segments)
    kept = _kept(list(acting))
    if kept is not None:
        train, validation = kept
        sizes = annotations.subsets
        return Split(
            annotations,
            train,
            validation,
            made=False,
            reason=f"the annotations' own: {sizes[train]} videos to train, {sizes[validation]} to validate",
        )
    pool = [video_id for video_id, video in annotations.videos.items() if video.segments]
    if len(pool) < 2:
        raise AnnotationError(
            f"{annotations.source}: only {len(pool)} video has an annotated action; training and validation "
            "need one each. Cut it into several files, or annotate another"
        )
    labels_of = {v: [s.label for s in annotations.videos[v].segments] for v in pool}
    may = [v for v in pool if whole is None or v in whole]
    chosen = stratify(labels_of, VALIDATION_SHARE, seed, may) if may else set()
    videos = {
        video_id: replace(video, subset="validation" if video_id in chosen else "training")
        for video_id, video in annotations.videos.items()
    }
    return Split(
        replace(annotations, videos=videos),
        "training",
        "validation" if chosen else "",
        made=True,
        reason=(
            f"made here, by video and class: {len(videos) - len(chosen)} videos to train, "
            f"{len(chosen)} to validate"
            if chosen
            else "no video with an action was looked at in full: none is held out, and nothing is measured"
        ),
    )


def _kept(subsets: list[str]) -> tuple[str, str] | None:
    """(training, validation) among subsets; THUMOS14 trains on `validation` and measures on `test`."""
    training = match_subset("training", subsets)
    validation = match_subset("validation", subsets)
    test = match_subset("test", subsets)
    if training and validation:
        return training[0], validation[0]
    if training and test:
        return training[0], test[0]
    if validation and test:
        return validation[0], test[0]
    return None


def stratify(
    labels_of: dict[str, list[str]], share: float, seed: int = 0, may: Collection[str] | None = None
) -> set[str]:
    """Videos to hold out: about ``share`` of each class's actions, at least one video, never all of a class.

    Of ``may`` alone, where it is given. Greedy, the rarest class first (iterative stratification, Sechidis et
    al., ECML 2011): each video goes where its rarest class is most short of its share.
    """
    rng = np.random.default_rng(seed)
    total = Counter(label for labels in labels_of.values() for label in labels)
    held: Counter[str] = Counter()
    order = [list(labels_of)[i] for i in rng.permutation(len(labels_of))]
    order = [video for video in order if may is None or video in may]
    order.sort(key=lambda video: min(total[label] for label in labels_of[video]))
    chosen: set[str] = set()
    left = Counter(total)
    limit = max(1, round(share * len(labels_of)))
    for video in order:
        counts = Counter(labels_of[video])
        rarest = min(counts, key=lambda label: (total[label], label))
        short = share * total[rarest] - held[rarest]
        fits = all(left[label] - n > 0 for label, n in counts.items())
        if len(chosen) < limit and fits and short > 0.5 * counts[rarest]:
            chosen.add(video)
            held.update(counts)
            left.subtract(counts)
    if not chosen:  # too few videos to keep every class in training
        chosen = {order[-1]}
    return chosen
