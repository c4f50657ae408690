"""Configuration of the released code bases -> configuration here, in the variant that computes the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tal.decoders.actionformer import ActionFormerConfig
from tal.decoders.cltdr_gmg import CltdrGmgConfig
from tal.decoders.pyramid.config import PyramidConfig
from tal.decoders.temporalmaxer import TemporalMaxerConfig
from tal.decoders.tridet import TriDetConfig
from tal.errors import CheckpointError
from tal.released.accepted import require_computed, require_known
from tal.suppression import SuppressionConfig

# What the released loaders fill in for absent keys.
_MODEL = {
    "fpn_type": "identity",
    "backbone_arch": (2, 2, 5),
    "scale_factor": 2,
    "regression_range": ((0, 4), (4, 8), (8, 16), (16, 32), (32, 64), (64, 10000)),
    "embd_kernel_size": 3,
    "embd_dim": 512,
    "embd_with_ln": True,
    "fpn_with_ln": True,
    "fpn_start_level": 0,
    "head_dim": 512,
    "head_kernel_size": 3,
    "head_num_layers": 3,
    "head_with_ln": True,
    "use_abs_pe": False,
}
_TRIDENT = {
    "backbone_type": "SGP",
    "n_sgp_win_size": 1,
    "sgp_mlp_dim": None,
    "boudary_kernel_size": 3,
    "use_trident_head": True,
    "downsample_type": "max",
    "k": 1.5,
    "init_conv_vars": 0,
    "num_bins": 16,
    "iou_weight_power": 1.0,
    "input_noise": 0.0,
}
_OF_SYSTEM: dict[str, dict[str, Any]] = {
    "actionformer": {
        "backbone_type": "convTransformer",
        "n_head": 4,
        "n_mha_win_size": -1,
        "use_rel_pe": False,
    },
    "temporalmaxer": {
        "backbone_type": "convPooler",
        "backbone_arch": (2, 5),
        "fpn_norm": "groupnorm",
        "num_group": 4,
        "assigner": {},
    },
    "tridet": _TRIDENT,
    "cltdr": _TRIDENT,
}
_TRAIN = {
    "center_sample": "radius",
    "center_sample_radius": 1.5,
    "loss_weight": 1.0,
    "cls_prior_prob": 0.01,
    "init_loss_norm": 2000,
    "head_empty_cls": (),
    "dropout": 0.0,
    "droppath": 0.1,
    "label_smoothing": 0.0,
}
_TRAIN_OF_SYSTEM: dict[str, dict[str, Any]] = {"actionformer": {"dropout": 0.1}}
_TEST = {
    "pre_nms_thresh": 0.001,
    "pre_nms_topk": 5000,
    "iou_threshold": 0.1,
    "min_score": 0.01,
    "max_seg_num": 1000,
    "nms_method": "soft",
    "nms_sigma": 0.5,
    "duration_thresh": 0.05,
    "multiclass_nms": True,
    "voting_thresh": 0.75,
}
_OF_DATASET = ("input_dim", "num_classes", "max_seq_len")


def complete_options(system: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Model options of a released YAML file, completed with its loader's defaults.

    ``options`` has the sections dataset, model, train_cfg and test_cfg, or is the model section itself
    (with ``input_dim`` and the two ``_cfg`` in it).

    Raises
    ------
    CheckpointError
        an option that is not known here, or one that has no default is missing; named.
    """
    model = dict(options.get("model", options))
    dataset = options.get("dataset", {})
    for key in _OF_DATASET:
        if key in dataset:
            model[key] = dataset[key]
    train = options.get("train_cfg") or model.pop("train_cfg", None) or {}
    test = options.get("test_cfg") or model.pop("test_cfg", None) or {}
    defaults = {**_MODEL, **_OF_SYSTEM[system]}
    require_known(system, "model", model, {*defaults, *_OF_DATASET, "train_cfg", "test_cfg"})
    require_known(system, "train_cfg", train, _TRAIN)
    require_known(system, "test_cfg", test, _TEST)
    train = {**_TRAIN, **_TRAIN_OF_SYSTEM.get(system, {}), **train}
    completed = {**defaults, **model, "train_cfg": train, "test_cfg": {**_TEST, **test}}
    for key in _OF_DATASET:
        if key not in completed:
            raise CheckpointError(
                f"the configuration does not say {key!r} (section `dataset` of a released YAML file)"
            )
    return completed


