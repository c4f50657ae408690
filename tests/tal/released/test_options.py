"""Options of the released pyramids: what is published is read, and nothing is ignored in silence."""

import copy
import math

import numpy as np
import pytest
import torch

from tal.decoders import build_decoder
from tal.errors import CheckpointError
from tal.grid import FeatureGrid
from tal.inference.resized import resize_rows
from tal.released import complete_options, decoder_config, suppression_config
from tests.tal.released.published import PUBLISHED

SMALL = {
    "embd_dim": 16,
    "fpn_dim": 16,
    "head_dim": 16,
    "n_head": 2,
    "sgp_mlp_dim": 32,
    "backbone_arch": [2, 2, 2],
}


def small(system, **changes):
    """A published file of a system with a small network; changes are ``section__key``."""
    tree = copy.deepcopy(PUBLISHED[system, "epic_slowfast_noun"])
    sizes = {k: v for k, v in SMALL.items() if system == "actionformer" or k != "n_head"}
    if system != "tridet":
        sizes.pop("sgp_mlp_dim")
    if system == "temporalmaxer":
        sizes |= {"backbone_arch": [2, 2]}
    tree["model"] |= {**sizes, "regression_range": [[0, 4], [4, 8], [8, 10000]]}
    tree["dataset"] |= {"input_dim": 8, "num_classes": 3, "max_seq_len": 32}
    for name, value in changes.items():
        section, key = name.split("__")
        tree[section][key] = value
    return tree


def decoder_of(system, tree):
    torch.manual_seed(0)
    return build_decoder(decoder_config(system, complete_options(system, tree)), 8, 3).eval()


@pytest.mark.parametrize(("system", "name"), PUBLISHED)
def test_what_was_published_is_read(system, name):
    tree = PUBLISHED[system, name]
    options = complete_options(system, tree)
    config, suppression = decoder_config(system, options), suppression_config(system, options)
    test = tree["test_cfg"]
    assert config.topk_per_level == test["pre_nms_topk"] and config.levels == len(config.regression_ranges)
    assert suppression.max_segments == test["max_seg_num"]
    assert suppression.multiclass is test["multiclass_nms"]
    if "n_mha_win_size" in tree["model"]:
        window = tree["model"]["n_mha_win_size"]
        assert config.window == (tuple(window) if isinstance(window, list) else window)


@pytest.mark.parametrize("section", ["model", "train_cfg", "test_cfg"])
@pytest.mark.parametrize("system", ["actionformer", "tridet", "temporalmaxer"])
def test_an_option_that_nobody_knows_is_refused_by_name(system, section):
    with pytest.raises(CheckpointError, match=rf"{section}\.use_magic is no option of {system}"):
        complete_options(system, small(system, **{f"{section}__use_magic": True}))


@pytest.mark.parametrize(
    ("change", "value"),
    [
        ("model__fpn_type", "fpn"),
        ("model__scale_factor", 3),
        ("model__downsample_type", "conv"),
        ("model__backbone_type", "conv"),
        ("model__fpn_dim", 32),
        ("train_cfg__center_sample", "gaussian"),
        ("test_cfg__nms_method", "diou"),
    ],
)
def test_what_is_not_computed_here_is_refused_with_its_value(change, value):
    with pytest.raises(CheckpointError, match=str(value)) as error:
        decoder_config("tridet", complete_options("tridet", small("tridet", **{change: value})))
    assert change.split("__")[1] in str(error.value)


def test_hard_suppression_and_none_are_read():
    methods = {"soft": "soft_nms", "hard": "nms", "none": "none"}
    for theirs, ours in methods.items():
        options = complete_options("tridet", small("tridet", test_cfg__nms_method=theirs))
        assert suppression_config("tridet", options).method == ours


def test_the_longest_video_of_a_release_is_no_limit_here():
    """``max_buffer_len_factor`` bounds the release's tables of points; nothing here is computed from it."""
    one, other = (small("actionformer", model__max_buffer_len_factor=factor) for factor in (1.0, 6.0))
    assert decoder_config("actionformer", complete_options("actionformer", one)) == decoder_config(
        "actionformer", complete_options("actionformer", other)
    )


def test_classes_without_samples_begin_at_one_in_a_million():
    plain = decoder_of("actionformer", small("actionformer"))
    empty = decoder_of("actionformer", small("actionformer", train_cfg__head_empty_cls=[1]))
    bias, bias_ = (decoder.class_head.output.bias for decoder in (plain, empty))
    assert bias_[1].item() == pytest.approx(-math.log((1 - 1e-6) / 1e-6), rel=1e-6)
    assert torch.equal(bias[[0, 2]], bias_[[0, 2]])


@pytest.mark.parametrize("system", ["actionformer", "tridet"])
def test_position_codes_are_the_sinusoids_of_the_training_length(system):
    """Added to the embedding, over the root of its width (libs/modeling/blocks.py, get_sinusoid_encoding)."""
    plain, coded = (decoder_of(system, small(system, model__use_abs_pe=use)) for use in (False, True))
    coded.load_state_dict(plain.state_dict(), strict=False)
    width, length = 16, 32
    channel = torch.arange(width)[:, None]
    angle = torch.arange(length)[None] / 10000 ** (2 * (channel // 2) / width)
    expected = torch.where(channel % 2 == 0, angle.sin(), angle.cos()) / width**0.5
    seen = []
    for decoder in (plain, coded):
        block = decoder.backbone.stem[0]
        handle = block.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
        decoder(torch.ones(1, 8, length), torch.ones(1, 1, length, dtype=torch.bool))
        handle.remove()
    torch.testing.assert_close(seen[1] - seen[0], expected[None], rtol=1e-4, atol=1e-5)


def test_an_embedding_without_norms_has_none():
    with_norm, without = (
        decoder_of("tridet", small("tridet", model__embd_with_ln=norm)) for norm in (True, False)
    )
    norms = {k for k in with_norm.state_dict() if k.startswith("backbone.embedding")} - set(
        without.state_dict()
    )
    assert norms and all("norm" in key or key.split(".")[-1] in ("weight", "bias") for key in norms)


def test_resized_rows_are_means_of_what_lies_around_their_middles():
    """Against np.interp on the middles of the parts; a video that has the number already stays as it is."""
    rng = np.random.default_rng(0)
    rows, grid = rng.normal(size=(7, 3)).astype(np.float32), FeatureGrid(25.0, 16.0, 16.0)
    resized, placed = resize_rows(rows, grid, 20)
    middles = (np.arange(20) + 0.5) * 7 / 20 - 0.5
    expected = np.stack([np.interp(middles, np.arange(7), column) for column in rows.T], axis=1)
    np.testing.assert_allclose(resized.numpy(), expected, atol=1e-6)
    # the first part begins where the first row's frames do, the last one ends with the last row's
    assert placed.to_seconds(-0.5) == pytest.approx(0.0)
    assert placed.to_seconds(19.5) == pytest.approx((6 * 16 + 16) / 25)
    same, where = resize_rows(rows, grid, 7)
    np.testing.assert_allclose(same.numpy(), rows, atol=1e-6)
    assert where == grid
