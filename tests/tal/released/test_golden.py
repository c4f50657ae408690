"""Release-exact variants against tensors written by the released code bases, through the checkpoint
converter.
"""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from benchmarks import golden

FILES = ("af", "tmax", "tridet", "cltdr")


@pytest.mark.parametrize("name", FILES)
def test_every_reference_tensor_within_tolerance(shared, name):
    path = shared("golden") / f"{name}.safetensors"
    deviations = golden.compare(path, golden.system_of(path))
    assert {"backbone", "neck", "cls_head", "reg_head", "final", "losses", "gradients"} <= set(deviations)
    beyond = {key: (d.excess, d.notes) for key, d in deviations.items() if d.excess > 1}
    assert not beyond


def test_a_wrong_weight_is_seen(shared, tmp_path, capsys):
    source = shared("golden") / "tmax.safetensors"
    tensors = load_file(source)
    tensors["weights/cls_head.cls_head.conv.bias"][0] += 0.01
    with golden.safe_open(source, "pt") as handle:
        metadata = handle.metadata()
    save_file(tensors, tmp_path / "my_tmax_2.safetensors", metadata)
    assert golden.main([str(tmp_path)]) == 1
    assert "BEYOND" in capsys.readouterr().out


def test_exit_codes_for_what_cannot_be_compared(tmp_path, capsys):
    assert golden.main([]) == 2
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
        ("unknown", None),
        ("after", None),
    ],
)
def test_system_by_file_name(tmp_path, file, system):
    assert golden.system_of(tmp_path / f"{file}.safetensors") == system
