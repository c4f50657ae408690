"""AFSD as TALLFormer has it on ActivityNet, against its released code.

Frames of the release are the cells of the fine grid: ``upsample`` of them stand for a position, the middle of
position p is at frame upsample * (p + 1/2). Compared are all parts up to the decoded segments. The losses of
the boundaries are left out: their labels are a cell narrower there (docs/tallformer.md).
"""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor

from benchmarks.golden.deviation import ATOL, LOSS_RTOL, Deviation, compare_gradients
from benchmarks.golden.reference import Reference, of_decoder
from tal.decoders import Targets
from tal.decoders.afsd import AFSD, AFSDConfig
from tal.decoders.afsd.decoder import AFSDOutput
from tal.decoders.afsd.network import boundary_intervals
from tal.released.tallformer import renamed, to_localizer


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
    decoder.load_state_dict(of_decoder(to_localizer(reference.under("weights/"))))
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
    scores = (out.coarse_logits.softmax(-1) + out.refined_logits.softmax(-1))[..., 1] / 2
    refined = (out.segments(out.refined_distances()) + 0.5) * frames
    found = {
        "frame_level": fine[0],
        **head_outputs(out, frames),
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


def head_outputs(out: AFSDOutput, frames: int) -> dict[str, Tensor]:
    """Outputs of one sample under the release's names; its distances are in frames, ``frames`` a position."""
    assert out.video_logits is not None
    return {
        "loc": out.coarse[0] * frames,
        "conf": out.coarse_logits[0],
        "prop_loc": out.shift[0],
        "prop_conf": out.refined_logits[0],
        "center": out.quality[0, :, None],
        "action_logits": out.video_logits[0],
    }


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
    norms = of_decoder(renamed(reference.under("gradnorm_no_boundary/")))
    of_scales = [norms.pop(f"scales.{level}") for level in range(decoder.config.num_levels)]
    scales = decoder.scales.grad
    assert scales is not None
    for ours, theirs in zip(scales.abs(), of_scales, strict=True):
        deviations["gradients"].add(ours, theirs)
    compare_gradients(decoder, {**norms, "scales": scales.norm()}, deviations["gradients"])
