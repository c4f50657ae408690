"""TALLFormer's decoders through the memory: a killed run goes on bit for bit, its model predicts."""

import pytest
import torch
from safetensors.torch import load_file

from pipelines.train import saved_config, train
from tal import Detector
from tal.encoders import EncoderConfig, build_encoder
from tests.pipelines.tiny_run import ENCODER, Killed, killed_at, losses, make_data, make_store, tiny_config

DAOTAD = {
    "name": "daotad",
    "channels": 16,
    "num_levels": 3,
    "num_heads": 2,
    "mlp_channels": 16,
    "fpn_channels": 16,
}
AFSD = {"name": "afsd", "channels": 16, "upsample": 2, "regression_ranges": [[0, 4], [2, 8], [4, 10000]]}
DECODERS = {
    "daotad": DAOTAD | {"norm": "sync_batch"},  # statistics are carried from step to step
    "afsd-video": AFSD | {"labels": "video"},
    "afsd-segment": AFSD | {"labels": "segment"},
}


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    make_data(folder, train=4, validation=1)
    make_store(folder)
    return folder


@pytest.mark.parametrize("name", DECODERS)
def test_killed_run_goes_on_bit_for_bit_and_its_model_predicts(data, tmp_path, monkeypatch, name):
    decoder = dict(DECODERS[name])
    if name == "afsd-video":
        decoder["video_channels"] = build_encoder(EncoderConfig(**ENCODER)).channels
    config = tiny_config(
        data,
        localizer={"downsample": 2, "width": 16, "tcm": {"layers": 1, "heads": 2}, "decoder": decoder},
        train={"checkpoint_every": 2, "epochs": 3},
    )
    train(config, tmp_path / "whole")
    with monkeypatch.context() as patch:
        killed_at(patch, 4)
        with pytest.raises(Killed):
            train(config, tmp_path / "run")
    train(saved_config(tmp_path / "run"), tmp_path / "run", resume=True)
    assert len(losses(tmp_path / "whole")) == 6
    assert losses(tmp_path / "run") == losses(tmp_path / "whole")
    weights = [load_file(tmp_path / run / "model" / "model.safetensors") for run in ("run", "whole")]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[1])

    found = Detector.load(tmp_path / "run", device="cpu").predict(data / "videos" / "v04.mp4")
    assert (found["end_s"] > found["start_s"]).all()
    assert set(found["label"]) <= {"up", "down"}
