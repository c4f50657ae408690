"""Base of every configuration model, and the keys that were renamed or became constants since a release."""

from __future__ import annotations

import copy
import functools
import logging
import re
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

from tal.errors import ConfigError

log = logging.getLogger("longtal.config")

# Dotted key of an older release -> its name now. A section's name renames all keys in it.
RENAMED_KEYS: Mapping[str, str] = {"memory.settle_epochs": "memory.finetune_localizer_epochs"}

_PYRAMIDS = ("actionformer", "temporalmaxer", "tridet", "cltdr_gmg")
# Dotted key of an older release -> its default, which is a constant now. `decoder(afsd)` is the section
# `decoder` where its `name` is afsd.
REMOVED_KEYS: Mapping[str, object] = {
    "memory.queue": 4,
    **{f"localizer.decoder({name}).focal_alpha": 0.25 for name in (*_PYRAMIDS, "daotad")},
    **{f"localizer.decoder({name}).focal_gamma": 2.0 for name in (*_PYRAMIDS, "daotad", "afsd")},
    **{f"localizer.decoder({name}).normaliser_momentum": 0.9 for name in _PYRAMIDS},
    "localizer.decoder(cltdr_gmg).shift_kernel": 7,
    "localizer.decoder(cltdr_gmg).refined_weight": 0.7,
    "localizer.decoder(daotad).max_log_scale": 1.0,
    "localizer.decoder(afsd).focal_alpha": 0.75,
    "localizer.decoder(afsd).tower_layers": 2,
    "localizer.decoder(afsd).max_distance": 4.0,
    "localizer.decoder(afsd).coarse_start_end_weight": 0.1,
    "localizer.decoder(afsd).classification_weight": 1.0,
    "localizer.decoder(afsd).proposal_iou": 0.6,
    "localizer.decoder(afsd).video_weight": 1.0,
}


# Numbers beyond are slips or tricks; whole ones end here in torch and numpy, too.
_LARGEST = (1 << 63) - 1
_NUMBERS = frozenset({int, float, bool, type(None)})
_OTHER_KIND = "other_kind"


class Config(BaseModel):
    """Configuration values; children declare fields with types, defaults and a docstring or description.

    They are frozen, and an unknown key is an error. So is a value of another kind than its key, which
    pydantic would turn into one: ``true`` is not the number 1, and ``"5"`` is a text. Numbers are finite.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _holds_values_of_their_kinds(cls, values: Any) -> Any:
        # Not validators of fields: pydantic lets the one that tells the members of a union apart have none.
        for name in cls.model_fields.keys() & values.keys() if isinstance(values, dict) else ():
            if reason := _other_kind(values[name], _kinds(cls, name)):
                raise PydanticCustomError(_OTHER_KIND, "{reason}", {"reason": reason, "key": name})
        return values


def error_place(item: Mapping[str, Any]) -> list[str]:
    """Where in the tree an error of pydantic's `ValidationError.errors` is, key by key."""
    place = [str(part) for part in item["loc"]]
    return [*place, item["ctx"]["key"]] if item["type"] == _OTHER_KIND else place


def error_input(item: Mapping[str, Any]) -> Any:
    """The value that such an error is about."""
    return item["input"][item["ctx"]["key"]] if item["type"] == _OTHER_KIND else item.get("input")


@functools.cache
def _kinds(model: type[Config], field: str) -> frozenset[Any]:
    """Types of the single values that a field takes, inside lists, mappings and unions too.

    Sections look after themselves: they are `Any` here.
    """

    def leaves(annotation: Any) -> Iterator[Any]:
        parts = typing.get_args(annotation)
        if typing.get_origin(annotation) is typing.Literal:
            yield from map(type, parts)
        elif parts:
            for part in parts:
                yield from leaves(part)
        elif annotation is not Ellipsis:
            section = isinstance(annotation, type) and issubclass(annotation, BaseModel)
            yield Any if section else annotation

    return frozenset(leaves(model.model_fields[field].annotation))


