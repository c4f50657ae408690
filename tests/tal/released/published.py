"""Options that the published configurations of the released pyramids set, by system and name.

Facts as their YAML files state them; what only names files or trains (optimizer, loader) is left out.
"""

from __future__ import annotations

from typing import Any

RANGES = [[0, 4], [4, 8], [8, 16], [16, 32], [32, 64], [64, 10000]]
EPIC_RANGES = [[0, 4], [2, 8], [4, 16], [8, 32], [16, 64], [32, 10000]]
EGO_RANGES = [[0, 4], [2, 8], [4, 16], [8, 32], [16, 64], [32, 128], [64, 256], [128, 10000]]
CENTER = {
    "clip_grad_l2norm": 1.0,
    "cls_prior_prob": 0.01,
    "center_sample": "radius",
    "center_sample_radius": 1.5,
}
NO_CENTER = {"clip_grad_l2norm": 1.0, "cls_prior_prob": 0.01, "center_sample": "none"}
ASSIGNER = {
    "iou_weight": 2,
    "cls_weight": 1.0,
    "center_radius": 1.5,
    "keep_percent": 1.0,
    "confuse_weight": 0.0,
}
SCORES = "scores.json"  # in the place of their files of video-level scores


def _data(
    channels: Any, classes: int, length: int, stride: int, frames: int, fps: Any = None, **more: Any
) -> Any:
    return {
        "input_dim": channels,
        "num_classes": classes,
        "max_seq_len": length,
        "feat_stride": stride,
        "num_frames": frames,
        "default_fps": fps,
        **more,
    }


def _file(dataset: Any, model: Any, train: Any, test: Any) -> dict[str, Any]:
    return {
        "dataset": dataset,
        "model": {"fpn_type": "identity", **model},
        "train_cfg": train,
        "test_cfg": test,
    }


_ANET = {"max_buffer_len_factor": 1.0, "embd_dim": 256, "fpn_dim": 256, "use_abs_pe": True}
_ANET_TEST = {"pre_nms_topk": 2000, "min_score": 0.001, "multiclass_nms": False, "ext_score_file": SCORES}
_THUMOS_TEST = {"voting_thresh": 0.7, "pre_nms_topk": 2000, "min_score": 0.001}
_EPIC_TEST = {
    "pre_nms_topk": 5000,
    "max_seg_num": 2000,
    "min_score": 0.001,
    "nms_sigma": 0.4,
    "multiclass_nms": True,
}
_SGP = {"backbone_arch": [2, 2, 5], "regression_range": RANGES}

