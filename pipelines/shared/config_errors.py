"""Errors of a configuration in words: the key, and what would fit."""

from __future__ import annotations

import difflib
import typing
from typing import Any

from pydantic import BaseModel, ValidationError

from tal.config import error_input, error_place


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """All errors on one line; an unknown key comes with the nearest key of ``model`` at its place."""
    lines = []
    for item in error.errors():
        location = error_place(item)
        where = ".".join(location)
        if item["type"] == "extra_forbidden":
            keys = _known_keys(model, location[:-1])
            near = difflib.get_close_matches(location[-1], keys, n=1, cutoff=0.4)
            hint = f"did you mean `{near[0]}`?" if near else f"known there: {', '.join(sorted(keys))}"
            lines.append(f"unknown key `{where}`; {hint}")
        else:
            message = str(item["msg"]).removeprefix("Value error, ")
            given = error_input(item)
            shown = f" (given {given!r:.80})" if isinstance(given, str | int | float | bool) else ""
            lines.append(f"`{where}`: {message}{shown}" if where else message)
    return "; ".join(lines)


def _known_keys(model: type[BaseModel], location: list[str]) -> list[str]:
    """Field names at a place of the tree; a union's place carries the tag of the member after its name."""
    members: list[type[BaseModel]] = [model]
    for part in location:
        fields = [m.model_fields[part].annotation for m in members if part in m.model_fields]
        if fields:
            members = [member for annotation in fields for member in _models_in(annotation)]
        else:  # the union's tag
            tagged = [
                m for m in members if "name" in m.model_fields and m.model_fields["name"].default == part
            ]
            members = tagged or members
    return sorted({name for member in members for name in member.model_fields})


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [member for part in typing.get_args(annotation) for member in _models_in(part)]
