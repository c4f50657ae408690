"""Release-exact variants against tensors written by the released code: `tests/golden`, none left out."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from benchmarks import golden

PYRAMID = {"backbone", "neck", "cls_head", "reg_head", "final", "losses", "gradients"}
ANCHORS = {"backbone", "fpn", "cls", "reg", "anchors", "decoded", "assignment", "losses", "gradients"}
AFSD = {"fpn", "frame_level", "intervals", "loc", "conf", "prop_loc", "prop_conf", "center", "action_logits"}
AFSD |= {"decoded", "losses", "gradients"}
OUTPUTS = {
    "af": PYRAMID,
    "tmax": PYRAMID,
    "tridet": PYRAMID | {"start_head", "end_head"},
    "tridet_lists": PYRAMID | {"start_head", "end_head"},
    "cltdr": PYRAMID | {"start_head", "end_head", "decls", "dereg", "cross_level", "refineHead"},
    "tcm": {"srm", "layer", "tcm", "training", "losses", "gradients"},
    "daotad": ANCHORS,
    "daotad_conv": ANCHORS,
    "afsd": AFSD,
    "afsd_bias": AFSD,
}


def test_every_file_of_the_folder_is_compared():
    assert {path.stem for path in golden.FOLDER.glob("*.safetensors")} == set(OUTPUTS)


@pytest.mark.parametrize("name", OUTPUTS)
def test_every_reference_tensor_within_tolerance(name):
    path = golden.FOLDER / f"{name}.safetensors"
    deviations = golden.compare(path, golden.system_of(path))
    assert set(deviations) == OUTPUTS[name]
    beyond = {key: (d.excess, d.notes) for key, d in deviations.items() if d.excess > 1}
    assert not beyond


@pytest.mark.parametrize(
    ("name", "weight"),
    [
        ("tmax", "cls_head.cls_head.conv.bias"),
        ("tcm", "tcm.encoder.layers.1.norm2.bias"),
        ("daotad", "head.retina_cls.bias"),
    ],
)
def test_a_wrong_weight_is_seen(tmp_path, capsys, name, weight):
    source = golden.FOLDER / f"{name}.safetensors"
    tensors = load_file(source)
    tensors[f"weights/{weight}"][0] += 0.01
    with safe_open(source, "pt") as handle:
        metadata = handle.metadata()
    save_file(tensors, tmp_path / f"my_{name}_2.safetensors", metadata)
    assert golden.main([str(tmp_path)]) == 1
    assert "BEYOND" in capsys.readouterr().out


def test_exit_codes_for_what_cannot_be_compared(tmp_path, capsys):
    assert golden.main([str(tmp_path), str(tmp_path)]) == 2
    assert golden.main([str(tmp_path)]) == 2
    save_file({"x": torch.zeros(1)}, tmp_path / "af_1.safetensors", {"config": json.dumps({"model": {}})})
    assert golden.main([str(tmp_path)]) == 1
    assert "cannot be compared" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("file", "system"),
    [
        ("af", "actionformer"),
        ("af_seed3", "actionformer"),
        ("seed3-actionformer", "actionformer"),
        ("tmax_wide", "temporalmaxer"),
        ("tridet.7", "tridet"),
        ("cltdr_levels7", "cltdr"),
        ("daotad_conv", "daotad"),
        ("tcm", "tcm"),
        ("unknown", None),
        ("after", None),
    ],
)
def test_system_by_file_name(tmp_path, file, system):
    assert golden.system_of(tmp_path / f"{file}.safetensors") == system