PUBLISHED: dict[tuple[str, str], dict[str, Any]] = {
    ("actionformer", "thumos_i3d"): _file(
        _data(2048, 20, 2304, 4, 16),
        {"max_buffer_len_factor": 6.0, "n_mha_win_size": 19},
        {**CENTER, "init_loss_norm": 100},
        {**_THUMOS_TEST, "max_seg_num": 200, "multiclass_nms": False, "ext_score_file": SCORES},
    ),
    ("actionformer", "anet_tsp"): _file(
        _data(512, 1, 768, 16, 16, 15),
        {**_ANET, "n_mha_win_size": [25, 25, 25, 25, 25, -1], "n_head": 4, "head_dim": 256},
        {**CENTER, "init_loss_norm": 400, "label_smoothing": 0.1},
        {**_ANET_TEST, "voting_thresh": 0.85, "max_seg_num": 100, "nms_sigma": 0.8, "duration_thresh": 0.1},
    ),
    ("actionformer", "anet_i3d"): _file(
        _data(2048, 1, 192, 16, 16, 25, force_upsampling=True),
        {**_ANET, "n_mha_win_size": [7, 7, 7, 7, 7, -1], "n_head": 4, "head_dim": 256},
        {**CENTER, "init_loss_norm": 200, "label_smoothing": 0.1, "droppath": 0.1, "loss_weight": 2.0},
        {**_ANET_TEST, "voting_thresh": 0.9, "max_seg_num": 100, "nms_sigma": 0.75, "duration_thresh": 0.001},
    ),
    ("actionformer", "ego4d_omnivore_egovlp_internvideo"): _file(
        _data([1536, 256, 1024], 110, 1024, 16, 32, 30),
        {
            "regression_range": EGO_RANGES,
            "backbone_arch": [2, 2, 7],
            "max_buffer_len_factor": 4.0,
            "n_mha_win_size": 9,
            "n_head": 16,
            "embd_dim": [256, 384, 384],
            "fpn_dim": 1024,
            "head_dim": 1024,
            "use_abs_pe": True,
        },
        {**CENTER, "init_loss_norm": 100, "dropout": 0.1, "droppath": 0.1},
        {**_EPIC_TEST, "nms_sigma": 2, "voting_thresh": 0.95},
    ),
    ("actionformer", "epic_slowfast_noun"): _file(
        _data(2304, 300, 2304, 16, 32, 30),
        {"regression_range": EPIC_RANGES, "max_buffer_len_factor": 4.0, "n_mha_win_size": 9},
        {**CENTER, "init_loss_norm": 250},
        _EPIC_TEST,
    ),
    ("tridet", "thumos_i3d"): _file(
        _data(2048, 20, 2304, 4, 16),
        {
            **_SGP,
            "max_buffer_len_factor": 6.0,
            "n_sgp_win_size": 1,
            "num_bins": 16,
            "k": 5,
            "iou_weight_power": 0.2,
            "use_trident_head": True,
            "sgp_mlp_dim": 768,
            "input_noise": 0.0005,
        },
        {**CENTER, "init_loss_norm": 100},
        {**_THUMOS_TEST, "max_seg_num": 2000, "multiclass_nms": True},
    ),
    ("tridet", "anet_tsp"): _file(
        _data(512, 1, 768, 16, 16, 15),
        {
            **_SGP,
            **_ANET,
            "n_sgp_win_size": 15,
            "sgp_mlp_dim": 2048,
            "head_dim": 512,
            "num_bins": 12,
            "iou_weight_power": 1,
            "input_noise": 0.5,
            "k": 1.3,
            "init_conv_vars": 0.2,
        },
        {**CENTER, "clip_grad_l2norm": 0.4, "init_loss_norm": 400, "label_smoothing": 0.1},
        {**_ANET_TEST, "voting_thresh": 0.95, "max_seg_num": 200, "nms_sigma": 0.7, "duration_thresh": 0.1},
    ),
    ("tridet", "hacs_slowfast"): _file(
        _data(2304, 200, 960, 8, 32, 15),
        {
            **_SGP,
            "max_buffer_len_factor": 1.0,
            "n_sgp_win_size": 3,
            "embd_dim": 1024,
            "sgp_mlp_dim": 1024,
            "fpn_dim": 1024,
            "head_dim": 1024,
            "head_kernel_size": 5,
            "boudary_kernel_size": 1,
            "use_abs_pe": True,
            "num_bins": 14,
            "iou_weight_power": 1,
            "input_noise": 0.2,
            "use_trident_head": True,
            "k": 1.2,
            "init_conv_vars": 0.1,
        },
        {**CENTER, "clip_grad_l2norm": 0.5, "init_loss_norm": 400, "label_smoothing": 0.1},
        {
            **_THUMOS_TEST,
            "voting_thresh": 0.95,
            "max_seg_num": 250,
            "multiclass_nms": True,
            "nms_sigma": 0.75,
        },
    ),
    ("tridet", "epic_slowfast_noun"): _file(
        _data(2304, 300, 2304, 16, 32, 30),
        {
            "regression_range": EPIC_RANGES,
            "max_buffer_len_factor": 4.0,
            "n_sgp_win_size": 1,
            "num_bins": 16,
            "iou_weight_power": 0.25,
            "sgp_mlp_dim": 1024,
            "k": 4,
        },
        {**CENTER, "init_loss_norm": 250, "label_smoothing": 0.1},
        _EPIC_TEST,
    ),
    ("temporalmaxer", "thumos_i3d"): _file(
        _data(2048, 20, 2304, 4, 16),
        {
            "backbone_type": "convPooler",
            "backbone_arch": [2, 5],
            "max_buffer_len_factor": 6.0,
            "assigner": ASSIGNER,
        },
        {**NO_CENTER, "init_loss_norm": 100},
        {**_THUMOS_TEST, "max_seg_num": 200, "multiclass_nms": True},
    ),
    ("temporalmaxer", "multithumos_i3d"): _file(
        _data(1024, 65, 2304, 4, 16),
        {
            "backbone_type": "convPooler",
            "backbone_arch": [3, 5],
            "fpn_norm": "layernorm",
            "max_buffer_len_factor": 6.0,
            "assigner": ASSIGNER,
        },
        {**NO_CENTER, "init_loss_norm": 100},
        {**_THUMOS_TEST, "pre_nms_topk": 3000, "max_seg_num": 300, "multiclass_nms": True},
    ),
    ("temporalmaxer", "epic_slowfast_noun"): _file(
        _data(2304, 300, 2304, 16, 32, 30),
        {
            "backbone_type": "convPooler",
            "backbone_arch": [2, 5],
            "regression_range": EPIC_RANGES,
            "fpn_norm": "groupnorm",
            "max_buffer_len_factor": 4.0,
            "assigner": ASSIGNER,
        },
        {**NO_CENTER, "init_loss_norm": 250},
        _EPIC_TEST,
    ),
}
