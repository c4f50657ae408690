"""Configuration files and `--set` texts: bombs, tags, loops, and every key with values of other kinds."""

from __future__ import annotations

import itertools
import math
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st
from pydantic import BaseModel

from benchmarks.fuzz.attacks import VALUES, damage, several
from benchmarks.fuzz.tally import Attack, Target
from pipelines.config import RunConfig, load_config, nested, portable_text
from pipelines.presets import list_presets

_LAUGHS = "a: &a [x, x]\n" + "".join(
    f"{n}: &{n} [{', '.join(['*' + p] * 9)}]\n" for p, n in itertools.pairwise("abcdefghi")
)
_MERGES = "a: &a {x: 1, y: 2}\n" + "".join(
    f"{n}: &{n} {{<<: [{', '.join(['*' + p] * 9)}]}}\n" for p, n in itertools.pairwise("abcdefghi")
)
_TEXTS = [
    _LAUGHS, _MERGES, "train: &a\n  epochs: *a\n", "&a [*a]", "a: &a {b: *a}",
    "!!python/object/apply:os.system [ls]", "train: !!python/name:os.system\n", "description: !!binary x\n",
    "train: {epochs: !!int x}\n", "a: !!float ''\n", "train: {epochs: !!int ''}\n",
    "train: {seed: 2024-99-99}\n", "train: {seed: 2024-01-01}\n", "train: !!set {a, b}\n",
    "train:\n  epochs: 1\n  epochs: 2\n", "train: {epochs: 1}\ntrain: {seed: 2}\n", "train:\n\tepochs: 1\n",
    "? [a]\n: b\n", "1: 2\n", "null: 2\n", "true: 1\n", "[" * 5000, "{a: " * 3000, "- " * 3000 + "a",
    "a:\n" + "  a:\n" * 200, "---\na: 1\n---\nb: 2\n", "\ufefftrain: {epochs: 2}\n",
    "train: {epochs: " + "9" * 5000 + "}\n", "train: {lr: 1e-3}\n", "%YAML 9.9\n---\na: 1\n",
    "extends: longtal.yaml\n", "extends: [longtal.yaml, loop.yaml]\n", "extends: loop.yaml\n",
    "extends: {a: 1}\n", "extends: 5\n", "extends: ../work/longtal.yaml\n", "extends: [[a]]\n",
    "extends: nothing\n", "extends: 'a\\0b'\n", "extends: " + "x" * 5000 + "\n", "extends: '..'\n",
    "extends: data\n", "optim: {lr: .nan}\n", "optim: {lr: .inf}\n", "data: {fps: .nan}\n",
    "localizer: {decoder: {name: nothing}}\n", "localizer: {decoder: []}\n",
    "localizer: {decoder: {levels: 1}}\n", "'train\\u001b[31m': 1\n", "a: *b\n", "a: &\n", "'", "\x00",
    "a: \x07\n", "",
]  # fmt: skip


def make(folder: Path) -> None:
    config = load_config(next(iter(list_presets())))
    (folder / "longtal.yaml").write_text(portable_text(config), encoding="utf-8")
    (folder / "loop.yaml").write_text("extends: longtal.yaml\n")


def attempt(folder: Path) -> None:
    load_config(folder / "longtal.yaml")


def _texts() -> st.SearchStrategy[Attack]:
    def make_attack(choice: tuple[str, str]) -> Attack:
        text, encoding = choice

        def do(folder: Path) -> None:
            (folder / "longtal.yaml").write_bytes(text.encode(encoding, "surrogatepass"))

        return Attack(f"{encoding} {text!r:.200}", do)

    encodings = st.sampled_from(["utf-8", "utf-8", "utf-8", "utf-16", "utf-8-sig", "latin1"])
    return st.tuples(st.sampled_from(_TEXTS), encodings).filter(_fits).map(make_attack)


def _fits(choice: tuple[str, str]) -> bool:
    try:
        choice[0].encode(choice[1], "surrogatepass")
    except UnicodeEncodeError:
        return False
    return True


# -- every key with wrong values --


