"""Whether there is something to learn, and something to measure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from pipelines.data.run_annotations import RunAnnotations
from pipelines.train.data import RunData, shortened
from pipelines.train.findings import Findings
from tal.annotations import AnnotationSet
from tal.errors import AnnotationError, EvaluationError

_OR_NONE = (
    "name another subset, --set data.val_subset=NAME, or none, --set data.val_subset= (empty), by which the "
    "last weights become the model"
)


def check_actions(annotated: RunAnnotations, findings: Findings, begun: bool = False) -> None:
    """Both subsets have actions, and of the same classes.

    ``begun``: the run goes on; that nothing can be measured is a warning then, since its weights are worth
    a model all the same.
    """
    source = annotated.whole.source
    train, validation = annotated.train, annotated.validation
    learnt = _counts(train)
    if not learnt:
        with findings.collected():
            raise AnnotationError(
                f"{source}: nothing to learn: subset {annotated.train_subset!r} has no labelled action "
                f"in {len(train)} videos; name another, --set data.train_subset=NAME"
            )
    if validation is None:
        return
    where = f"{source}: subset {annotated.val_subset!r}"
    measured = _counts(validation)
    with findings.collected(only_warn=begun):
        if not measured:
            raise EvaluationError(
                f"{where} has no action in any of its videos ({len(validation)}): nothing can be measured; "
                f"{_OR_NONE}"
            )
        if learnt and not learnt.keys() & measured.keys():
            raise EvaluationError(
                f"{where} has no action of a class that is learnt: it has {_shown(measured)}, training has "
                f"{_shown(learnt)}; {_OR_NONE}"
            )
    if annotated.train_subset == annotated.val_subset:
        findings.warn(f"{where} is learnt and measured on: the mAP says nothing of other videos")
    elif learnt and (strangers := measured.keys() - learnt.keys()):
        count = sum(measured[label] for label in strangers)
        findings.warn(
            f"{where} has {count} actions of {len(strangers)} classes that training has none of "
            f"({shortened(sorted(strangers))}): nothing can find them, and the mAP counts them"
        )


def check_pairs(data: RunData, findings: Findings, begun: bool = False) -> None:
    """Of the validation videos that are there, one or more has an action."""
    if data.ground_truth is None or not data.validation or not _counts(data.ground_truth):
        return
    with findings.collected(only_warn=begun):
        if not any(len(video.segments) for video in data.validation):
            raise EvaluationError(
                f"{data.ground_truth.source}: none of the {len(data.validation)} validation videos that are "
                f"there has an action; {_OR_NONE}"
            )


def _counts(annotations: AnnotationSet) -> Counter[str]:
    """Actions by class."""
    return Counter(s.label for video in annotations.videos.values() for s in video.segments)


def _shown(labels: Iterable[str]) -> str:
    return shortened([repr(label) for label in sorted(labels)])
