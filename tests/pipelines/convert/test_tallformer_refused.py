"""What the release did not write, or not with the configuration given, is refused by name."""

import pytest
import torch

from pipelines.convert.run import convert
from tal.errors import CheckpointError, ConfigError
from tests.pipelines.convert.tallformer_files import behind_consistency, golden, published

SIZES = "localizer: {width: 64, decoder: {channels: 64, mlp_channels: 256, fpn_channels: 32}}\n"


@pytest.fixture
def refused(tmp_path):
    def refuse(weights, message, error=CheckpointError, **options):
        torch.save(weights, tmp_path / "c.pth")
        with pytest.raises(error, match=message):
            convert(tmp_path / "c.pth", "tallformer", tmp_path / "model", **options)
        assert not (tmp_path / "model").exists()

    return refuse


def test_names_that_are_unknown_or_missing_are_listed(refused):
    weights = behind_consistency("daotad")
    strange = {"neck.1.encoder.final.weight": torch.zeros(1), "m_backbone.x": torch.zeros(1)}
    refused(weights | strange, r"2 unexpected: neck\.1\.encoder\.final\.weight, m_backbone\.x")
    refused(
        {k: v for k, v in weights.items() if "norm2.bias" not in k}, r"7 missing: tcm\.layers\.0\.norm2\.bias"
    )
    refused(
        golden("tcm").under("weights/"), "nothing for decoder.fpn.lateral.0.conv.weight: it is not a whole"
    )


def test_two_modules_of_a_kind(refused):
    weights = behind_consistency("daotad")
    twice = {k.replace("neck.1.", "neck.4."): v for k, v in weights.items() if k.startswith("neck.1.")}
    refused(weights | twice, r"'neck\.1\.encoder.* and 'neck\.4\.encoder.* are one parameter here")


def test_outputs_of_the_heads_that_contradict_each_other(refused):
    weights = behind_consistency("daotad")
    odd = {"head.retina_reg.weight": torch.zeros(8, 32, 3), "head.retina_reg.bias": torch.zeros(8)}
    refused(weights | odd, "retina_cls has 25 outputs and head.retina_reg 8")
    none = {f"head.retina_cls.{k}": torch.zeros(s) for k, s in (("weight", (0, 32, 3)), ("bias", (0,)))}
    refused(weights | none, "outputs for no class")
    wide = {"head.retina_reg.weight": torch.zeros(10, 48, 3)}
    refused(weights | wide, r"decoder\.offset_head\.weight \[10, 48, 3\] for \[10, 32, 3\]")


def test_sizes_that_contradict_the_configuration(tmp_path, refused):
    weights = behind_consistency("daotad")
    said = (
        "localizer.width: 512 in tallformer/thumos14, 64 in the checkpoint; .*localizer.decoder.channels: 512"
    )
    refused(weights, said, config="tallformer/thumos14")
    said = "localizer.decoder.name: afsd in tallformer/activitynet, daotad in the checkpoint"
    refused(weights, said, config="tallformer/activitynet")
    (tmp_path / "conv.yaml").write_text("extends: tallformer/thumos14-paper\n" + SIZES)
    said = "localizer.decoder.pyramid: conv in .*, attention in the checkpoint; localizer.decoder.norm: group"
    refused(weights, said, config=tmp_path / "conv.yaml")
    (tmp_path / "alike.yaml").write_text(
        "extends: tallformer/thumos14\n" + SIZES.replace("fpn_channels: 32", "fpn_channels: 32, norm: batch")
    )
    torch.save(weights, tmp_path / "c.pth")
    assert convert(tmp_path / "c.pth", "tallformer", tmp_path / "good", tmp_path / "alike.yaml").assumed == ()


def test_levels_without_ranges(refused):
    weights = published(golden("afsd").under("weights/"), afsd=True)
    five = {
        k: v
        for k, v in weights.items()
        if not any(part in k for part in ("layer5", "convs.5", "loc_heads.5"))
    }
    refused(five, "regression_ranges: 6 levels in tallformer/activitynet, 5 in the checkpoint")


def test_code_is_no_configuration(refused):
    refused(behind_consistency("daotad"), "code is not run; name a preset", ConfigError, config="x/1.0.0.py")
    refused(behind_consistency("daotad"), "class names", ConfigError, labels=["one"])


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("head.retina_cls.weight", (10**9, 0, 3)),
        ("head.retina_cls.weight", ()),
        ("neck.0.conv1.weight", (64, 48)),
        ("neck.1.encoder.layers.0.attn.relative_position_bias_table", (119, 7)),
        ("neck.1.encoder.layers.0.mlp.fc1.weight", (256, 0)),
        ("neck.3.lateral_convs.0.conv.weight", (0, 64, 1)),
        ("neck.3.lateral_convs.99999999.conv.weight", (1, 1, 1)),
    ],
)
def test_shapes_of_hostile_files(tmp_path, name, shape):
    torch.save(behind_consistency("daotad") | {name: torch.zeros(shape)}, tmp_path / "c.pth")
    with pytest.raises((CheckpointError, ConfigError)):
        convert(tmp_path / "c.pth", "tallformer", tmp_path / "model")
