"""A configuration as YAML that explains itself: each value with its reason above it."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from pipelines.config import nested
from pipelines.init.choices import Choice

_WIDTH = 100


def yaml_text(head: Sequence[str], choices: Mapping[str, Choice]) -> str:
    """Text of a configuration file.

    Parameters
    ----------
    head
        paragraphs of the comment at the top.
    choices
        values with reasons by dotted key; sections follow in the order of their first keys.
    """
    lines = [f"# {line}".rstrip() for paragraph in head for line in _wrapped(paragraph, _WIDTH)]
    lines += _lines(nested(choices), 0)
    return "\n".join(lines) + "\n"


def _lines(tree: Mapping[str, Any], depth: int) -> list[str]:
    indent = "  " * depth
    lines: list[str] = []
    for key, value in tree.items():
        if isinstance(value, Choice):
            if value.why:
                lines += [f"{indent}# {line}" for line in _wrapped(value.why, _WIDTH - len(indent))]
            lines.append(f"{indent}{key}: {_scalar(value.value)}")
        else:
            lines += ([""] if depth == 0 else []) + [f"{indent}{key}:", *_lines(value, depth + 1)]
    return lines


def _scalar(value: object) -> str:
    """A value on one line, quoted where YAML needs it."""
    return yaml.safe_dump([value], default_flow_style=True, allow_unicode=True, width=10**9).strip()[1:-1]


def _wrapped(text: str, width: int) -> list[str]:
    """Lines of a comment. Labels and paths may hold anything; what YAML takes for a line's end must not."""
    plain = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in " ".join(text.split()))
    return textwrap.wrap(plain, width, break_long_words=False, break_on_hyphens=False) if plain else [""]
