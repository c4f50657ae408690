"""Model folders of which any file may be anything: loaded, and used on a store's rows."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from safetensors.torch import load_file, save_file

from benchmarks.fuzz.attacks import NAMES, VALUES, change_json, cut, damage, displace, pickle_bomb, several
from benchmarks.fuzz.tally import Attack, Target
from featstore import FeatureSpec, FeatureStore
from pipelines.config import nested, parse_config, portable_text
from tal.inference.detector import Detector
from tal.inference.model_folder import write_model
from tal.localizer import Localizer

_MODEL, _CHANNELS, _LABELS = "model", 4, ("jump", "run")
_SPEC = FeatureSpec(
    "test", "none", channels=_CHANNELS, clip_frames=4, frame_stride=4, dtype="float32", fps=8.0
)
_TREE: dict[str, Any] = {
    "data": {"fps": 8.0},
    "window": {"num_rows": 32},
    "memory": {"ratio": 0.0},
    "localizer": {
        "decoder": {
            "name": "actionformer",
            "embed_dim": 8,
            "head_dim": 8,
            "levels": 2,
            "heads": 2,
            "window": 5,
        }
    },
}


def make(folder: Path) -> None:
    torch.manual_seed(0)
    config = parse_config(_TREE)
    localizer = Localizer(config.localizer, _CHANNELS, len(_LABELS), config.window.num_rows)
    state = {f"localizer.{name}": value for name, value in localizer.state_dict().items()}
    facts = {"features": _SPEC.to_dict(), "step": 3}
    write_model(folder / _MODEL, state, portable_text(config), _LABELS, {"jump": 0.25, "run": 0.5}, facts)
    with FeatureStore.create(folder / "s.zarr", _SPEC, chunk_bytes=4096) as store:
        store.add_video("v", num_rows=40, fps=8.0, duration_s=20.0)
        store.write("v", 0, np.random.default_rng(0).normal(size=(40, _CHANNELS)), 0)
        store.complete("v")
        store.commit()


def attempt(folder: Path) -> None:
    detector = Detector.load(folder / _MODEL, device="cpu")
    with FeatureStore.open(folder / "s.zarr") as store:
        detections = detector.predict_store(store, "v")
    assert np.isfinite(detections[["start_s", "end_s", "score"]].to_numpy()).all()
    detector.confident(detections)
    detector.folder.fingerprint()


def _weights(change: Callable[[dict[str, torch.Tensor]], object], told: str) -> Attack:
    def do(folder: Path) -> None:
        path = folder / _MODEL / "model.safetensors"
        tensors = load_file(path)
        change(tensors)
        save_file({name: value.contiguous() for name, value in tensors.items()}, path)

    return Attack(f"weights: {told}", do)


def _first(tensors: dict[str, torch.Tensor], value: Any) -> None:
    tensors[next(iter(tensors))] = value


def _without_one(tensors: dict[str, torch.Tensor]) -> None:
    del tensors[next(iter(tensors))]


def _of_nan(tensors: dict[str, torch.Tensor]) -> None:
    for name, value in tensors.items():
        tensors[name] = torch.full_like(value, float("nan")) if value.is_floating_point() else value


_TENSORS = [
    _weights(_without_one, "one missing"),
    _weights(dict.clear, "none"),
    _weights(lambda t: t.update({"localizer.more": torch.zeros(3)}), "one more"),
    _weights(lambda t: t.update({n: torch.zeros(2) for n in ("../x", "a\nb", "\x1b[31m")}), "hostile names"),
    _weights(lambda t: _first(t, torch.zeros(1, 1, 1)), "another shape"),
    _weights(lambda t: _first(t, torch.zeros(0)), "an empty tensor"),
    _weights(lambda t: _first(t, next(iter(t.values())).to(torch.int64)), "whole numbers"),
    _weights(lambda t: _first(t, next(iter(t.values())).to(torch.float64)), "doubles"),
    _weights(_of_nan, "NaN"),
]


def _pickles() -> SearchStrategy[Attack]:
    def make_attack(name: str) -> Attack:
        def do(folder: Path) -> None:
            (folder / _MODEL / name).write_bytes(pickle_bomb(folder.parent / "ran"))

        return Attack(f"pickle as {name}", do)

    return st.sampled_from(["model.safetensors", "trunk.safetensors", "labels.json", "model.pt"]).map(
        make_attack
    )


def _header() -> SearchStrategy[Attack]:
    """The length of the safetensors header, which stands in its first eight bytes."""

    def make_attack(length: int) -> Attack:
        def do(folder: Path) -> None:
            with (folder / _MODEL / "model.safetensors").open("r+b") as file:
                file.write(length.to_bytes(8, "little"))

        return Attack(f"header of {length} bytes", do)

    return st.sampled_from([0, 1, 8, 1 << 20, 1 << 40, (1 << 63) - 1, (1 << 64) - 1]).map(make_attack)


def _offsets() -> SearchStrategy[Attack]:
    """Shapes and places in the safetensors header."""

    def make_attack(choice: tuple[str, Any]) -> Attack:
        key, value = choice

        def do(folder: Path) -> None:
            path = folder / _MODEL / "model.safetensors"
            data = path.read_bytes()
            length = int.from_bytes(data[:8], "little")
            header = json.loads(data[8 : 8 + length])
            header[next(name for name in header if name != "__metadata__")][key] = value
            text = json.dumps(header).encode("utf-8", "surrogatepass")
            path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])

        return Attack(f"header: {key} = {value!r:.80}", do)

    values = st.one_of(VALUES, st.sampled_from([[1 << 40, 1 << 40], [-1], [0, 1 << 62], [4, 0]]))
    return st.tuples(st.sampled_from(["shape", "data_offsets", "dtype", "more"]), values).map(make_attack)


def _configuration() -> SearchStrategy[Attack]:
    """Another value in config.yaml; paths that it names on purpose are left as they are."""
    paths = ("video_scores", "annotations", "videos", "store", "weights", "adapter_weights")

    @st.composite
    def make_attack(draw: Any) -> Attack:
        share, value = draw(st.floats(0, 1)), draw(VALUES.filter(_is_plain))

        def do(folder: Path) -> None:
            path = folder / _MODEL / "config.yaml"
            tree = yaml.safe_load(path.read_text())
            sections = {
                name: tree.get(name) for name in ("data", "window", "localizer", "inference", "encoder")
            }
            keys = [key for key in _dotted(sections) if key.rsplit(".", 1)[-1] not in paths]
            key = keys[int(share * (len(keys) - 1))]
            path.write_text(yaml.safe_dump(nested({key: value}, tree)))

        return Attack(f"config.yaml at {share:.3f} = {value!r:.80}", do)

    return make_attack()


def _dotted(tree: dict[str, Any], place: str = "") -> list[str]:
    keys = []
    for name, value in tree.items():
        keys.append(f"{place}{name}")
        keys += _dotted(value, f"{place}{name}.") if isinstance(value, dict) else []
    return keys


def _is_plain(value: Any) -> bool:
    return not (isinstance(value, str) and "\ud800" in value) and value != 10**400


def _of_another_model() -> SearchStrategy[Attack]:
    """Files of a model of other classes and sizes."""

    def make_attack(name: str) -> Attack:
        def do(folder: Path) -> None:
            decoder = {**_TREE["localizer"]["decoder"], "embed_dim": 16}
            config = parse_config({**_TREE, "localizer": {"decoder": decoder}})
            state = Localizer(config.localizer, 5, 3, 32).state_dict()
            other = folder / "other"
            facts = {"features": {**_SPEC.to_dict(), "channels": 5}}
            named = {f"localizer.{key}": value for key, value in state.items()}
            write_model(other, named, portable_text(config), ("a", "b", "c"), {}, facts)
            shutil.copy(other / name, folder / _MODEL / name)

        return Attack(f"{name} of another model", do)

    files = ["config.yaml", "model.safetensors", "labels.json", "thresholds.json", "provenance.json"]
    return st.sampled_from(files).map(make_attack)


_LABEL_LISTS = [
    ["a", "a"],
    [],
    ["a"],
    ["a", "b", "c"],
    *([name, "b"] for name in NAMES),
    {"a": 1},
    "a",
    None,
    [[]],
]


def _labels() -> SearchStrategy[Attack]:
    def make_attack(labels: Any) -> Attack:
        def do(folder: Path) -> None:
            text = json.dumps(labels).encode("utf-8", "surrogatepass")
            (folder / _MODEL / "labels.json").write_bytes(text)

        return Attack(f"labels {labels!r:.80}", do)

    return st.sampled_from(_LABEL_LISTS).map(make_attack)


def _in_model(attack: Callable[[str], SearchStrategy[Attack]], *names: str) -> SearchStrategy[Attack]:
    return st.sampled_from([f"{_MODEL}/{name}" for name in names]).flatmap(attack)


_FILES = ("config.yaml", "model.safetensors", "labels.json", "thresholds.json", "provenance.json")
TARGETS = [
    Target(
        "model: texts",
        make,
        several(
            st.one_of(
                _configuration(),
                _labels(),
                _in_model(change_json, "thresholds.json", "provenance.json"),
                _in_model(damage, "config.yaml", "labels.json", "thresholds.json", "provenance.json"),
            )
        ),
        attempt,
    ),
    Target(
        "model: weights",
        make,
        st.one_of(
            st.sampled_from(_TENSORS),
            _header(),
            _offsets(),
            _pickles(),
            _in_model(damage, "model.safetensors"),
        ),
        attempt,
    ),
    Target(
        "model: files",
        make,
        several(
            st.one_of(
                displace([f"{_MODEL}/{name}" for name in _FILES]),
                _in_model(cut, *_FILES),
                _of_another_model(),
            )
        ),
        attempt,
    ),
]