def _other_kind(value: Any, kinds: frozenset[Any]) -> str:
    """What is wrong with a value, or one inside of its lists and mappings, that is of none of these types."""
    if Any in kinds:
        return ""
    if isinstance(value, list | tuple):
        return next(filter(None, (_other_kind(item, kinds) for item in value)), "")
    if isinstance(value, Mapping):
        return _other_kind(list(value.values()), kinds)
    numbers = kinds & {int, float}
    if isinstance(value, bool):  # where a text is wanted, pydantic refuses it
        return "must be a number, not true or false" if numbers and bool not in kinds else ""
    if isinstance(value, int | float):
        if not numbers and bool in kinds:
            return "must be true or false"
        return "is too large a number" if abs(value) > _LARGEST else ""
    if isinstance(value, str) and kinds <= _NUMBERS:
        return f"must be {'a number' if numbers else 'true or false'}, not a text"
    return ""


def current_key(key: str, source: str, renamed: Mapping[str, str] = RENAMED_KEYS) -> str:
    """The name that a dotted key has now; the log says so where it had another.

    Parameters
    ----------
    source
        where the key stands, for the log.
    renamed
        names by dotted key, see `RENAMED_KEYS`.
    """
    for old, new in renamed.items():
        if key == old or key.startswith(f"{old}."):
            log.info("%s: `%s` is called `%s` now; the old name still works", source, old, new)
            return new + key.removeprefix(old)
    return key


def with_current_keys(
    tree: Mapping[str, Any], source: str, renamed: Mapping[str, str] = RENAMED_KEYS
) -> dict[str, Any]:
    """A copy of a configuration tree with today's names of its keys; one line in the log for each change.

    The keys of ``notes``, which are dotted keys themselves, are renamed too.

    Parameters
    ----------
    source
        what the tree was read from, for the log and the error.
    renamed
        names by dotted key, see `RENAMED_KEYS`.

    Raises
    ------
    ConfigError
        where a tree has a key under both names.
    """
    result = copy.deepcopy(dict(tree))
    for old, new in renamed.items():
        section, name = _place(result, old)
        if name not in section:
            continue
        new_section, new_name = _place(result, new, create=True)
        if new_name in new_section:
            raise ConfigError(f"{source}: `{old}` is an old name of `{new}`: give one of them, not both")
        current_key(old, source, renamed)  # says so
        new_section[new_name] = section.pop(name)
    notes = result.get("notes")
    if isinstance(notes, dict):
        result["notes"] = {renamed.get(key, key): text for key, text in notes.items()}
    return result


def without_removed_keys(
    tree: Mapping[str, Any], source: str, removed: Mapping[str, object] = REMOVED_KEYS
) -> dict[str, Any]:
    """A copy of a configuration tree without the keys that are constants now; the log names them.

    Parameters
    ----------
    source
        what the tree was read from, for the log and the error.
    removed
        constants by dotted key, see `REMOVED_KEYS`.

    Raises
    ------
    ConfigError
        where such a key has another value than the constant's.
    """
    result = copy.deepcopy(dict(tree))
    left_out = []
    for key, constant in removed.items():
        section, name = _place(result, key)
        if name not in section:
            continue
        value = section.pop(name)
        if value != constant:
            raise ConfigError(
                f"{source}: `{_plain(key)}` is not a key any more, its value is always {constant!r} "
                f"(given {value!r}): use the release of longtal that the file was made with, or leave it out"
            )
        left_out.append(_plain(key))
    if left_out:
        log.info("%s: left out, since they are constants now: %s", source, ", ".join(left_out))
    return result


def _place(tree: dict[str, Any], key: str, create: bool = False) -> tuple[dict[str, Any], str]:
    """The section that a dotted key stands in, and its name there; a section that is missing is empty."""
    *sections, last = key.split(".")
    for section in sections:
        name, _, wanted = section.rstrip(")").partition("(")
        child = tree.get(name)
        if create and not isinstance(child, dict):
            child = tree[name] = {}
        if not isinstance(child, dict) or (wanted and child.get("name") != wanted):
            return {}, last
        tree = child
    return tree, last


def _plain(key: str) -> str:
    """A key of `REMOVED_KEYS` as a user writes it."""
    return re.sub(r"\([^)]*\)", "", key)
