"""ActionFormer, TemporalMaxer, TriDet and CLTDR-GMG against reference tensors of their released code."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor

from benchmarks.golden.deviation import LOSS_RTOL, Deviation
from benchmarks.golden.reference import Reference
from tal.decoders import Targets, build_decoder
from tal.decoders.base import on_host
from tal.decoders.pyramid.decoder import PyramidDecoder
from tal.decoders.pyramid.outputs import Pyramid, PyramidOutput
from tal.released import complete_options, decoder_config, locate, suppression_config, to_state
from tal.suppression import suppress

_LOSSES = {"cls_loss": "classification", "reg_loss": "regression", "final_loss": "loss"}


def compare_pyramid(system: str, reference: Reference) -> dict[str, Deviation]:
    """Deviations by output: maps, heads, detections, losses and gradient norms."""
    tensors, config = reference.tensors, reference.config
    options = complete_options(system, config["model"])
    decoder = _decoder(system, options, reference.under("weights/")).to(reference.device)
    deviations: dict[str, Deviation] = defaultdict(Deviation)
    for index in reference.samples:
        video = config["video"][index]
        with torch.no_grad():
            _compare_outputs(decoder, system, options, tensors, index, video, deviations)
    if any(name.startswith("loss/") for name in tensors):
        _compare_training(decoder, system, reference, deviations)
    return dict(deviations)


def _decoder(system: str, options: dict[str, Any], weights: dict[str, Tensor]) -> PyramidDecoder[Any]:
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
    decoder.load_state_dict(to_state(system, weights, decoder.state_dict()))
    return decoder.eval()


def _compare_outputs(
    decoder: PyramidDecoder[Any],
    system: str,
    options: dict[str, Any],
    tensors: dict[str, Tensor],
    index: int,
    video: dict[str, Any],
    deviations: dict[str, Deviation],
) -> None:
    features = tensors[f"in/{index}/feats"][None]
    mask = torch.ones(1, 1, features.shape[2], dtype=torch.bool, device=features.device)
    pyramid = decoder.pyramid(features, mask)
    outputs = decoder.heads(pyramid, features.shape[2])
    parts = _parts(pyramid, outputs)
    prefix = f"out/{index}/"
    for name, expected in tensors.items():
        if not name.startswith(prefix) or name.startswith(prefix + "final/"):
            continue
        module, *place = name.removeprefix(prefix).split("/")
        value: Any = parts.get(module)
        try:
            for step in place:
                value = value[int(step)]
        except (TypeError, IndexError, ValueError):
            deviations[module].fail(f"{name} is not computed here")
            continue
        deviations[module].add(value, expected)
    if f"{prefix}final/scores" in tensors:
        _compare_final(decoder, system, options, outputs, mask, tensors, prefix, video, deviations["final"])


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
    """Compare detections as sets: each with the nearest of its class, as equal scores have no order."""
    (chosen,) = on_host(decoder.candidates(outputs, mask))
    segments, scores, labels = suppress(
        chosen.segments, chosen.scores, chosen.labels, suppression_config(system, options)
    )
    seconds = (segments * video["feat_stride"] + 0.5 * video["feat_num_frames"]) / video["fps"]
    seconds = seconds.clamp(0.0, video["duration"])
    expected = [tensors[f"{prefix}final/{name}"].cpu() for name in ("segments", "scores", "labels")]
    if len(scores) != len(expected[1]):
        deviation.fail(f"{len(scores)} detections, reference {len(expected[1])}")
        return
    mine = torch.cat((seconds, scores[:, None]), 1).double()
    theirs = torch.cat((expected[0], expected[1][:, None]), 1).double()
    for label in expected[2].unique():
        a, b = mine[labels == label], theirs[expected[2] == label]
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
    reference: Reference,
    deviations: dict[str, Deviation],
) -> None:
    tensors, samples = reference.tensors, reference.samples
    features = [tensors[f"in/{i}/feats"] for i in samples]
    longest = max(f.shape[1] for f in features)
    batch = torch.stack([torch.nn.functional.pad(f, (0, longest - f.shape[1])) for f in features])
    lengths = torch.tensor([f.shape[1] for f in features])
    mask = (torch.arange(longest) < lengths[:, None])[:, None].to(batch.device)
    targets = [Targets(tensors[f"in/{i}/segments"], tensors[f"in/{i}/labels"].long()) for i in samples]
    decoder.train()
    outputs = decoder(batch, mask)
    losses = decoder.losses(outputs, mask, targets)
    for name, ours in _LOSSES.items():
        if f"loss/{name}" in tensors:
            expected = tensors[f"loss/{name}"].reshape(())
            deviations["losses"].add(losses[ours].detach(), expected, rtol=LOSS_RTOL)
    if "loss/num_pos" in tensors:
        number = decoder.assign(outputs, targets).num_positive
        deviations["losses"].add(number, tensors["loss/num_pos"].reshape(()))
    gradients = {name for name in tensors if name.startswith("gradnorm/")}
    if not gradients:
        return
    losses["loss"].backward()
    parameters = dict(decoder.named_parameters())
    for name in sorted(gradients):
        place = locate(system, name.removeprefix("gradnorm/"))
        expected = tensors[name].reshape(())
        if place is None:
            if float(expected) != 0:
                deviations["gradients"].fail(f"{name} is {float(expected)}, has no place here")
            continue
        gradient = parameters[place.name].grad
        gradient = expected.new_zeros(1) if gradient is None else gradient
        gradient = gradient if place.index is None else gradient[place.index]
        deviations["gradients"].add(gradient.norm(), expected)