def decoder_config(system: str, options: Mapping[str, Any]) -> PyramidConfig:
    """Configuration of the decoder that computes as the released one.

    ``options`` are completed ones, see `complete_options`. CheckpointError for values that are not
    computed here.
    """
    expected = _OF_SYSTEM[system]["backbone_type"]
    if options["backbone_type"] != expected:
        raise CheckpointError(
            f"backbone_type {options['backbone_type']!r} of {system} is not supported, only {expected!r}"
        )
    require_computed(system, options, _width(options))
    if system == "actionformer":
        return ActionFormerConfig(
            **_common(options),
            heads=options["n_head"],
            window=_levels(options["n_mha_win_size"]),
            relative_position=options["use_rel_pe"],
            pad_multiple=_pad_multiple(options, options["n_mha_win_size"], even=True),
        )
    if system == "temporalmaxer":
        return _temporalmaxer(options)
    windows = options["n_sgp_win_size"]
    shared = {
        **_common(options),
        "window": _levels(windows),
        "pad_multiple": _pad_multiple(options, windows, even=False),
        "mlp_dim": options["sgp_mlp_dim"] or 4 * _width(options),
        "trident": options["use_trident_head"],
        "num_bins": options["num_bins"],
        "boundary_kernel": options["boudary_kernel_size"],
        "iou_weight_power": options["iou_weight_power"],
        "iou_weight_gradient": True,
        "downsampling": options["downsample_type"],
        "conv_init": options["init_conv_vars"],
        "input_noise": options["input_noise"],
    }
    if system == "tridet":
        return TriDetConfig(**shared, scale=options["k"])
    return CltdrGmgConfig.release(**shared)


def suppression_config(system: str, options: Mapping[str, Any]) -> SuppressionConfig:
    """Suppression as the released code does it."""
    test = options["test_cfg"]
    method = {"soft": "soft_nms", "hard": "nms", "none": "none"}[test["nms_method"]]
    return SuppressionConfig(
        method=method,
        sigma=test["nms_sigma"],
        iou_threshold=test["iou_threshold"],
        min_score=test["min_score"],
        max_segments=test["max_seg_num"] if method != "none" else 0,
        multiclass=test["multiclass_nms"],
        voting_threshold=max(0.0, test["voting_thresh"]),
        voting_weight="score_iou" if system in ("actionformer", "temporalmaxer") else "score",
    )


def _width(options: Mapping[str, Any]) -> int:
    width = options["embd_dim"]
    return sum(width) if isinstance(width, list | tuple) else width


def _levels(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | tuple) else value


def _pad_multiple(options: Mapping[str, Any], windows: Any, even: bool) -> int:
    """Longer inputs are padded to the largest stride x window; ActionFormer takes twice half the window."""
    first, depth = options["fpn_start_level"], options["backbone_arch"][-1]
    strides = [2**level for level in range(first, depth + 1)]
    each = list(windows) if isinstance(windows, list | tuple) else [windows] * len(strides)
    return max(
        stride * (window // 2 * 2 if even else window) if window > 1 else stride
        for stride, window in zip(strides, each, strict=False)
    )


def _common(options: Mapping[str, Any]) -> dict[str, Any]:
    train, test = options["train_cfg"], options["test_cfg"]
    arch = options["backbone_arch"]
    first = options["fpn_start_level"]
    inputs, widths = options["input_dim"], options["embd_dim"]
    grouped = isinstance(inputs, list | tuple)
    return {
        "masking": "release",
        "levels": arch[-1] + 1 - first,
        "first_level": first,
        "embed_dim": _width(options),
        "embed_layers": arch[0],
        "embed_kernel": options["embd_kernel_size"],
        "embed_norm": options["embd_with_ln"],
        "input_groups": tuple(zip(inputs, widths, strict=True)) if grouped else (),
        "stem_layers": arch[1] if len(arch) == 3 else 0,
        "neck_norm": "channel" if options["fpn_with_ln"] else "none",
        "absolute_position": options["use_abs_pe"],
        "max_positions": options["max_seq_len"],
        "head_dim": options["head_dim"],
        "head_layers": options["head_num_layers"],
        "head_kernel": options["head_kernel_size"],
        "head_norm": options["head_with_ln"],
        "drop_path": train["droppath"],
        "dropout": train["dropout"],
        "class_prior": train["cls_prior_prob"],
        "empty_classes": tuple(train["head_empty_cls"]),
        "regression_ranges": tuple(tuple(pair) for pair in options["regression_range"]),
        "assignment": "center" if train["center_sample"] == "radius" else "inside",
        "center_radius": train["center_sample_radius"],
        "regression_weight": max(0.0, train["loss_weight"]),
        "label_smoothing": train["label_smoothing"],
        "initial_normaliser": train["init_loss_norm"],
        "min_score": test["pre_nms_thresh"],
        "topk_per_level": test["pre_nms_topk"],
        "min_duration": test["duration_thresh"],
    }


def _temporalmaxer(options: Mapping[str, Any]) -> TemporalMaxerConfig:
    assigner = options["assigner"]
    norm = {"groupnorm": "group", "layernorm": "channel", None: "none"}[options["fpn_norm"]]
    return TemporalMaxerConfig(
        **{
            **_common(options),
            "absolute_position": False,
            "assignment": "sim_ota",
            "center_radius": assigner.get("center_radius", 2.5),
            "ota_class_weight": assigner.get("cls_weight", 1.0),
            "ota_iou_weight": assigner.get("iou_weight", 3.0),
            "ota_keep_share": assigner.get("keep_percent", 0.65),
            "ota_confused_weight": assigner.get("confuse_weight", 0.1),
            "neck_norm": norm,
            "neck_groups": options["num_group"],
            "shared_norm": True,
        }
    )
