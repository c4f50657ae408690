"""YAML as a configuration may be written by anyone: plain values, no bombs, no key twice."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from featstore.documents import why
from featstore.errors import LongtalError

# What a configuration is far from, aliases and merges counted as often as they are used.
_MOST_BYTES = 4 << 20
_MOST_VALUES = 100_000
_DEEPEST = 64


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, with numbers such as 1e-3, which YAML 1.1 takes for texts."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:  # before merge keys are filled in: those are meant to be overlaid
            name = (key.tag, str(key.value))
            if name in seen and isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key `{key.value:.60}` is there twice: leave one out", key.start_mark
                )
            seen.add(name)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+\Z"),
    list("-+.0123456789"),
)


def parse_yaml(text: str | bytes, source: str, error_type: type[LongtalError]) -> Any:
    """Plain values of a YAML document: mappings, lists, texts, numbers, dates; None where it is empty.

    Parameters
    ----------
    text
        the document; bytes are UTF-8.
    source
        where it was read, for messages.
    error_type
        what to raise.

    Raises
    ------
    LongtalError
        of ``error_type``: not YAML, a key twice in one mapping, tags that would make objects, or more values
        than a configuration has, or deeper ones (aliases make a few lines stand for billions of values).
    """
    if len(text) > _MOST_BYTES:
        raise error_type(f"{source}: {len(text) >> 20} MiB of YAML are not a configuration")
    wrong = f"{source} cannot be read as YAML"
    try:
        loader = _Loader(text.decode("utf-8") if isinstance(text, bytes) else text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _count(node, {}, 0)
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        said = ", ".join(part for part in (error.context, error.problem) if part)
        raise error_type(f"{wrong}: {said}{where}") from None
    except RecursionError:
        raise error_type(f"{wrong}: nested too deeply to be a configuration") from None
    except UnicodeDecodeError as error:
        raise error_type(f"{wrong}: not UTF-8 text (byte {error.start}): save it as UTF-8") from None
    # PyYAML trips over values that do not fit their tag: `!!int x`, 2024-99-99, thousands of digits.
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError) as error:
        raise error_type(f"{wrong}: {why(error)}") from None


def read_yaml(path: Path, error_type: type[LongtalError]) -> Any:
    """`parse_yaml` of a file."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise error_type(f"{path} cannot be read: {why(error)}") from error
    return parse_yaml(data, str(path), error_type)


def _count(node: yaml.Node, known: dict[int, int | None], depth: int) -> int:
    """Values below a node, each alias counted as what it stands for; YAMLError where they are too many."""
    if depth > _DEEPEST:
        raise RecursionError
    if not isinstance(node, yaml.CollectionNode):
        return 1
    if id(node) in known:
        count = known[id(node)]
        if count is None:
            raise yaml.YAMLError("an alias stands inside of what it names")
        return count
    known[id(node)] = None
    pairs = isinstance(node, yaml.MappingNode)
    children = [part for pair in node.value for part in pair] if pairs else node.value
    total = 1 + sum(_count(child, known, depth + 1) for child in children)
    if total > _MOST_VALUES:
        raise yaml.YAMLError(f"stands for more than {_MOST_VALUES} values")
    known[id(node)] = total
    return total
