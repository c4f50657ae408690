"""The end of a run with the encoder at rest: rows, weights and model agree, after an interruption too."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from featstore import FeatureStore
from pipelines.train import saved_config, train
from pipelines.train.run_log import read_log
from tal.encoders import EncoderConfig, build_encoder, encode_video
from tal.errors import ConfigError
from tests.pipelines.tiny_run import ENCODER, FPS, Killed, killed_at, losses, tiny_config

pytestmark = pytest.mark.usefixtures("one_thread")


def finetuning(data, **memory):
    """3 epochs of 3 steps, the last at rest."""
    return tiny_config(
        data,
        memory={"ratio": 0.5, "finetune_localizer_epochs": 1, **memory},
        optim={"encoder_lr_multiplier": 1.0},
        train={"epochs": 3, "ema_decay": 0.9, "checkpoint_every": 2, "validate_from": 99},
    )


@pytest.fixture(scope="module")
def whole_run(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "run"
    train(finetuning(data), out)
    return out


def test_stored_rows_are_those_of_the_models_encoder(data, whole_run):
    weights = load_file(whole_run / "model" / "model.safetensors")
    encoder = build_encoder(EncoderConfig(**ENCODER))
    untrained = {name: value.clone() for name, value in encoder.state_dict().items()}
    own = {k.removeprefix("encoder."): v for k, v in weights.items() if k.startswith("encoder.")}
    encoder.load_state_dict(own)
    assert any(not torch.equal(own[name], untrained[name]) for name in own)  # it did learn before
    (finetuning_began,) = read_log(whole_run, "finetune_localizer")
    with FeatureStore.open(whole_run / "memory.zarr") as memory:
        for name in ("v00", "v01", "v02", "v03", "v04", "v05"):
            rows = memory.video(name).num_rows
            path = str(data / "videos" / f"{name}.mp4")
            fresh = np.concatenate([part[:count] for _, part, count in encode_video(encoder, path, FPS)])
            np.testing.assert_allclose(memory.read(name, 0, rows), fresh[:rows], atol=1e-6)
            assert (memory.ledger(name, 0, rows)["step"] == finetuning_began["step"]).all()
    steps = read_log(whole_run, "step")
    assert [bool(s["fresh_rows"]) for s in steps] == [True] * 6 + [False] * 3
    assert all(s["encoder_grad_norm"] == 0 for s in steps[6:])


@pytest.mark.parametrize("step", [7, 9])  # right behind the encoding; within the epoch at rest
def test_a_killed_run_encodes_the_memory_again_or_not_at_all(data, whole_run, tmp_path, monkeypatch, step):
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        killed_at(patch, step)
        with pytest.raises(Killed):
            train(finetuning(data), out)
    train(saved_config(out), out, resume=True)
    assert losses(out) == losses(whole_run)
    a, b = (load_file(r / "model" / "model.safetensors") for r in (out, whole_run))
    assert all(torch.equal(a[name], b[name]) for name in b)


def test_settings_that_leave_nothing_to_learn_or_to_write_are_refused(data):
    with pytest.raises(ConfigError, match="leave the encoder none of 3 epochs"):
        finetuning(data, warmup_epochs=2)
    with pytest.raises(ConfigError, match="needs a memory that is written"):
        finetuning(data, write_back="off")
