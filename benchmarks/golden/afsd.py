"""AFSD as TALLFormer has it on ActivityNet, against its released code.

Frames of the release are the cells of the fine grid: ``upsample`` of them stand for a position, the middle of
position p is at frame upsample * (p + 1/2). Compared are all parts up to the decoded segments. The losses of
the boundaries are left out: their labels are a cell narrower there (docs/tallformer.md).
"""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor

from benchmarks.golden.deviation import ATOL, LOSS_RTOL, Deviation
from benchmarks.golden.reference import Reference
from benchmarks.golden.renaming import compare_gradients, renamed
from tal.decoders import Targets
from tal.decoders.afsd import AFSD, AFSDConfig
from tal.decoders.afsd.decoder import AFSDOutput
from tal.decoders.afsd.network import boundary_intervals

_NET = r"coarse_pyramid_detection\."
_CONV = {"conv1d": "conv", "conv": "conv", "gn": "norm"}
_PARTS = {"cur_point_conv": "own", "lr_conv": "boundary", "roi_conv": "fine", "proposal_conv": "merge"}
_HEADS = {
    "loc_head": "location.head",
    "conf_head": "confidence.head",
    "prop_loc_head": "shift",
    "prop_conf_head": "refined",
    "center_head": "quality",
}
_BRANCH = {"loc": "location", "conf": "confidence"}
_DECONV = {"0": "stack.blocks.0.conv", "1": "stack.blocks.0.norm", "3": "stack.blocks.1.conv"}
_DECONV |= {"4": "stack.blocks.1.norm", "6": "point.conv", "7": "point.norm"}
_RULES = [
    (
        _NET + r"pyramids\.0\.layer(\d)\.0\.(conv|gn)\.(\w+)",
        lambda m: f"pyramid.stages.{int(m[1]) - 1}.{_CONV[m[2]]}.{m[3]}",
    ),
    (
        _NET + r"pyramids\.1\.(fpn|lateral)_convs\.(\d)\.(conv|gn)\.(\w+)",
        lambda m: f"fpn.{'output' if m[1] == 'fpn' else 'lateral'}.{m[2]}.{_CONV[m[3]]}.{m[4]}",
    ),
    (_NET + r"(\w+_head)\.conv1d\.(\w+)", lambda m: f"{_HEADS[m[1]]}.{m[2]}"),
    (_NET + r"action_head\.cls\.(\w+)", r"video.1.\1"),
    (
        _NET + r"(loc|conf)_tower\.(\d)\.(0\.conv1d|1)\.(\w+)",
        lambda m: f"{_BRANCH[m[1]]}.tower.blocks.{m[2]}.{'conv' if '0' in m[3] else 'norm'}.{m[4]}",
    ),
    (
        _NET + r"(loc|conf)_proposal_branch\.(\w+)\.(0\.conv1d|1)\.(\w+)",
        lambda m: f"refine_{_BRANCH[m[1]]}.{_PARTS[m[2]]}.{'conv' if '0' in m[3] else 'norm'}.{m[4]}",
    ),
    (_NET + r"deconv\.(\d)\.(?:conv1d\.)?(\w+)", lambda m: f"fine.{_DECONV[m[1]]}.{m[2]}"),
    (_NET + r"loc_heads\.(\d)\.scale", r"scales.\1"),
]


def compare_afsd(reference: Reference) -> dict[str, Deviation]:
    """Pyramid, fine features, coarse and refined outputs, intervals, decoded segments, losses, gradients."""
    decoder = _afsd(reference)
    deviations: dict[str, Deviation] = defaultdict(Deviation)
    for index in reference.samples:
        features = reference.tensors[f"in/{index}/feats"][None]
        mask = torch.ones(1, 1, features.shape[2], dtype=torch.bool, device=features.device)
        with torch.no_grad():
            computed = _outputs(decoder, features, mask)
        for key, expected in reference.under(f"out/{index}/").items():
            if key in computed:
                # an end near the window's start is the difference of two large numbers
                atol = ATOL * reference.config["model"]["frames"] if key == "decoded/segments" else ATOL
                deviations[key.split("/")[0]].add(computed[key], expected, atol=atol)
    _compare_training(decoder, reference, deviations)
    return dict(deviations)


