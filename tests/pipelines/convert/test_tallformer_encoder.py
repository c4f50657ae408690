"""A whole TALLFormer checkpoint: its Video Swin, of random weights, sees videos as it did before."""

import numpy as np
import pytest
import torch

from pipelines.convert.run import convert
from tal.encoders import EncoderConfig, build_encoder, encode_video
from tal.errors import CheckpointError
from tal.inference.detector import Detector
from tal.inference.localize import localize
from tests.pipelines.convert.tallformer_files import behind_consistency
from tests.tal.encoders.mmaction_names import as_mmaction
from tests.tal.video.blocks import write_blocks

SMALL = """
extends: tallformer/thumos14-swint
encoder: {size: 32, crop: 32, clip_frames: 16}
localizer: {width: 64, decoder: {channels: 64, mlp_channels: 256, fpn_channels: 32}}
"""


@pytest.fixture(scope="module")
def encoder():
    sizes = {"clip_frames": 16, "frame_stride": 2, "size": 32, "crop": 32}
    return build_encoder(EncoderConfig(name="swin3d_t", **sizes), seed=3)


@pytest.fixture(scope="module")
def weights(encoder):
    """As the trainer for THUMOS14 writes them: everything at the top, under the model's own names."""
    weights = behind_consistency("daotad")
    weights["neck.0.conv1.weight"] = 0.02 * torch.randn(
        64, 768, 3, generator=torch.Generator().manual_seed(0)
    )
    return as_mmaction(encoder.model.state_dict(), tallformer=True) | weights


@pytest.fixture
def config(tmp_path):
    (tmp_path / "small.yaml").write_text(SMALL)
    return tmp_path / "small.yaml"


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "new.mp4"
    return write_blocks(path, 15.0, 100, np.random.default_rng(0), side=8)


def test_a_converted_model_sees_videos(tmp_path, encoder, weights, config, video):
    torch.save(weights, tmp_path / "epoch_1000_weights.pth")
    made = convert(tmp_path / "epoch_1000_weights.pth", "tallformer", tmp_path / "model", config)
    assert made.assumed == () and made.channels == 768
    detector = Detector.load(made.folder, device="cpu")
    rows = np.concatenate([rows for _, rows, _ in encode_video(encoder, video, 15.0)])
    again = np.concatenate([rows for _, rows, _ in encode_video(detector.encoder, video, 15.0)])
    assert np.array_equal(rows, again)
    assert detector.folder.provenance["features"]["weights"] == encoder.weights_sha256
    found = detector.predict(video)
    expected = localize(
        detector.localizer, rows, encoder.grid.rows_at(15.0), detector.config.windows, 100 / 15
    )
    assert len(found) == len(expected) > 20
    assert np.array_equal(found["score"], expected["score"])
    parameters = [*encoder.parameters(), *detector.localizer.parameters()]
    assert made.parameters == sum(p.numel() for p in parameters)


def test_the_encoder_must_be_the_configurations_and_give_the_rows_that_follow(tmp_path, weights, config):
    def refused(weights, message, source):
        torch.save(weights, tmp_path / "c.pth")
        with pytest.raises(CheckpointError, match=message):
            convert(tmp_path / "c.pth", "tallformer", tmp_path / "model", source)
        assert not (tmp_path / "model").exists()

    config.write_text(SMALL.replace("thumos14-swint", "thumos14"))
    refused(weights, "encoder.name: swin3d_b in .*small.yaml, swin3d_t in the checkpoint", config)
    config.write_text(SMALL.replace("clip_frames: 16", "clip_frames: 16, adapter: {kind: lora}"))
    refused(weights, "encoder.adapter: lora in .*, none in the checkpoint", config)
    narrow = weights | {"neck.0.conv1.weight": torch.zeros(64, 48, 3)}
    refused(narrow, "rows of 768 channels, and what follows takes 48", None)
    less = {k: v for k, v in weights.items() if k != "backbone.layers.3.blocks.1.mlp.fc2.bias"}
    refused(less, r"1 missing: features\.6\.1\.mlp\.3\.bias", None)
    more = weights | {"backbone.layers.0.blocks.0.adapter.weight": torch.zeros(1)}
    refused(more, "1 unexpected: .*adapter", None)
    other = {k: v for k, v in weights.items() if not k.startswith("backbone.")}
    refused(other | {"backbone._model.Conv3d_1a_7x7.weight": torch.zeros(1)}, "not a Video Swin", None)
