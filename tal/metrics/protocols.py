"""How each benchmark is measured, as data: subset, tIoU, which columns its papers print, and its buckets.

Sources: ActivityNet's evaluation kit; ActionFormer and OpenTAD (THUMOS14, EPIC-100, Ego4D, MultiTHUMOS,
Charades); DETAD (Alwassel et al. 2018) for the buckets of ActivityNet and THUMOS14.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from tal.annotations.types import match_subset
from tal.errors import EvaluationError

BUCKET_NAMES = ("XS", "S", "M", "L", "XL")


def tiou_range(start: float, stop: float, step: float) -> tuple[float, ...]:
    """Thresholds from start to stop, both included, rounded as they are printed (0.4, not 0.39…97)."""
    if not all(math.isfinite(x) for x in (start, stop, step)) or step <= 0 or stop < start:
        raise EvaluationError(f"tIoU {start}:{stop}:{step}: needs start <= stop and a step above 0")
    count = math.floor((stop - start) / step + 1e-6) + 1
    if count > 1000:
        raise EvaluationError(f"tIoU {start}:{stop}:{step}: {count} thresholds are too many")
    return tuple(round(start + i * step, 10) for i in range(count))


# The thresholds where no benchmark sets others; THUMOS14's.
DEFAULT_TIOU = tiou_range(0.3, 0.7, 0.1)


def parse_tiou(text: str) -> tuple[float, ...]:
    """``0.3:0.7:0.1`` (start:stop:step, both ends included), ``0.5`` or ``0.5,0.75,0.95``.

    Raises
    ------
    EvaluationError
        not of that form, or a threshold outside (0, 1].
    """
    try:
        if ":" in text:
            start, stop, step = (float(x) for x in text.split(":"))
            thresholds = tiou_range(start, stop, step)
        else:
            thresholds = tuple(float(x) for x in text.split(","))
    except ValueError as error:
        if isinstance(error, EvaluationError):
            raise
        raise EvaluationError(
            f"tIoU {text!r}: give start:stop:step (0.3:0.7:0.1) or a list (0.5,0.75,0.95)"
        ) from None
    if not all(0 < t <= 1 for t in thresholds):
        hint = " (the order is start:stop:step)" if ":" in text else ""
        raise EvaluationError(f"tIoU {text!r}: thresholds must lie above 0 and at most 1{hint}")
    return thresholds


@dataclass(frozen=True)
class Protocol:
    """The way one benchmark is measured.

    ``*_edges`` split instances into XS, S, M, L, XL for the diagnosis: upper ends, inclusive, of the first
    four (fewer edges, fewer buckets); None: quintiles of the ground truth at hand.
    """

    name: str
    title: str
    subset: str | None
    tiou: tuple[float, ...]
    printed: tuple[float, ...] = ()  # () = all
    blocked: tuple[str, ...] = ()
    length_edges: tuple[float, ...] | None = None  # seconds
    coverage_edges: tuple[float, ...] | None = (0.2, 0.4, 0.6, 0.8)  # of the video's duration
    instances_edges: tuple[int, ...] | None = (1, 4, 8)  # of one label in one video
    recall_at: tuple[int, ...] = ()  # k of Recall@kx
    proposals: bool = False  # average recall at 100 proposals per video
    note: str = ""
    # (to learn from, to measure on), by any of the names that files have for these subsets; most exact first
    splits: tuple[tuple[str, str], ...] = (("training", "validation"),)

    def splits_in(self, subsets: Iterable[str]) -> list[tuple[str, str]]:
        """Those of `splits` that a file with these subsets has, as the file calls them.

        Where a file has several subsets that one name stands for, it is that name.
        """
        subsets = list(subsets)
        pairs = []
        for pair in self.splits:
            found = [match_subset(name, subsets) for name in pair]
            if all(found) and found[0] != found[1]:
                train, measured = (f[0] if len(f) == 1 else n for f, n in zip(found, pair, strict=True))
                pairs.append((train, measured))
        return pairs

    @property
    def columns(self) -> tuple[float, ...]:
        """Thresholds that a table has columns for."""
        return self.printed or self.tiou


# THUMOS14 trains on its validation videos and tests on its test videos: the authors and ActionFormer call
# them that, OpenTAD "training" and "validation", other files "training" and "test".
_THUMOS_SPLITS = (("validation", "test"), ("training", "test"), ("training", "validation"))
_ACTIVITYNET_LENGTHS = (30.0, 60.0, 120.0, 180.0)
_ALL = (
    Protocol(
        "thumos14",
        "THUMOS14",
        "test",
        DEFAULT_TIOU,
        length_edges=(3.0, 6.0, 12.0, 18.0),
        coverage_edges=(0.02, 0.04, 0.06, 0.08),
        instances_edges=(1, 40, 80),
        note="ActionFormer counts 212 videos, 3358 instances; OpenTAD 211 videos: protocol thumos14-opentad",
        splits=_THUMOS_SPLITS,
    ),
    Protocol(
        "multithumos",
        "MultiTHUMOS",
        "test",
        tiou_range(0.1, 0.9, 0.1),
        printed=(0.2, 0.5, 0.7),
        length_edges=(3.0, 6.0, 12.0, 18.0),
        coverage_edges=(0.02, 0.04, 0.06, 0.08),
        instances_edges=(1, 40, 80),
        splits=_THUMOS_SPLITS,
    ),
    Protocol(
        "charades",
        "Charades",
        "test",
        tiou_range(0.1, 0.9, 0.1),
        printed=(0.2, 0.5, 0.7),
        length_edges=(3, 6, 12, 18),
        splits=(("training", "test"), ("training", "validation")),
    ),
    Protocol(
        "epic100",
        "EPIC-KITCHENS-100 (verb, noun or action)",
        "validation",
        tiou_range(0.1, 0.5, 0.1),
        length_edges=(1.0, 2.0, 4.0, 8.0),
        coverage_edges=(0.002, 0.005, 0.01, 0.02),
    ),
    Protocol(
        "activitynet",
        "ActivityNet-1.3",
        "validation",
        tiou_range(0.5, 0.95, 0.05),
        printed=(0.5, 0.75, 0.95),
        length_edges=_ACTIVITYNET_LENGTHS,
        proposals=True,
        note="papers count 4,728 validation videos: give the kit's blocked.json with --blocked",
    ),
    Protocol(
        "hacs",
        "HACS Segments",
        "validation",
        tiou_range(0.5, 0.95, 0.05),
        printed=(0.5, 0.75, 0.95),
        length_edges=_ACTIVITYNET_LENGTHS,
        proposals=True,
    ),
    Protocol(
        "fineaction", "FineAction", "validation", tiou_range(0.5, 0.95, 0.05), printed=(0.5, 0.75, 0.95)
    ),
    Protocol("ego4d", "Ego4D moment queries", "validation", tiou_range(0.1, 0.5, 0.1), recall_at=(1, 5)),
    Protocol("generic", "generic", None, DEFAULT_TIOU, recall_at=(1, 5), proposals=True),
)
PROTOCOLS: dict[str, Protocol] = {p.name: p for p in _ALL}
PROTOCOLS["thumos14-opentad"] = replace(
    PROTOCOLS["thumos14"],
    name="thumos14-opentad",
    title="THUMOS14 (OpenTAD's 211 videos)",
    blocked=("video_test_0000270", "video_test_0001292"),
    note="",
)


def get_protocol(name: str) -> Protocol:
    """The protocol of a name; EvaluationError, listing all, when there is none."""
    if name not in PROTOCOLS:
        raise EvaluationError(f"no protocol {name!r}; there are {', '.join(sorted(PROTOCOLS))}")
    return PROTOCOLS[name]