def leaves(model: type[BaseModel] = RunConfig, place: str = "") -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """(dotted key, its type, what else its section needs) of every key of the tree, unions' members each."""
    for name, item in model.model_fields.items():
        key = f"{place}{name}"
        sections = list(_models(item.annotation))
        if not sections:
            yield key, item.annotation, {}
        for section in sections:
            tag = section.model_fields["name"].default if len(sections) > 1 else None
            for inner, annotation, needs in leaves(section, f"{key}."):
                yield inner, annotation, needs | ({f"{key}.name": tag} if tag else {})


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in typing.get_args(annotation):
        yield from _models(part)


def wrong_values(annotation: Any) -> list[Any]:
    """Values that a key of this type cannot have; a number as a text, say, or a truth value as a number."""
    kinds, text = set(_kinds(annotation)), str(annotation)
    if Any in kinds:
        return [5, "text", True, [1]]
    wrong: list[Any] = (
        [{"a": {"b": 1}}, [{"a": 1}], [[[]]]] if "dict" not in text else [5, "text", [1], True, {"a": [1]}]
    )
    if "dict" in text:
        return wrong
    if kinds & {int, float}:
        wrong += [math.nan, math.inf, -math.inf, 10**400, 1 << 70, "nonsense"]
        wrong += ["5"] if str not in kinds else []
        wrong += [True] if bool not in kinds else []
        wrong += [0.5] if float not in kinds else []
    elif bool in kinds:
        wrong += [1, 0, 0.5, "yes", "true", "nonsense"]
    else:
        wrong += (
            [5, 0.5, True, math.nan, [], ["a"]] if "tuple" not in text and "list" not in text else [5, True]
        )
    if typing.get_origin(annotation) is typing.Literal:
        wrong += ["", "nonsense"]
    return wrong + ([] if type(None) in kinds else [None])


def _kinds(annotation: Any) -> Iterator[Any]:
    parts = typing.get_args(annotation)
    if typing.get_origin(annotation) is typing.Literal:
        yield from map(type, parts)
    elif parts:
        for part in parts:
            yield from _kinds(part)
    else:
        yield annotation


def _assigned(text: str) -> Attack:
    """`--set` on the sound file: kept beside it, for `attempt_sets`."""

    def do(folder: Path) -> None:
        (folder / "sets").write_text(text, encoding="utf-8", errors="surrogatepass")

    return Attack(f"--set {text!r:.200}", do)


def attempt_sets(folder: Path) -> None:
    file = folder / "sets"
    sets = [file.read_text(encoding="utf-8", errors="surrogatepass")] if file.exists() else []
    load_config(folder / "longtal.yaml", sets)


def _keys_and_values() -> st.SearchStrategy[Attack]:
    """Any key of the schema with any value, through the file."""
    keys = [key for key, _, _ in leaves()]

    def make_attack(choice: tuple[str, Any]) -> Attack:
        def do(folder: Path) -> None:
            path = folder / "longtal.yaml"
            text = path.read_text()
            tree = nested({choice[0]: choice[1]}, yaml.safe_load(text) if text.strip() else {})
            path.write_text(yaml.safe_dump(tree), errors="surrogatepass")

        return Attack(f"{choice[0]} = {choice[1]!r:.100}", do)

    return st.tuples(st.sampled_from(keys), VALUES.filter(_is_yaml)).map(make_attack)


def _is_yaml(value: Any) -> bool:
    return not (isinstance(value, str) and re.search("[\ud800-\udfff]", value)) and value != 10**400


_KEYS = [*(key for key, _, _ in leaves()), "", "a", "train", ".", "train.", ".train", "train..epochs", "\0"]
_SET_VALUES = [
    "5", "true", "nan", ".nan", "1e999", "1e-3", "[1", "{a: 1}", "&a [*a]", "!!python/object:os.x {}", "",
    "'",
    "a: b: c", "9" * 5000, "[" * 3000, "x" * 5000, "\x1b[31m", "\n", "\ud800", "2024-99-99",
]  # fmt: skip
_sets = st.builds(
    "{}{}{}".format,
    st.sampled_from(_KEYS),
    st.sampled_from(["=", "=", "=", "==", "", ":", " = "]),
    st.sampled_from(_SET_VALUES),
)

TARGETS = [
    Target("configuration: files", make, st.one_of(_texts(), damage("longtal.yaml")), attempt),
    Target("configuration: keys", make, several(_keys_and_values()), attempt),
    Target("configuration: --set", make, _sets.map(_assigned), attempt_sets),
]
