"""Compare the decoders with reference tensors written by the released code bases.

    python -m benchmarks.golden DIR

Reads every *.safetensors file of DIR; the system is told by the file's name (cltdr, tridet, af, tmax), the
configuration by its metadata. Prints the largest deviation by output and exits with 1 when one is beyond
tolerance.
"""

from __future__ import annotations

import json
import re
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from tal.decoders import Targets, build_decoder
from tal.decoders.pyramid.decoder import PyramidDecoder
from tal.decoders.pyramid.outputs import Pyramid, PyramidOutput
from tal.errors import LongtalError
from tal.released import complete_options, decoder_config, locate, suppression_config, to_state
from tal.suppression import suppress

RTOL, ATOL, LOSS_RTOL = 1e-4, 1e-5, 1e-4
# Parts of a file name -> system; the first that matches.
_NAMES = (
    ("cltdr", "cltdr"),
    ("tridet", "tridet"),
    ("actionformer", "actionformer"),
    ("af", "actionformer"),
    ("temporalmaxer", "temporalmaxer"),
    ("tmax", "temporalmaxer"),
)
_LOSSES = {"cls_loss": "classification", "reg_loss": "regression", "final_loss": "loss"}


@dataclass
class Deviation:
    """Largest differences of one kind of output. ``excess``: |a - b| over atol + rtol |b|; 1 is the limit."""

    absolute: float = 0.0
    relative: float = 0.0
    excess: float = 0.0
    count: int = 0
    notes: list[str] = field(default_factory=list)

    def add(self, found: Tensor, wanted: Tensor, rtol: float = RTOL, atol: float = ATOL) -> None:
        self.count += 1
        if tuple(found.shape) != tuple(wanted.shape):
            self.fail(f"shape {list(found.shape)}, reference {list(wanted.shape)}")
            return
        if wanted.dtype == torch.bool or not wanted.is_floating_point():
            wrong = int((found != wanted).sum())
            if wrong:
                self.fail(f"{wrong} of {wanted.numel()} values differ")
            return
        if wanted.numel() == 0:
            return
        found, wanted = found.detach().double(), wanted.double()
        same = (found == wanted) | (found.isnan() & wanted.isnan())  # infinities too
        difference = torch.where(same, torch.zeros_like(found), (found - wanted).abs())
        if not bool(difference.isfinite().all()):
            self.fail("not finite")
            return
        self.absolute = max(self.absolute, float(difference.max()))
        self.relative = max(self.relative, float((difference / wanted.abs().clamp(min=atol)).max()))
        self.excess = max(self.excess, float((difference / (atol + rtol * wanted.abs())).max()))

    def fail(self, note: str) -> None:
        self.excess = float("inf")
        self.notes.append(note)


def system_of(path: Path) -> str | None:
    """System that a file name tells; parts are cut at anything that is no letter."""
    words = re.split(r"[^a-z]+", path.stem.lower())
    for part, system in _NAMES:
        if part in words or (len(part) > 2 and part in path.stem.lower()):
            return system
    return None


def compare(path: Path, system: str) -> dict[str, Deviation]:
    """Deviations by output of one reference file."""
    with safe_open(path, "pt") as handle:
        metadata = handle.metadata() or {}
        tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
    config = json.loads(metadata["config"])
    options = complete_options(system, config["model"])
    decoder = _decoder(system, options, tensors)
    found: dict[str, Deviation] = defaultdict(Deviation)
    samples = sorted({int(name.split("/")[1]) for name in tensors if name.startswith("in/")})
    for index in samples:
        video = config["video"][index]
        with torch.no_grad():
            _compare_outputs(decoder, system, options, tensors, index, video, found)
    if any(name.startswith("loss/") for name in tensors):
        _compare_training(decoder, system, tensors, samples, found)
    return dict(found)


