"""Class names for a converted checkpoint, which has none itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from featstore.documents import parse_json, why
from tal.annotations.labels import clean_label
from tal.errors import ConfigError


def read_labels(path: str | Path) -> list[str]:
    """Class names in order, from a JSON list or a text file with one name per line."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {why(error)}") from error
    if path.suffix != ".json":
        return [clean_label(line) for line in text.splitlines() if line.strip()]
    names = parse_json(text, str(path), ConfigError)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"{path} must hold a list of class names")
    return [clean_label(name) for name in names]


def class_names(labels: Sequence[str] | None, classes: int) -> list[str]:
    """The names given, or numbered ones.

    Raises
    ------
    ConfigError
        another number of names than of classes, or one twice.
    """
    if labels is None:
        return [f"class_{index:03d}" for index in range(classes)]
    if len(labels) != classes or len(set(labels)) != classes:
        raise ConfigError(
            f"{len(set(labels))} different class names for a model of {classes} classes; "
            "give each class one, in order"
        )
    return list(labels)
