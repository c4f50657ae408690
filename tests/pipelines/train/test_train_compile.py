"""A compiled localizer through the trainer: the same steps, the same folder."""

import functools

import pytest
import torch
from safetensors.torch import load_file

from pipelines.train import saved_config, train
from pipelines.train.run_log import read_log
from tests.pipelines.tiny_run import make_data, make_store, tiny_config
from tests.pipelines.train.test_train_accumulate import DECODERS

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]


@pytest.mark.parametrize("backend", ["eager", "inductor"])
def test_a_compiled_run_takes_the_steps_of_a_plain_one_and_goes_on(tmp_path, monkeypatch, backend):
    """``eager`` traces only: what breaks there is the trainer's; ``inductor`` is what a user gets."""
    make_data(tmp_path)
    make_store(tmp_path)
    real = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", functools.partialmethod(real, backend=backend))
    torch._dynamo.reset()
    logs = []
    for compiled in (False, True):
        out = tmp_path / str(compiled)
        config = tiny_config(
            tmp_path,
            localizer={"decoder": DECODERS["actionformer"]},
            train={"compile": compiled, "ema_decay": 0.9},
        )
        train(config, out)
        logs.append(read_log(out, "step"))
    for plain, fast in zip(*logs, strict=True):
        assert fast["loss"] == pytest.approx(plain["loss"], rel=1e-3)
        assert fast["grad_norm"] == pytest.approx(plain["grad_norm"], rel=1e-2)
    first, second = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("False", "True"))
    assert first.keys() == second.keys()
    result = train(saved_config(tmp_path / "True"), tmp_path / "True", resume=True)
    assert result.step == len(logs[0])