def _decoder(system: str, options: dict[str, Any], tensors: dict[str, Tensor]) -> PyramidDecoder[Any]:
    # the reference losses were made with drop path, dropout and noise off; keep the scales that drop path
    # brings
    config = decoder_config(system, options)
    if config.drop_path > 0:
        config = config.model_copy(update={"drop_path": 1e-30})
    config = config.model_copy(update={"dropout": 0.0, "input_noise": 0.0})
    inputs = options["input_dim"]
    channels = sum(inputs) if isinstance(inputs, list | tuple) else inputs
    decoder = build_decoder(config, channels, options["num_classes"])  # type: ignore[arg-type]
    assert isinstance(decoder, PyramidDecoder)
    weights = {name.removeprefix("weights/"): t for name, t in tensors.items() if name.startswith("weights/")}
    decoder.load_state_dict(to_state(system, weights, decoder.state_dict()))
    return decoder.eval()


def _compare_outputs(
    decoder: PyramidDecoder[Any],
    system: str,
    options: dict[str, Any],
    tensors: dict[str, Tensor],
    index: int,
    video: dict[str, Any],
    found: dict[str, Deviation],
) -> None:
    features = tensors[f"in/{index}/feats"][None]
    mask = torch.ones(1, 1, features.shape[2], dtype=torch.bool)
    pyramid = decoder.pyramid(features, mask)
    outputs = decoder.heads(pyramid, features.shape[2])
    parts = _parts(pyramid, outputs)
    prefix = f"out/{index}/"
    for name, wanted in tensors.items():
        if not name.startswith(prefix) or name.startswith(prefix + "final/"):
            continue
        module, *place = name.removeprefix(prefix).split("/")
        value: Any = parts.get(module)
        try:
            for step in place:
                value = value[int(step)]
        except (TypeError, IndexError, ValueError):
            found[module].fail(f"{name} is not computed here")
            continue
        found[module].add(value, wanted)
    if f"{prefix}final/scores" in tensors:
        _compare_final(decoder, system, options, outputs, mask, tensors, prefix, video, found["final"])


def _parts(pyramid: Pyramid, outputs: PyramidOutput) -> dict[str, Any]:
    """Outputs under the names of the released modules."""
    return {
        "backbone": (pyramid.backbone, pyramid.backbone_masks),
        "neck": (pyramid.maps, pyramid.masks),
        "cls_head": outputs.logits,
        "reg_head": outputs.offsets,
        "start_head": outputs.start,
        "end_head": outputs.end,
        "decls": pyramid.class_maps,
        "dereg": pyramid.offset_maps,
        "cross_level": pyramid.refine_maps,
        "refineHead": (outputs.start_shift, outputs.end_shift, outputs.confidence),
    }


def _compare_final(
    decoder: PyramidDecoder[Any],
    system: str,
    options: dict[str, Any],
    outputs: PyramidOutput,
    mask: Tensor,
    tensors: dict[str, Tensor],
    prefix: str,
    video: dict[str, Any],
    deviation: Deviation,
) -> None:
    """Detections as a set: of equal scores the order is nobody's, so each is compared with the nearest of
    its class.
    """
    chosen = decoder.candidates(outputs, mask)[0]
    segments, scores, labels = suppress(
        chosen.segments, chosen.scores, chosen.labels, suppression_config(system, options)
    )
    seconds = (segments * video["feat_stride"] + 0.5 * video["feat_num_frames"]) / video["fps"]
    seconds = seconds.clamp(0.0, video["duration"])
    wanted = [tensors[f"{prefix}final/{name}"] for name in ("segments", "scores", "labels")]
    if len(scores) != len(wanted[1]):
        deviation.fail(f"{len(scores)} detections, reference {len(wanted[1])}")
        return
    mine = torch.cat((seconds, scores[:, None]), 1).double()
    theirs = torch.cat((wanted[0], wanted[1][:, None]), 1).double()
    for label in wanted[2].unique():
        a, b = mine[labels == label], theirs[wanted[2] == label]
        if len(a) != len(b):
            deviation.fail(f"class {int(label)}: {len(a)} detections, reference {len(b)}")
            continue
        distance = (a[None] - b[:, None]).abs().amax(-1)
        nearest = distance.argmin(1)
        if len(nearest.unique()) != len(nearest):
            deviation.fail(f"class {int(label)}: two references have one nearest detection")
            continue
        deviation.add(a[nearest], b)


