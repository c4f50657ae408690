"""docs/api.md as the code has it: names, signatures and first sentences of what users may import.

``python -m tests.public_api`` writes the page anew.
"""

import importlib
import inspect
import re
import typing
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "api.md"
PACKAGES = {
    "tal": "A trained model.",
    "featstore": "The long memory: feature stores, and their travels. Needs no torch.",
    "tal.annotations": "Annotations and predictions of all formats.",
    "tal.metrics": "Evaluation.",
    "tal.plot": "Pictures.",
    "tal.video": "Videos, frame by frame.",
    "tal.encoders": "Networks that turn clips into rows.",
    "tal.decoders": "Networks that find segments in rows.",
    "tal.localizer": "Decoder, and what stands before it.",
    "tal.losses": "Losses of classes and of edges.",
    "tal.suppression": "Detections that mean the same.",
    "tal.errors": "What users can mend; each is also a child of the builtin error that fits.",
}
HEAD = """# The public API

What may be imported, package by package: names, arguments with their defaults, the first sentence of each
docstring; `help(NAME)` has the rest. `…` is a default that is more than a number, a word or nothing. A change
of these names is told in the [changelog](../CHANGELOG.md). Everything else may change at any time, names with
a leading `_` above all. How to add an encoder, a decoder or a format is in [extending](extending.md).

The page is made from the code (`python -m tests.public_api`), and `tests/test_public_api.py` holds that both
are the same: the API does not change without this page.
"""
# classes that are not made by calling them, but by a function or a method that the page lists
MADE_ELSEWHERE = {"Detector", "FeatureStore", "VideoReader"}


def render():
    """The whole page."""
    parts = [HEAD]
    for package, about in PACKAGES.items():
        module = importlib.import_module(package)
        lines = [f"## `{package}`", "", about, ""]
        for name in sorted(module.__all__, key=str.lower):
            lines += described(name, getattr(module, name))
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def described(name, value):
    """Lines of one name, those of a class with its methods below."""
    if inspect.isclass(value) and issubclass(value, BaseException):
        bases = ", ".join(base.__name__ for base in value.__bases__)
        return [f"* `{name}({bases})`: {sentence(value)}"]
    if inspect.isclass(value):
        return [f"* class `{name}{constructor(value)}`: {sentence(value)}", *members(value)]
    if typing.get_origin(value) is not None:
        return [f"* `{name}`: a type"]
    if callable(value) and hasattr(value, "__name__"):
        return [f"* `{name}{arguments(value)}`: {sentence(value)}"]
    return [f"* `{name}`: a constant"]


def members(cls):
    """Methods and properties that our own classes give a class."""
    lines = []
    for name in sorted(dir(cls)):
        home = next((base for base in cls.__mro__ if name in vars(base)), object)
        if name.startswith("_") or not home.__module__.startswith(("tal.", "featstore.")):
            continue
        raw = inspect.getattr_static(cls, name)
        if isinstance(raw, property):
            lines.append(f"  * `.{name}`: {sentence(raw)}")
        elif isinstance(raw, classmethod | staticmethod):
            lines.append(f"  * `{cls.__name__}.{name}{arguments(getattr(cls, name))}`: {sentence(raw)}")
        elif inspect.isfunction(raw):
            lines.append(f"  * `.{name}{arguments(raw, bound=True)}`: {sentence(raw)}")
    return lines


def constructor(cls):
    """Arguments of a class that is made by calling it; its fields, where it is made of fields."""
    if cls.__name__ in MADE_ELSEWHERE:
        return ""
    if hasattr(cls, "_fields"):
        return f"({', '.join(cls._fields)})"
    if hasattr(cls, "model_fields"):
        return f"({', '.join(cls.model_fields)})"
    if is_dataclass(cls):
        known = (f for f in fields(cls) if f.init)
        return f"({', '.join(f.name if _needed(f) else f'{f.name}=…' for f in known)})"
    return arguments(cls.__init__, bound=True) if "__init__" in vars(cls) else ""


def _needed(field):
    return field.default is MISSING and field.default_factory is MISSING


def arguments(function, bound=False):
    """The signature without annotations: names and defaults."""
    signature = inspect.signature(function)
    chosen = list(signature.parameters.values())[1 if bound else 0 :]
    bare = [p.replace(annotation=inspect.Parameter.empty, default=_shown(p.default)) for p in chosen]
    return str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty))


class _Other:
    def __repr__(self):
        return "…"


def _shown(default):
    """A default that reads the same everywhere."""
    parts = default if isinstance(default, tuple) else (default,)
    plain = all(part is None or isinstance(part, str | int | float) for part in parts)
    return default if default is inspect.Parameter.empty or plain else _Other()


def sentence(value):
    """The first sentence of a docstring, on one line."""
    text = inspect.getdoc(value) or ""
    first = " ".join(text.split("\n\n")[0].split())
    return re.split(r"(?<=[.;])\s", first)[0].rstrip(".;") or "no description"


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
