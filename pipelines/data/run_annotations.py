"""The annotations of a run: read, its two subsets found under the names that the file has for them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pipelines.config import AUTO, DataConfig
from pipelines.data.corrections import Corrected, lay_over
from pipelines.data.review_as_annotations import (
    read_review,
    reviewed_in_part,
    unknown_of_review,
    without_unseen,
)
from pipelines.shared.fetched import file_here
from tal.annotations import AnnotationSet, VideoAnnotation, read_annotations
from tal.annotations.corrections import Corrections, read_corrections
from tal.annotations.read import merge
from tal.annotations.types import Segment, drop_duplicates, match_subset, subset_names
from tal.errors import AnnotationError, ConfigError, EvaluationError
from tal.metrics.protocols import Protocol, get_protocol

# Formats in which a file is one subset, which its name says.
_FILE_A_SUBSET = ("epic100", "charades")
ONE_CLASS = "action"


@dataclass(frozen=True)
class RunAnnotations:
    """What a run learns from and is measured on.

    Attributes
    ----------
    whole
        all annotations.
    train_subset, val_subset
        as the file calls them; ``val_subset`` empty: no validation.
    notes
        what a user should know of the choice.
    unknown
        id -> stretches in which nobody looked for a class.
    corrected
        ids of the corrected videos.
    """

    whole: AnnotationSet
    train_subset: str
    val_subset: str
    notes: tuple[str, ...] = ()
    unknown: Mapping[str, tuple[Segment, ...]] = field(default_factory=dict)
    corrected: frozenset[str] = frozenset()

    @property
    def train(self) -> AnnotationSet:
        return self.whole.subset(self.train_subset)

    @property
    def validation(self) -> AnnotationSet | None:
        return self.whole.subset(self.val_subset) if self.val_subset else None

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """Videos and segments of the subsets, as a model says them: {"training": {"videos": …, …}, …}."""
        parts = {"training": self.train, "validation": self.validation}
        return {
            name: {"videos": len(part.videos), "segments": sum(len(v.counted) for v in part.videos.values())}
            for name, part in parts.items()
            if part is not None
        }

    @property
    def fingerprint(self) -> str:
        """sha256 of what a run learns and is measured on: the videos of both subsets and their segments."""
        chosen = [v for v in self.whole.videos.values() if v.subset in (self.train_subset, self.val_subset)]
        content = [
            (v.id, v.subset == self.train_subset, sorted((s.start_s, s.end_s, s.label) for s in v.counted))
            for v in sorted(chosen, key=lambda v: v.id)
        ]
        for name in sorted(self.unknown):
            stretches = sorted((s.start_s, s.end_s, s.label) for s in self.unknown[name])
            content.append((f"unknown of {name}", True, stretches))
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def in_order_of(self, labels: Sequence[str]) -> RunAnnotations:
        """The same with these labels first, in their order: a review's file may tell them in another."""
        known = [label for label in labels if label in self.whole.labels]
        return replace(
            self, whole=replace(self.whole, labels=tuple(dict.fromkeys([*known, *self.whole.labels])))
        )

    def named(self, data: DataConfig) -> DataConfig:
        """A configuration that names the subsets as they are here."""
        return data.model_copy(update={"train_subset": self.train_subset, "val_subset": self.val_subset})


