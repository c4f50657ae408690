"""TALLFormer's own modules against its released code: downsampling, consistency module, DaoTAD.

The release decodes DaoTAD's segments without bounds and clamps them to the video afterwards, so what is
compared is what comes before: scores, offsets and decoded segments of every anchor.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from benchmarks.golden.afsd import compare_afsd
from benchmarks.golden.deviation import LOSS_RTOL, Deviation, compare_gradients
from benchmarks.golden.reference import Reference, of_decoder
from tal.decoders import Targets
from tal.decoders.daotad import DaoTAD, DaoTADConfig
from tal.decoders.daotad.anchors import decode
from tal.decoders.daotad.assign import assign_max_iou
from tal.decoders.padded_targets import PaddedTargets
from tal.localizer.consistency import ConsistencyModule, TcmConfig
from tal.localizer.downsampling import TemporalDownsampling
from tal.released.tallformer import renamed, to_localizer

# What the release makes of its decoded segments; tests/tal/suppression compares that.
_AFTER_DECODING = ("candidates", "final")


def compare_consistency(reference: Reference) -> dict[str, Deviation]:
    """Downsampling by two convolutions (``srm``), the attention layers and what leaves them (``tcm``)."""
    model = reference.config["model"]
    config = TcmConfig(
        layers=model["layers"],
        heads=model["heads"],
        mlp_ratio=model["mlp_ratio"],
        drop_path=0.0,
        start="random",
    )
    modules = nn.ModuleDict(
        {
            "downsampling": TemporalDownsampling(model["in_channels"], model["width"], model["downsample"]),
            "tcm": ConsistencyModule(model["width"], config, model["max_positions"]),
        }
    )
    modules.load_state_dict(to_localizer(reference.under("weights/")))
    modules.to(reference.device)
    deviations: dict[str, Deviation] = defaultdict(Deviation)
    for index in reference.samples:
        features = reference.tensors[f"in/{index}/feats"][None]
        with torch.no_grad():
            computed = _consistency_outputs(modules, features)
        for key, expected in reference.under(f"out/{index}/").items():
            deviations[key.split("/")[0]].add(computed[key][0], expected)
    features, weights = reference.tensors["train/feats"], reference.tensors["train/weights"]
    outputs = _consistency_outputs(modules.train(), features)["tcm"]
    deviations["training"].add(outputs, reference.tensors["train/out"])
    loss = (outputs * weights).sum()
    deviations["losses"].add(loss.detach(), reference.tensors["loss/sum"], rtol=LOSS_RTOL)
    loss.backward()
    compare_gradients(modules, renamed(reference.under("gradnorm/")), deviations["gradients"])
    return dict(deviations)


def _consistency_outputs(modules: nn.ModuleDict, features: Tensor) -> dict[str, Tensor]:
    """[B, width, T] after downsampling, after each layer, and at the end."""
    downsampling, consistency = modules["downsampling"], modules["tcm"]
    mask = torch.ones(len(features), 1, features.shape[2], dtype=torch.bool, device=features.device)
    x, mask = downsampling(features, mask)
    outputs = {"srm": x}
    y = x.transpose(1, 2)
    for index, layer in enumerate(consistency.layers):  # type: ignore[arg-type]
        y = layer(y, mask[:, :, None])
        outputs[f"layer/{index}"] = y.transpose(1, 2)
    return {**outputs, "tcm": consistency(x, mask)}


def compare_daotad(reference: Reference) -> dict[str, Deviation]:
    """Pyramid, FPN, heads, anchors, decoded segments, assignment, losses and gradient norms."""
    decoder = _daotad(reference)
    deviations: dict[str, Deviation] = defaultdict(Deviation)
    anchors = torch.cat(list(_by_level(reference.under("anchors/"))))
    for index in reference.samples:
        features = reference.tensors[f"in/{index}/feats"][None]
        with torch.no_grad():
            computed, own_anchors = _daotad_outputs(decoder, features)
        deviations["anchors"].add(own_anchors, anchors)
        for key, expected in reference.under(f"out/{index}/").items():
            module, place = key.split("/")
            if module not in _AFTER_DECODING:
                deviations[module].add(computed[module][int(place)], expected)
    _compare_daotad_training(decoder, reference, deviations)
    return dict(deviations)


def _daotad(reference: Reference) -> DaoTAD:
    model = reference.config["model"]
    config = DaoTADConfig(
        pyramid=model["pyramid"],
        release=model["pyramid"] == "conv",
        channels=model["channels"],
        num_levels=model["num_levels"],
        attention_widths=tuple(model["attention_widths"]),
        num_heads=model["num_heads"],
        mlp_channels=model["mlp_channels"],
        dropout=0.0,
        fpn_channels=model["fpn_channels"],
        norm="sync_batch",
        head_layers=model["head_layers"],
        anchor_scale=model["anchor_scale"],
        anchors_per_position=model["anchors_per_position"],
    )
    decoder = DaoTAD(config, model["in_channels"], model["num_classes"])
    decoder.load_state_dict(of_decoder(to_localizer(reference.under("weights/"))))
    return decoder.to(reference.device).eval()


def _by_level(tensors: Mapping[str, Tensor]) -> Sequence[Tensor]:
    return [tensors[str(level)] for level in range(len(tensors))]


def _daotad_outputs(decoder: DaoTAD, features: Tensor) -> tuple[dict[str, Sequence[Tensor]], Tensor]:
    """Outputs of the parts of one sample by level, without the batch axis; anchors [N, 2]."""
    mask = torch.ones(1, 1, features.shape[2], dtype=torch.bool, device=features.device)
    maps, masks = decoder.pyramid(features, mask)
    levels = decoder.fpn(maps, masks)
    outputs = decoder(features, mask)
    classes, offsets = outputs.logits[0].split(outputs.per_level), outputs.offsets[0].split(outputs.per_level)
    segments = decode(outputs.anchors, outputs.offsets[0])
    return {
        "backbone": [x[0] for x in maps],
        "fpn": [x[0] for x in levels],
        "cls": [_channels_first(x, y.shape[2]) for x, y in zip(classes, levels, strict=True)],
        "reg": [_channels_first(x, y.shape[2]) for x, y in zip(offsets, levels, strict=True)],
        "decoded": segments.split(outputs.per_level),
    }, outputs.anchors


def _channels_first(values: Tensor, length: int) -> Tensor:
    """[T A, n] -> [A n, T]."""
    return values.reshape(length, -1).t()


def _compare_daotad_training(decoder: DaoTAD, reference: Reference, deviations: dict[str, Deviation]) -> None:
    decoder.train()
    features = torch.stack([reference.tensors[f"in/{i}/feats"] for i in reference.samples])
    mask = torch.ones(len(features), 1, features.shape[2], dtype=torch.bool, device=features.device)
    targets = [
        Targets(reference.tensors[f"in/{i}/segments"], reference.tensors[f"in/{i}/labels"].long())
        for i in reference.samples
    ]
    outputs = decoder(features, mask)
    config = decoder.config
    padded = PaddedTargets.collate(targets, features.device)
    assigned = assign_max_iou(
        outputs.anchors, outputs.valid, padded, config.positive_iou, config.negative_iou
    )
    for index in reference.samples:
        # the release's numbers: -1 ignored, 0 negative, otherwise one more than the segment's index
        number = torch.where(assigned.positive[index], assigned.target[index] + 1, -1)
        number = number.masked_fill(assigned.negative[index], 0)
        deviations["assignment"].add(number, reference.tensors[f"assign/{index}"])
    losses = decoder.losses(outputs, mask, targets)
    names = {"loss": "loss", "loss_cls": "classification", "loss_segment": "localization"}
    for name, ours in names.items():
        deviations["losses"].add(losses[ours].detach(), reference.tensors[f"loss/{name}"], rtol=LOSS_RTOL)
    losses["loss"].backward()
    norms = of_decoder(renamed(reference.under("gradnorm/")))
    compare_gradients(decoder, norms, deviations["gradients"])


COMPARISONS: dict[str, Callable[[Reference], dict[str, Deviation]]] = {
    "tcm": compare_consistency,
    "daotad": compare_daotad,
    "afsd": compare_afsd,
}
