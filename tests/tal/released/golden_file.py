"""Files like the reference tensors, written from our own release variants, for any configuration.

Names and shapes are the released ones (the inverse of the converter, written down apart from it), so what a
comparison with such a file tests is configuration, names and the comparison itself. The values that the
releases wrote are in `test_golden`.
"""

import json
import re

import torch
from safetensors.torch import save_file

from benchmarks import golden
from tal.decoders import Targets, build_decoder
from tal.released import complete_options, decoder_config, suppression_config
from tal.suppression import suppress

VIDEO = {"fps": 25.0, "duration": 21.0, "feat_stride": 8, "feat_num_frames": 32}

# names here -> released names; the first pattern that matches decides
INVERSE = [
    (r"backbone\.projections\.(\d+)\.(\w+)", r"backbone.proj.\1.conv.\2"),
    (r"backbone\.embedding\.(\d+)\.(\w+)", r"backbone.embd.\1.conv.\2"),
    (r"backbone\.embedding_norms\.(\d+)\.(\w+)", r"backbone.embd_norm.\1.\2"),
    (r"neck\.norms\.(\d+)\.(\w+)", r"neck.fpn_norms.\1.\2"),
    (r"class_head\.output\.(\w+)", r"cls_head.cls_head.conv.\1"),
    (r"offset_head\.output\.(\w+)", r"reg_head.offset_head.conv.\1"),
    (r"(start|end)_head\.output\.(\w+)", r"\1_head.cls_head.conv.\2"),
    (r"refine_head\.(start|end)\.(\w+)", lambda m: f"refineHead.{m[1][0]}_offset_head.conv.{m[2]}"),
    (r"refine_head\.confidence\.(\w+)", r"refineHead.prob_head.conv.\1"),
    (r"class_decoupling\.moves\.coarser\.(\w+)", r"decls.contrans.\1"),
    (r"class_decoupling\.own\.coarser\.(\w+)", r"decls.conv_l.\1"),
    (r"class_decoupling\.weighing\.coarser\.(\w+)", r"decls.attn.1.\1"),
    (r"offset_decoupling\.moves\.finer\.(\w+)", r"dereg.down.\1"),
    (r"offset_decoupling\.own\.finer\.(\w+)", r"dereg.conv_l.\1"),
    (r"offset_decoupling\.weighing\.finer\.(\w+)", r"dereg.attn.1.\1"),
    (r"fusion\.coarser\.(\w+)", r"cross_level.convtrans.\1"),
    (r"fusion\.finer\.(\w+)", r"cross_level.conv.\1"),
]
TOWERS = {"class_head": "cls_head", "offset_head": "reg_head", "refine_head": "refineHead"}
BLOCKS = [
    (r"attention\.convs\.(\w+)\.(\w+)", r"attn.\1_conv.conv.\2"),
    (r"attention\.norms\.(\w+)\.(\w+)", r"attn.\1_norm.\2"),
    (r"attention\.projections\.(\w+)\.(\w+)", r"attn.\1.\2"),
    (r"attention\.output\.(\w+)", r"attn.proj.\1"),
    (r"attention\.bias\.weight", r"attn.rel_pe"),
    (r"norm(\d)\.(\w+)", r"ln\1.\2"),
    (r"norm\.(\w+)", r"ln.\1"),
    (r"group_norm\.norm\.(\w+)", r"gn.\1"),
    (r"downsampling\.projection\.(\w+)", r"downsample.1.\1"),
    (r"instant\.(\w+)", r"fc.\1"),
    (r"instant_gate\.(\w+)", r"global_fc.\1"),
    (r"window_gate\.(\w+)", r"psi.\1"),
    (r"(?:narrow|local)\.(\w+)", r"convw.\1"),
    (r"wide\.(\w+)", r"convkw.\1"),
    (r"mixer\.(\w+)", r"\1"),
    (r"path2\.scale", r"drop_path_mlp.scale"),
]


def released_name(system, name):
    tower = re.fullmatch(r"(\w+)\.tower\.(convs|norms)\.(\d+)\.(\w+)", name)
    if tower:
        part = f"head.{tower[3]}.conv" if tower[2] == "convs" else f"norm.{tower[3]}"
        return f"{TOWERS.get(tower[1], tower[1])}.{part}.{tower[4]}"
    block = re.fullmatch(r"(backbone\.(?:stem|branch)\.\d+)\.(.*)", name)
    if block and block[2] == "path1.scale":
        return f"{block[1]}.drop_path_{'attn' if system == 'actionformer' else 'out'}.scale"
    for pattern, target in BLOCKS if block else INVERSE:
        match = re.fullmatch(pattern, block[2] if block else name)
        if match:
            renamed = target(match) if callable(target) else match.expand(target)
            return f"{block[1]}.{renamed}" if block else renamed
    assert block, f"no released name for {name}"  # what is left are the MLPs, named alike
    return name


