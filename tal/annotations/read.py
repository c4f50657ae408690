"""Read and write annotations of any known format."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from tal.annotations.activitynet import read_activitynet, write_activitynet
from tal.annotations.types import AnnotationSet


def read_annotations(
    path: str | Path,
    file_format: str = "auto",
    keep_duplicates: bool = False,
    ignore_labels: Collection[str] = ("Ambiguous",),
) -> AnnotationSet:
    """Read annotations.

    Args:
        keep_duplicates: keep annotations that repeat another one of their video within 1e-3 s.
        ignore_labels: labels that are neither action nor background.

    Raises:
        AnnotationError: the file is missing or not what it should be.
    """
    return read_activitynet(Path(path), keep_duplicates, ignore_labels)


def write_annotations(annotations: AnnotationSet, path: str | Path) -> None:
    """Write ActivityNet JSON."""
    write_activitynet(annotations, Path(path))
