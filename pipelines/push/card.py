"""The model card: what the model finds, what it learnt from, how well, and whose weights it stands on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from tal.encoders.registry import find_entry
from tal.inference.model_folder import ModelFolder
from tal.inference.model_source import TRUNK

_SHOWN_CLASSES = 200


@dataclass(frozen=True)
class CardFacts:
    """What a card says beyond the model folder.

    Attributes
    ----------
    repository
        ``owner/name``.
    dataset
        its name; empty: not said.
    license
        of the model, as the hub writes it (``apache-2.0``); empty: that of the encoder's weights where known.
    figures
        of the validation, as `Evaluation` gives them; None: the mean alone, where the model knows it.
    """

    repository: str
    dataset: str = ""
    license: str = ""
    figures: Mapping[str, Any] | None = None


def write_card(model: ModelFolder, facts: CardFacts) -> str:
    """README.md for the hub, with its front matter."""
    license_name = facts.license or weights_licence(model).lower()
    front = {
        "library_name": "longtal",
        **({"license": license_name} if license_name else {}),
        "tags": ["temporal-action-localization", "video", "longtal"],
        **({"datasets": [facts.dataset]} if _is_hub_name(facts.dataset) else {}),
    }
    parts = [
        f"# {facts.repository.partition('/')[2]}",
        "A model of longtal that finds actions in long, untrimmed videos: when each begins and "
        "ends, and which it is.",
        "## Use",
        _use(model, facts.repository),
        "## What it finds",
        _classes(model),
        "## What it learnt from",
        _data(model, facts.dataset),
        "## How well",
        _figures(model, facts.figures),
        "## Encoder and weights",
        _encoder(model),
    ]
    head = yaml.safe_dump(front, sort_keys=False, allow_unicode=True)
    return f"---\n{head}---\n\n" + "\n\n".join(parts) + "\n"


def weights_licence(model: ModelFolder) -> str:
    """Licence of the encoder's published weights; empty where it is not known, or none were used."""
    entry = _entry(model)
    return entry.licence if entry is not None else ""


def _entry(model: ModelFolder) -> Any:
    encoder = model.config.encoder
    started_with = (model.tree.get("encoder") or {}).get("weights")
    if encoder is None or not (started_with or model.trunk):
        return None
    # an hf:NAME that is not listed would be looked up at the hub
    return None if encoder.name.startswith("hf:") else find_entry(encoder.name)


def _use(model: ModelFolder, repository: str) -> str:
    if model.config.encoder is None:
        return (
            "It reads stored features, and sees no videos:\n\n"
            f"```\nlongtal predict --from-store features.zarr --model hf:{repository} --out found\n```"
        )
    return (
        "```python\nfrom tal import Detector\n\n"
        f'detector = Detector.from_pretrained("hf:{repository}")\n'
        'print(detector.confident(detector.predict("video.mp4")))\n```'
    )


def _classes(model: ModelFolder) -> str:
    shown = model.labels[:_SHOWN_CLASSES]
    lines = [f"{len(model.labels)} classes; thresholds are those of the best F1 in validation.", ""]
    lines += ["| class | threshold |", "|---|---|"]
    for label in shown:
        threshold = model.thresholds.get(label)
        lines.append(f"| {_cell(label)} | {'' if threshold is None else f'{threshold:.3f}'} |")
    if len(shown) < len(model.labels):
        lines.append(f"\nand {len(model.labels) - len(shown)} more, in `labels.json`.")
    return "\n".join(lines)


def _data(model: ModelFolder, dataset: str) -> str:
    lines = [f"Data set: {_cell(dataset)}." if dataset else "The data set is not named."]
    counts = model.provenance.get("data")
    if isinstance(counts, Mapping):
        for subset, numbers in counts.items():
            if isinstance(numbers, Mapping):
                videos, segments = numbers.get("videos"), numbers.get("segments")
                lines.append(f"* {_cell(str(subset))}: {videos} videos, {segments} segments")
    rate = model.config.fps
    size = f", {model.config.encoder.crop} pixels square" if model.config.encoder is not None else ""
    lines.append(f"\nVideos are seen at {rate:g} frames a second{size}.")
    return "\n".join(lines)


def _figures(model: ModelFolder, figures: Mapping[str, Any] | None) -> str:
    mean = model.provenance.get("validation_mAP")
    if not isinstance(mean, int | float):
        return "It was not validated in training."
    thresholds = (model.tree.get("train") or {}).get("val_tiou")
    protocol = ""
    if isinstance(thresholds, Sequence) and not isinstance(thresholds, str):
        protocol = f", the mean over tIoU {', '.join(f'{t:g}' for t in thresholds)}"
    lines = [f"On the validation videos after step {model.provenance.get('step')}: mAP {mean:.1%}{protocol}."]
    if figures is not None:
        lines += ["", "| tIoU | mAP |", "|---|---|"]
        lines += [f"| {t:g} | {v:.1%} |" for t, v in zip(figures["tiou"], figures["mAP"], strict=True)]
    if not model.config.encoder:
        lines.append("\nIt was trained on stored features.")
    lines.append(
        "\nThese videos chose the model's thresholds"
        + (" and its step" if (model.tree.get("train") or {}).get("select") == "best" else "")
        + ": on others it may do worse."
    )
    return "\n".join(lines)


def _encoder(model: ModelFolder) -> str:
    encoder, trunk, licence = model.config.encoder, model.trunk, weights_licence(model)
    if encoder is None:
        features = model.provenance.get("features") or {}
        named = features.get("encoder") or "an encoder that is not named"
        return f"None: rows of {features.get('channels')} channels of {_cell(str(named))} go in."
    lines = [f"{_cell(encoder.name)}, clips of {encoder.clip_frames} frames."]
    if trunk is not None:
        lines.append(
            f"The repository holds what was trained on top of published weights of {_cell(trunk.encoder)} "
            f"({_cell(trunk.weights.rpartition('/')[2])}, sha256 `{trunk.sha256}`), which are "
            + (
                "in `trunk.safetensors`."
                if (model.path / TRUNK).exists()
                else "not in it: bring them as `trunk.safetensors` into a copy of the model's folder."
            )
        )
    entry = _entry(model)
    if entry is not None:
        began = str((model.tree.get("encoder") or {}).get("weights"))
        if trunk is None and began not in ("pretrained", "pypi"):
            lines.append(f"It began with a file of weights, {_cell(began.rpartition('/')[2])}.")
        lines.append(f"Published weights of this network: {entry.weights}.")
    lines.append(
        f"Licence of the encoder's weights: {licence}."
        if licence
        else "The licence of the encoder's published weights, if any were used, is not known to longtal."
    )
    version = (model.provenance.get("versions") or {}).get("longtal")
    lines.append(f"Trained with longtal {version}." if version else "")
    return "\n".join(filter(None, lines))


def _cell(text: str) -> str:
    """Text that is no Markdown, in a table too."""
    clean = "".join(c if c.isprintable() else " " for c in text).replace("`", "'").replace("|", "\\|")
    return f"`{clean.strip()}`"


def _is_hub_name(name: str) -> bool:
    return name.count("/") == 1 and " " not in name
