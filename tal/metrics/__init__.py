"""Metrics of temporal action localization."""

from tal.metrics.bootstrap import Comparison, paired_bootstrap
from tal.metrics.evaluate import Evaluation, EvaluationResult, evaluate
from tal.metrics.operating import calibrate
from tal.metrics.protocols import DEFAULT_TIOU, PROTOCOLS, Protocol, get_protocol, parse_tiou, tiou_range

__all__ = [
    "DEFAULT_TIOU",
    "PROTOCOLS",
    "Comparison",
    "Evaluation",
    "EvaluationResult",
    "Protocol",
    "calibrate",
    "evaluate",
    "get_protocol",
    "paired_bootstrap",
    "parse_tiou",
    "tiou_range",
]
