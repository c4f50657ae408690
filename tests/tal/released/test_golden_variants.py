"""`benchmarks.golden` on files of other widths, level counts, windows and seeds: everything from metadata."""

import json
from itertools import pairwise

import pytest
from safetensors.torch import load_file, save_file

from benchmarks import golden
from tests.tal.released.golden_file import write_golden_file

COMMON = {
    "fpn_type": "identity",
    "scale_factor": 2,
    "head_num_layers": 3,
    "head_kernel_size": 3,
    "embd_kernel_size": 3,
    "embd_with_ln": True,
    "fpn_with_ln": True,
    "fpn_start_level": 0,
    "head_with_ln": True,
    "num_classes": 4,
    "use_abs_pe": False,
}
TRAIN = {"init_loss_norm": 30, "droppath": 0.1, "center_sample": "radius", "center_sample_radius": 1.5}
TEST = {
    "pre_nms_thresh": 0.001,
    "pre_nms_topk": 300,
    "min_score": 0.001,
    "max_seg_num": 60,
    "nms_method": "soft",
    "nms_sigma": 0.4,
    "duration_thresh": 0.05,
    "multiclass_nms": True,
}
TRIDENT = {
    **COMMON,
    "backbone_type": "SGP",
    "embd_dim": 32,
    "head_dim": 48,
    "sgp_mlp_dim": 40,
    "init_conv_vars": 0.3,
    "input_noise": 0,
    "use_trident_head": True,
    "downsample_type": "max",
    "iou_weight_power": 1.0,
}


def ranges(levels):
    edges = [0, *(4 * 2**level for level in range(levels - 1)), 10000]
    return [list(pair) for pair in pairwise(edges)]


VARIANTS = {
    "af_levels6_wide_windows": {
        **COMMON,
        "backbone_type": "convTransformer",
        "backbone_arch": [1, 1, 5],
        "n_head": 8,
        "embd_dim": 32,
        "n_mha_win_size": [7, 7, 5, 5, 3, -1],
        "head_dim": 24,
        "use_abs_pe": True,
        "input_dim": 10,
        "max_seq_len": 96,
        "regression_range": ranges(6),
        "train_cfg": {**TRAIN, "label_smoothing": 0.1},
        "test_cfg": {**TEST, "multiclass_nms": False, "voting_thresh": 0.9, "duration_thresh": 0.001},
    },
    "seed7-actionformer-groups": {
        **COMMON,
        "backbone_type": "convTransformer",
        "backbone_arch": [2, 2, 4],
        "n_head": 2,
        "use_rel_pe": True,
        "n_mha_win_size": 5,
        "embd_dim": [16, 8],
        "input_dim": [6, 3],
        "head_dim": 16,
        "max_seq_len": 64,
        "fpn_start_level": 1,
        "head_kernel_size": 5,
        "regression_range": ranges(4),
        "test_cfg": TEST,
        "train_cfg": {**TRAIN, "droppath": 0.0, "center_sample": "none", "loss_weight": -1},
    },
    "tmax_layernorm_levels3": {
        **COMMON,
        "backbone_type": "convPooler",
        "backbone_arch": [1, 2],
        "fpn_norm": "layernorm",
        "embd_dim": 40,
        "input_dim": 7,
        "head_dim": 20,
        "head_num_layers": 2,
        "max_seq_len": 48,
        "test_cfg": TEST,
        "regression_range": ranges(3),
        "train_cfg": {**TRAIN, "center_sample": "none"},
        "assigner": {"iou_weight": 2, "cls_weight": 1.0, "center_radius": 2.0, "keep_percent": 0.8},
    },
    "tridet.win5.k2": {
        **TRIDENT,
        "backbone_arch": [2, 2, 4],
        "n_sgp_win_size": [5, 5, 3, 3, 7],
        "k": 2,
        "num_bins": 6,
        "boudary_kernel_size": 1,
        "input_dim": 12,
        "max_seq_len": 128,
        "regression_range": ranges(5),
        "train_cfg": {**TRAIN, "label_smoothing": 0.1},
        "test_cfg": TEST,
    },
    "cltdr_levels7": {
        **TRIDENT,
        "backbone_arch": [2, 1, 6],
        "n_sgp_win_size": 15,
        "k": 1.2,
        "num_bins": 5,
        "use_abs_pe": True,
        "boudary_kernel_size": 1,
        "head_kernel_size": 5,
        "input_dim": 9,
        "max_seq_len": 128,
        "regression_range": ranges(7),
        "train_cfg": TRAIN,
        "test_cfg": {**TEST, "pre_nms_topk": 2000},
    },
    "cltdr_avg_levels3": {
        **TRIDENT,
        "backbone_arch": [3, 2, 2],
        "n_sgp_win_size": 3,
        "k": 3,
        "num_bins": 16,
        "embd_dim": 64,
        "boudary_kernel_size": 3,
        "downsample_type": "avg",
        "input_dim": 9,
        "max_seq_len": 64,
        "regression_range": ranges(3),
        "train_cfg": {**TRAIN, "droppath": 0.0},
        "test_cfg": TEST,
    },
}


@pytest.mark.parametrize("name", VARIANTS)
def test_a_file_of_another_configuration_is_compared_whole(tmp_path, capsys, name):
    metadata = write_golden_file(tmp_path / f"{name}.safetensors", VARIANTS[name], seed=len(name))
    assert golden.main([str(tmp_path)]) == 0, capsys.readouterr().out
    shown = capsys.readouterr().out
    outputs = {"backbone", "neck", "cls_head", "reg_head", "final", "losses", "gradients"}
    if "cltdr" in name:
        outputs |= {"decls", "dereg", "cross_level", "refineHead"}
    assert all(f" {output} " in shown for output in outputs)

    # one value beyond tolerance anywhere, or other metadata, and the command fails
    tensors = load_file(tmp_path / f"{name}.safetensors")
    key = sorted(k for k in tensors if k.startswith("out/1/reg_head"))[-1]
    tensors[key].view(-1)[0] += 1e-2
    save_file(tensors, tmp_path / f"{name}.safetensors", metadata)
    assert golden.main([str(tmp_path)]) == 1
    tensors[key].view(-1)[0] -= 1e-2
    other = json.loads(metadata["config"])
    other["model"]["regression_range"] = [[0, 10000] for _ in other["model"]["regression_range"]]
    save_file(tensors, tmp_path / f"{name}.safetensors", {"config": json.dumps(other)})
    assert golden.main([str(tmp_path)]) == 1


def test_two_seeds_of_one_configuration_and_a_damaged_file(tmp_path, capsys):
    name = "tmax_layernorm_levels3"
    for seed in (1, 2):
        write_golden_file(tmp_path / f"tmax_seed{seed}.safetensors", VARIANTS[name], seed)
    assert golden.main([str(tmp_path)]) == 0
    (tmp_path / "tmax_seed3.safetensors").write_bytes(b"no tensors")
    assert golden.main([str(tmp_path)]) == 1
    assert "cannot be compared" in capsys.readouterr().out
