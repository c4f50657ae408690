"""Temporal action localization: annotations, video, encoders, memory, decoders, metrics.

``from tal import Detector`` is the short way to predictions; the class is loaded when asked for, because it
needs torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tal.inference.detector import Detector

__all__ = ["Detector"]


def __getattr__(name: str) -> Any:
    if name == "Detector":
        from tal.inference.detector import Detector

        return Detector
    raise AttributeError(f"module 'tal' has no attribute {name!r}")