def released(system, levels, tensors):
    """Names and shapes as released: norms [1, C, 1], one number a level's scale, one norm for all levels."""
    tensors_there = {}
    for name, value in tensors.items():
        if name == "loss_normaliser":
            continue
        if name == "offset_head.scales":
            tensors_there |= {f"reg_head.scale.{i}.scale": value[i].clone() for i in range(levels)}
            continue
        names = [name]
        if system == "temporalmaxer" and name.startswith("neck.norms.0"):
            names = [name.replace(".0.", f".{i}.") for i in range(levels)]
        wide = value.ndim == 1 and re.search(r"norm|scale", name) and "group_norm" not in name
        shaped = value[None, :, None] if wide else value
        tensors_there |= {released_name(system, n): shaped.clone() for n in names}
    return tensors_there


def outputs_under_released_names(pyramid, outputs):
    lists = {
        "backbone/0": pyramid.backbone,
        "backbone/1": pyramid.backbone_masks,
        "neck/0": pyramid.maps,
        "neck/1": pyramid.masks,
        "cls_head": outputs.logits,
        "reg_head": outputs.offsets,
        "start_head": outputs.start,
        "end_head": outputs.end,
        "cross_level": pyramid.refine_maps,
        "refineHead/0": outputs.start_shift,
        "refineHead/1": outputs.end_shift,
        "refineHead/2": outputs.confidence,
    }
    if pyramid.refine_maps is not None:
        lists |= {"decls": pyramid.class_maps, "dereg": pyramid.offset_maps}
    return {f"{k}/{i}": v.clone() for k, levels in lists.items() if levels for i, v in enumerate(levels)}


def write_golden_file(path, model, seed):
    """A file like the reference ones, made with our decoder in its release variant; its metadata."""
    torch.manual_seed(seed)
    system = golden.system_of(path)
    options = complete_options(system, model)
    config = decoder_config(system, options).model_copy(update={"dropout": 0.0})
    scaled = config.drop_path > 0
    config = config.model_copy(update={"drop_path": 1e-30 if scaled else 0.0})
    channels = model["input_dim"] if isinstance(model["input_dim"], int) else sum(model["input_dim"])
    decoder = build_decoder(config, channels, 4).eval()
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    tensors = {f"weights/{k}": v for k, v in released(system, config.levels, decoder.state_dict()).items()}
    samples, targets = [], []
    for index, length in enumerate((model["max_seq_len"] - 7, model["max_seq_len"] // 2 + 1)):
        features = torch.randn(channels, length)
        start = torch.rand(3) * length * 0.6
        segments = torch.stack((start, start + 3 + torch.rand(3) * length * 0.3), 1)
        target = Targets(segments, torch.randint(0, 4, (3,)))
        samples.append(features)
        targets.append(target)
        tensors |= {f"in/{index}/feats": features, f"in/{index}/segments": segments}
        tensors[f"in/{index}/labels"] = target.labels
        mask = torch.ones(1, 1, length, dtype=torch.bool)
        with torch.no_grad():
            pyramid = decoder.pyramid(features[None], mask)
            outputs = decoder.heads(pyramid, length)
            candidates = decoder.candidates(outputs, mask)[0]
        for key, value in outputs_under_released_names(pyramid, outputs).items():
            tensors[f"out/{index}/{key}"] = value
        final = suppress(
            candidates.segments, candidates.scores, candidates.labels, suppression_config(system, options)
        )
        seconds = (final[0] * VIDEO["feat_stride"] + 0.5 * VIDEO["feat_num_frames"]) / VIDEO["fps"]
        tensors[f"out/{index}/final/segments"] = seconds.clamp(0, VIDEO["duration"])
        tensors |= {f"out/{index}/final/scores": final[1], f"out/{index}/final/labels": final[2]}
        assert len(final[1]) > 10
    longest = max(f.shape[1] for f in samples)
    batch = torch.stack([torch.nn.functional.pad(f, (0, longest - f.shape[1])) for f in samples])
    mask = (torch.arange(longest) < torch.tensor([f.shape[1] for f in samples])[:, None])[:, None]
    losses = decoder.train().losses(decoder(batch, mask), mask, targets)
    losses["loss"].backward()
    for key, ours in (("cls_loss", "classification"), ("reg_loss", "regression"), ("final_loss", "loss")):
        tensors[f"loss/{key}"] = losses[ours].detach().reshape(1)
    gradients = {k: torch.zeros_like(p) if p.grad is None else p.grad for k, p in decoder.named_parameters()}
    for key, value in released(system, config.levels, gradients).items():
        tensors[f"gradnorm/{key}"] = value.norm().reshape(1)
    metadata = {"config": json.dumps({"model": model, "video": [VIDEO, VIDEO]})}
    save_file({k: v.contiguous() for k, v in tensors.items()}, path, metadata)
    return metadata