def _afsd(reference: Reference) -> AFSD:
    model = reference.config["model"]
    frames = model["frames"] // model["feat_t"]
    config = AFSDConfig(
        channels=model["channels"],
        regression_ranges=tuple((low / frames, high / frames) for low, high in model["bounds_frames"]),
        upsample=model["upsample"],
        video_dropout=0.0,
        release=True,
        start_end_weight=0.0,  # see above
    )
    decoder = AFSD(config, model["in_channels"], model["num_actions"])
    weights = renamed(_RULES, reference.under("weights/"))
    weights["scales"] = torch.cat([weights.pop(f"scales.{level}") for level in range(config.num_levels)])
    decoder.load_state_dict(weights)
    return decoder.to(reference.device).eval()


def _outputs(decoder: AFSD, features: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """The parts of one sample under the reference's names, without the batch axis; distances in frames."""
    frames = decoder.config.upsample
    levels, masks = decoder.pyramid(features, mask)
    levels = decoder.fpn(levels, masks)
    fine, _ = decoder.fine(levels[0], mask)
    out: AFSDOutput = decoder(features, mask)
    segments = out.segments(out.coarse)
    near = torch.cat(boundary_intervals(segments, frames, decoder.config.release), -1)[0].round()
    assert out.video_logits is not None
    scores = (out.coarse_logits.softmax(-1) + out.refined_logits.softmax(-1))[..., 1] / 2
    refined = (out.segments(out.refined_distances()) + 0.5) * frames
    found = {
        "frame_level": fine[0],
        "loc": out.coarse[0] * frames,
        "conf": out.coarse_logits[0],
        "prop_loc": out.shift[0],
        "prop_conf": out.refined_logits[0],
        "center": out.quality[0, :, None],
        "action_logits": out.video_logits[0],
        "decoded/segments": refined[0].clamp(0, frames * features.shape[2]),
        "decoded/scores": (scores * out.quality.sigmoid())[0],
    }
    for level, (x, fine_near, part) in enumerate(
        zip(levels, near.split(out.lengths), segments[0].split(out.lengths), strict=True)
    ):
        found[f"fpn/{level}"] = x[0]
        found[f"intervals/frame/{level}"] = fine_near
        found[f"intervals/level/{level}"] = torch.cat(boundary_intervals(part, 0.5**level), -1).round()
    return found


def _compare_training(decoder: AFSD, reference: Reference, deviations: dict[str, Deviation]) -> None:
    decoder.train()
    features = torch.stack([reference.tensors[f"in/{i}/feats"] for i in reference.samples])
    mask = torch.ones(len(features), 1, features.shape[2], dtype=torch.bool, device=features.device)
    targets = [
        Targets(reference.tensors[f"in/{i}/segments"], reference.tensors[f"in/{i}/labels"].long())
        for i in reference.samples
    ]
    losses = decoder.losses(decoder(features, mask), mask, targets)
    names = {
        "loc": "localization",
        "prop_loc": "refined_localization",
        "conf": "classification",
        "prop_conf": "refined_classification",
        "center": "quality",
        "action": "video",
    }
    for name, ours in names.items():
        deviations["losses"].add(losses[ours].detach(), reference.tensors[f"loss/{name}"], rtol=LOSS_RTOL)
    losses["loss"].backward()
    norms = renamed(_RULES, reference.under("gradnorm_no_boundary/"))
    of_scales = [norms.pop(f"scales.{level}") for level in range(decoder.config.num_levels)]
    scales = decoder.scales.grad
    assert scales is not None
    for ours, theirs in zip(scales.abs(), of_scales, strict=True):
        deviations["gradients"].add(ours, theirs)
    compare_gradients(decoder, {**norms, "scales": scales.norm()}, deviations["gradients"])