def read_run_annotations(data: DataConfig, one_class: bool = False) -> RunAnnotations:
    """Read the annotations of a run and find its subsets.

    Subsets that are ``auto`` are those of the data set's protocol, under any of the names that published
    files have for them. EPIC-KITCHENS and Charades come as a file a subset: the other one, beside it, is read
    as well.

    Parameters
    ----------
    one_class
        all labels are one (`ONE_CLASS`), learnt and measured as such.

    Raises
    ------
    ConfigError
        no annotations are named.
    AnnotationError
        they cannot be read.
    EvaluationError
        they have no such subset; names those that they have.
    """
    protocol = get_protocol(data.protocol)
    whole, notes, review = _read_files(data)
    train, validation = _subsets(whole, data, protocol)
    if AUTO in (data.train_subset, data.val_subset):
        notes.append(_said(whole, train, validation, protocol))
    unknown: Mapping[str, tuple[Segment, ...]] = unknown_of_review(whole, review) if review else {}
    corrected: frozenset[str] = frozenset()
    if review is not None and validation:
        notes += reviewed_in_part(whole.subset(validation), review)
    if data.corrections:
        laid = _with_corrections(whole, data, train, validation, review)
        _require_use(laid, data, validation)
        whole, unknown, corrected = laid.whole, laid.unknown, laid.corrected
        notes += laid.notes
    if one_class and len(whole.labels) > 1:
        notes.append(
            f"localizer.one_class without inference.video_scores: {len(whole.labels)} classes are learnt and "
            f"measured as one, {ONE_CLASS!r}; a classifier's file of scores would name them"
        )
        whole = as_one_class(whole)
        unknown = {k: tuple(replace(s, label=ONE_CLASS) for s in v) for k, v in unknown.items()}
    return RunAnnotations(whole, train, validation, tuple(notes), unknown, corrected)


def read_whole(data: DataConfig) -> tuple[AnnotationSet, list[str]]:
    """All annotations of a run and its corrections, whatever their subsets, and notes on the files.

    Raises
    ------
    ConfigError
        no annotations are named.
    AnnotationError
        they cannot be read.
    """
    whole, notes, review = _read_files(data)
    if not data.corrections:
        return whole, notes
    corrected = _with_corrections(whole, data, data.train_subset, data.val_subset, review)
    return corrected.whole, [*notes, *corrected.notes]


def _with_corrections(
    whole: AnnotationSet, data: DataConfig, train: str, validation: str, review: Corrections | None
) -> Corrected:
    named = (train, validation) if review is None else ()  # of a review's videos not every action is known
    labelled = {name for subset in named if subset for name in match_subset(subset, whole.subsets)}
    return lay_over(whole, read_corrections(data.corrections), train, labelled, review)


def _require_use(corrected: Corrected, data: DataConfig, validation: str) -> None:
    """The corrections say something, and leave something to measure on."""
    if not corrected.corrected:
        raise AnnotationError(
            f"{data.corrections} says nothing of any video that {data.annotations} does not say: judge "
            "detections in `longtal review`, or mark what you have looked at"
        )
    if validation and not match_subset(validation, corrected.whole.subsets):
        raise AnnotationError(
            f"{data.corrections}: every video of {validation!r} was corrected, and what is learnt from is "
            "not measured on: correct videos of no or another subset, or train without measuring, --set "
            "data.val_subset= (empty)"
        )


def _read_files(data: DataConfig) -> tuple[AnnotationSet, list[str], Corrections | None]:
    """The annotations as their files have them, and what a review's own file says beside."""
    if not data.annotations:
        raise ConfigError("data.annotations is empty: give the annotation file, --set data.annotations=FILE")
    path = file_here(data.annotations)
    whole = read_annotations(path, target=data.target)
    if whole.format in _FILE_A_SUBSET:
        return *_with_other_file(whole, path, data, get_protocol(data.protocol)), None
    review = read_review(path, whole)
    if review is None:
        return whole, [], None
    return *without_unseen(whole, review), review


def as_one_class(annotations: AnnotationSet) -> AnnotationSet:
    """Every label as `ONE_CLASS`; stretches that two labels shared are one."""

    def once(segments: Iterable[Segment]) -> tuple[Segment, ...]:
        return tuple(drop_duplicates([replace(s, label=ONE_CLASS) for s in segments])[0])

    def relabelled(video: VideoAnnotation) -> VideoAnnotation:
        return replace(video, segments=once(video.segments), degenerate=once(video.degenerate))

    videos = {name: relabelled(video) for name, video in annotations.videos.items()}
    return replace(annotations, videos=videos, labels=(ONE_CLASS,))