def _compare_training(
    decoder: PyramidDecoder[Any],
    system: str,
    tensors: dict[str, Tensor],
    samples: list[int],
    found: dict[str, Deviation],
) -> None:
    features = [tensors[f"in/{i}/feats"] for i in samples]
    longest = max(f.shape[1] for f in features)
    batch = torch.stack([torch.nn.functional.pad(f, (0, longest - f.shape[1])) for f in features])
    lengths = torch.tensor([f.shape[1] for f in features])
    mask = (torch.arange(longest) < lengths[:, None])[:, None]
    targets = [Targets(tensors[f"in/{i}/segments"], tensors[f"in/{i}/labels"].long()) for i in samples]
    decoder.train()
    outputs = decoder(batch, mask)
    losses = decoder.losses(outputs, mask, targets)
    for name, ours in _LOSSES.items():
        if f"loss/{name}" in tensors:
            wanted = tensors[f"loss/{name}"].reshape(())
            found["losses"].add(losses[ours].detach(), wanted, rtol=LOSS_RTOL)
    if "loss/num_pos" in tensors:
        number = decoder.assign(outputs, targets).num_positive
        found["losses"].add(number, tensors["loss/num_pos"].reshape(()))
    gradients = {name for name in tensors if name.startswith("gradnorm/")}
    if not gradients:
        return
    losses["loss"].backward()
    parameters = dict(decoder.named_parameters())
    for name in sorted(gradients):
        place = locate(system, name.removeprefix("gradnorm/"))
        wanted = tensors[name].reshape(())
        if place is None:
            if float(wanted) != 0:
                found["gradients"].fail(f"{name} is {float(wanted)}, has no place here")
            continue
        gradient = parameters[place.name].grad
        gradient = torch.zeros(1) if gradient is None else gradient
        gradient = gradient if place.index is None else gradient[place.index]
        found["gradients"].add(gradient.norm(), wanted)


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: python -m benchmarks.golden DIR", file=sys.stderr)
        return 2
    folder = Path(arguments[0])
    paths = sorted(folder.glob("*.safetensors")) if folder.is_dir() else [folder]
    known = [(path, system_of(path)) for path in paths if path.is_file()]
    if not known:
        print(f"no *.safetensors files in {folder}", file=sys.stderr)
        return 2
    failed = 0
    width = 2 + max(22, *(len(path.name) for path, _ in known))
    print(
        f"{'file':<{width}}{'output':<14}{'tensors':>8}{'largest |a-b|':>16}{'relative':>12}{'of limit':>12}"
    )
    for path, system in known:
        if system is None:
            print(f"{path.name:<{width}}unknown system: the name must hold cltdr, tridet, af or tmax")
            failed += 1
            continue
        try:
            deviations = compare(path, system)
        except (LongtalError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
            print(f"{path.name:<{width}}cannot be compared: {type(error).__name__}: {error}")
            failed += 1
            continue
        for output, deviation in deviations.items():
            beyond = deviation.excess > 1
            failed += beyond
            print(
                f"{path.name:<{width}}{output:<14}{deviation.count:>8}{deviation.absolute:>16.2e}"
                f"{deviation.relative:>12.1e}{deviation.excess:>12.4f}{'  BEYOND' if beyond else ''}"
            )
            for note in deviation.notes[:3]:
                print(f"{'':<{width}}{note}")
    print(
        "beyond tolerance" if failed else "all within tolerance",
        f"(rtol {RTOL:g}, atol {ATOL:g}, losses {LOSS_RTOL:g})",
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
