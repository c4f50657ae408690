"""A key that no preset sets needs a reason to be one; without it, it is a constant beside the code."""

import typing

from pydantic import BaseModel

from pipelines.config import RunConfig, read_tree
from pipelines.presets import list_presets

# Keys that no preset sets, by class: why they are keys.
UNSET = {
    "`train --from` sets it": {
        "DataConfig.corrections",
        "EncoderConfig.adapter_weights",
        "TrainConfig.start_from",
    },
    "`init` sets it": {"DataConfig.train_subset", "DataConfig.val_subset", "WindowConfig.windows_per_video"},
    "of the machine or of the work, not of a recipe": {
        "DataConfig.reader",
        "EncoderConfig.weights_sha256",
        "InferenceConfig.batch_windows",
        "InferenceConfig.long",
        "MemoryConfig.in_place",
        "TrainConfig.compile",
        "TrainConfig.deterministic",
        "TrainConfig.device",
        "TrainConfig.keep_best",
        "TrainConfig.max_nonfinite",
        "TrainConfig.workers",
        "WindowConfig.tries",
    },
    "reference tensors are compared with it": {"AFSDConfig.release"},
    "AdaTAD lets no stage of the trunk learn": {"AdapterConfig.learning_stages"},
    "a run writes it into its own configuration": {
        "DataConfig.store_generation",
        "DataConfig.store_place",
        "EncoderConfig.settings",
    },
    "converters of released checkpoints set them": {
        "ActionFormerConfig.relative_position",
        "InferenceConfig.resize_rows",
        "InferenceConfig.row_offset",
        "PyramidConfig.center_radius",
        "PyramidConfig.class_prior",
        "PyramidConfig.drop_path",
        "PyramidConfig.embed_kernel",
        "PyramidConfig.embed_norm",
        "PyramidConfig.empty_classes",
        "PyramidConfig.first_level",
        "PyramidConfig.head_layers",
        "PyramidConfig.head_norm",
        "PyramidConfig.input_groups",
        "PyramidConfig.min_score",
        "PyramidConfig.neck_groups",
        "SimOtaConfig.ota_class_weight",
        "SimOtaConfig.ota_confused_weight",
        "SimOtaConfig.ota_iou_weight",
        "SimOtaConfig.ota_keep_share",
        "TridentConfig.downsampling",
        "TridentConfig.trident",
    },
    "choices of a method, for data that no preset is for": {
        "CltdrGmgConfig.heads",
        "CltdrGmgConfig.instant",
        "EncoderConfig.norm_frozen",
        "EncoderConfig.temporal_shift",
        "LocalizerConfig.age_embedding",
        "MemoryConfig.oldest_share",
        "PyramidConfig.cls_loss",
        "PyramidConfig.regression_loss",
        "SuppressionConfig.voting_per_class",
    },
    "sizes and thresholds of a decoder, for features of another width or rate": {
        "AFSDConfig.norm",
        "AFSDConfig.video_dropout",
        "DaoTADConfig.anchor_position",
        "DaoTADConfig.anchor_scale",
        "DaoTADConfig.anchors_per_position",
        "DaoTADConfig.attention_widths",
        "DaoTADConfig.candidates_per_level",
        "DaoTADConfig.dropout",
        "DaoTADConfig.head_layers",
        "DaoTADConfig.min_score",
        "DaoTADConfig.negative_iou",
        "DaoTADConfig.num_heads",
        "DaoTADConfig.positive_iou",
        "DaoTADConfig.prior",
        "DaoTADConfig.regression_weight",
        "TridentConfig.norm_groups",
    },
}


def models(annotation):
    """Configuration classes in a field's type; several where a `name` chooses one."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in typing.get_args(annotation) for model in models(part)]


def label(model, name):
    """CLASS.key of the class that declares it."""
    owner = next(c for c in reversed(model.__mro__) if name in vars(c).get("__annotations__", {}))
    return f"{owner.__name__}.{name}"


def all_keys(model):
    for name, field in model.model_fields.items():
        sections = models(field.annotation)
        if not sections:
            yield label(model, name)
        for section in sections:
            yield from all_keys(section)


def given_keys(model, tree):
    for name, value in tree.items():
        sections = models(model.model_fields[name].annotation)
        if not (sections and isinstance(value, dict)):
            yield label(model, name)
            continue
        named = [m for m in sections if len(sections) == 1 or m.model_fields["name"].default == value["name"]]
        yield from given_keys(*named, value)


def test_every_key_is_set_by_a_preset_or_has_a_reason():
    given = {key for path in list_presets().values() for key in given_keys(RunConfig, read_tree(path))}
    listed = [key for keys in UNSET.values() for key in keys]
    assert len(listed) == len(set(listed))
    assert set(all_keys(RunConfig)) - given == set(listed)