def _subsets(whole: AnnotationSet, data: DataConfig, protocol: Protocol) -> tuple[str, str]:
    """Names of the two subsets, those that are ``auto`` by the protocol."""
    given = [name for name in (data.train_subset, data.val_subset) if name not in (AUTO, "")]
    for name in given:
        whole.subset(name)  # raises, and names those that there are
    if AUTO not in (data.train_subset, data.val_subset):
        return data.train_subset, data.val_subset
    train, validation = data.train_subset, data.val_subset
    for pair in protocol.splits_in(whole.subsets):
        chosen = pair[0] if train == AUTO else train, pair[1] if validation == AUTO else validation
        if chosen[0] != chosen[1]:
            return chosen
    if validation == "":
        for name, _ in protocol.splits:
            if found := match_subset(name, whole.subsets):
                return found[0] if len(found) == 1 else name, ""
    raise EvaluationError(_no_split(whole, data, protocol))


def _no_split(whole: AnnotationSet, data: DataConfig, protocol: Protocol) -> str:
    wanted = " or ".join(f"{a!r} and {b!r}" for a, b in protocol.splits)
    listing = ", ".join(f"{name!r} ({n} videos)" for name, n in list(whole.subsets.items())[:20])
    if list(whole.subsets) == [""]:
        how = (
            "no video names a subset: `longtal annotations convert` gives them with --subset NAME or --info "
            "TABLE (ActivityNet's video_info_new.csv), and `longtal init` makes a split"
        )
    else:
        how = (
            "name them, --set data.train_subset=NAME --set data.val_subset=NAME (empty: no validation), or "
            "the data set's data.protocol"
        )
    return (
        f"{data.annotations}: no subsets to train and to measure on: protocol {protocol.name} has {wanted}, "
        f"the file has {listing or 'no video at all'}; {how}"
    )


def _said(whole: AnnotationSet, train: str, validation: str, protocol: Protocol) -> str:
    counts = {name: len(whole.subset(name)) for name in (train, validation) if name}
    measured = f"measures on {validation!r} ({counts[validation]})" if validation else "is not measured"
    return (
        f"{whole.source}: trains on {train!r} ({counts[train]} videos), {measured}: the subsets of protocol "
        f"{protocol.name}"
    )


def _with_other_file(
    whole: AnnotationSet, path: Path, data: DataConfig, protocol: Protocol
) -> tuple[AnnotationSet, list[str]]:
    """The annotations with those of the file beside that holds the other subset, where one is missing."""
    for pair in protocol.splits:
        train = pair[0] if data.train_subset == AUTO else data.train_subset
        measured = pair[1] if data.val_subset == AUTO else data.val_subset
        for has, lacks in ((train, measured), (measured, train)):
            if not lacks or not match_subset(has, whole.subsets) or match_subset(lacks, whole.subsets):
                continue
            for other in _namesakes(path, has, lacks):
                part = read_annotations(other, target=data.target, subset=lacks)
                if part.format == whole.format:
                    _require_class_lists(whole.format, path, data.target)
                    return merge([whole, part]), [f"{path.name} has {has!r} alone: {other.name} is read too"]
    return whole, []


def _require_class_lists(file_format: str, path: Path, target: str) -> None:
    """Without them a class is called by the commonest word in a file, which differs between files.

    Raises
    ------
    AnnotationError
        naming the list that is missing.
    """
    parts = ("verb", "noun") if target == "action" else (target,)
    for part in parts if file_format == "epic100" else ():
        listed = path.with_name(f"EPIC_100_{part}_classes.csv")
        if not listed.is_file():
            raise AnnotationError(
                f"{listed} is not there: put the class list of the data set's authors beside {path.name}, or "
                "the classes of its two files could have different names"
            )


def _namesakes(path: Path, has: str, lacks: str) -> Iterator[Path]:
    """Files beside that are called the same but for the subset."""
    for mine in sorted(subset_names(has), key=len, reverse=True):
        for theirs in sorted(subset_names(lacks), key=len, reverse=True):
            other = path.with_name(path.name.replace(mine, theirs))
            if mine in path.name and other != path and other.is_file():
                yield other
