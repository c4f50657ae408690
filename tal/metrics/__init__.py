"""Metrics of temporal action localization."""

from tal.metrics.evaluate import EvaluationResult, evaluate

__all__ = ["EvaluationResult", "evaluate"]
