"""Video networks against torchvision's own forward, plain formulas, and checkpoints in other code bases'
names.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import video as models

from tal.encoders import EncoderConfig, build_encoder
from tal.encoders.base import Encoder
from tal.encoders.build import create_encoder
from tal.encoders.convert_swin import convert_mmaction_swin, mmaction_swin_name
from tal.encoders.i3d import pad_same
from tal.errors import WeightsError
from tests.tal.encoders.mmaction_names import as_mmaction


def _tiny(name: str, **changes: object) -> Encoder:
    values = {"clip_frames": 16, "size": 64, "crop": 64, "frame_stride": 2} | changes
    return build_encoder(EncoderConfig.model_validate({"name": name, **values}))


def _before_pooling(model: nn.Module, pooling: nn.Module, clip: Tensor) -> Tensor:
    """What torchvision's own forward hands to its pooling."""
    seen: list[Tensor] = []
    pooling.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        model.eval()(clip)
    return seen[0]


@pytest.mark.parametrize(
    ("name", "build", "stride"),
    [("swin3d_t", models.swin3d_t, 2), ("r2plus1d_18", models.r2plus1d_18, 8), ("s3d", models.s3d, 8)],
)
def test_equals_torchvision_before_its_pooling(name: str, build, stride: int) -> None:  # type: ignore[no-untyped-def]
    encoder = _tiny(name, frame_stride=stride)
    model = build(weights=None)
    own = model.state_dict()
    model.load_state_dict({**own, **encoder.model.state_dict()})
    if name == "s3d":  # made for 224: its own pooling does not fit smaller pictures
        model.avgpool = nn.AdaptiveAvgPool3d(1)
    clip = torch.randn(1, 3, 16, 64, 64)
    features = _before_pooling(model, model.avgpool, clip)
    with torch.no_grad():
        torch.testing.assert_close(encoder(clip), features.mean((3, 4)), atol=1e-5, rtol=1e-4)


def test_mvit_is_torchvisions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Same parameters as torchvision's builder for its one size; same tokens before the head for another."""
    with torch.device("meta"):
        theirs = models.mvit_v2_s(weights=None)
        ours = create_encoder(
            EncoderConfig(name="mvit_v2_s", clip_frames=16, frame_stride=2, size=224, crop=224)
        ).model
    shapes = {k: v.shape for k, v in theirs.state_dict().items() if not k.startswith("head.")}
    assert {k: v.shape for k, v in ours.state_dict().items()} == shapes
    for a, b in zip(ours.blocks, theirs.blocks, strict=True):
        assert str(a.attn) == str(b.attn)
    encoder = _tiny("mvit_v2_s", clip_frames=4, size=32, crop=32)
    clip = torch.randn(1, 3, 4, 32, 32)
    seen: list[Tensor] = []
    encoder.model.norm.register_forward_hook(lambda *args: seen.append(args[2]))
    with torch.no_grad():
        rows = encoder(clip)
        encoder.model(clip)  # torchvision's own forward
    torch.testing.assert_close(seen[1], seen[0])
    patches = seen[1][:, 1:]  # [B, T * h * w, C] without the class token
    torch.testing.assert_close(rows, patches.reshape(1, 2, -1, 768).mean(2).transpose(1, 2))


def test_mmaction_checkpoints_of_video_swin_load_strictly(tmp_path: Path) -> None:
    encoder = _tiny("swin3d_t", size=32, crop=32)
    classifier = {"cls_head.fc_cls.weight": torch.zeros(400, 768), "cls_head.fc_cls.bias": torch.zeros(400)}
    state = classifier | as_mmaction(encoder.model.state_dict())
    assert (
        "backbone.layers.3.blocks.1.mlp.fc2.bias" in state
        and "backbone.layers.2.downsample.norm.bias" in state
    )
    path = tmp_path / "swin.pth"
    torch.save({"state_dict": state, "meta": {"epoch": 30}}, path)
    tiny = {
        "name": "swin3d_t",
        "clip_frames": 16,
        "frame_stride": 2,
        "size": 64,
        "crop": 64,
        "weights": str(path),
    }
    again = build_encoder(EncoderConfig.model_validate(tiny), seed=5)
    assert again.weights_sha256 == encoder.weights_sha256
    del state["backbone.layers.0.blocks.0.attn.qkv.weight"]
    torch.save({"state_dict": state}, path)
    with (
        pytest.raises(WeightsError, match=r"1 missing: features\.0\.0\.attn\.qkv\.weight"),
        torch.device("meta"),
    ):
        create_encoder(EncoderConfig.model_validate(tiny))
    state["backbone.neck.conv.weight"] = torch.zeros(1)
    with pytest.raises(WeightsError, match=r"backbone\.neck\.conv\.weight"):
        convert_mmaction_swin(state, "swin.pth")


@pytest.mark.parametrize("name", ["swin3d_t", "swin3d_s", "swin3d_b"])
def test_the_size_of_an_mmaction_checkpoint_is_told_by_its_shapes(name: str) -> None:
    with torch.device("meta"):
        encoder = create_encoder(EncoderConfig(name=name, clip_frames=16, frame_stride=2))
    state = as_mmaction(encoder.model.state_dict(), tallformer=True)
    assert mmaction_swin_name(state, "swin.pth") == name
    renamed = convert_mmaction_swin(state, "swin.pth")
    own = {k for k in encoder.model.state_dict() if not k.endswith("relative_position_index")}
    assert set(renamed) == own
    narrow = {**state, "backbone.patch_embed.proj.weight": torch.zeros(64, 3, 2, 4, 4)}
    with pytest.raises(WeightsError, match="64 channels with"):
        mmaction_swin_name(narrow, "swin.pth")
    with pytest.raises(WeightsError, match="not a Video Swin"):
        mmaction_swin_name({"backbone.conv1.weight": torch.zeros(1)}, "i3d.pth")


def _i3d_state() -> dict[str, Tensor]:
    """A state dict in pytorch-i3d's naming, written down here: units of convolution and batch norm, four
    branches.
    """
    units = {
        "Conv3d_1a_7x7": (3, 64, 7),
        "Conv3d_2b_1x1": (64, 64, 1),
        "Conv3d_2c_3x3": (64, 192, 3),
    }
    mixed = {
        "3b": (192, 64, 96, 128, 16, 32, 32),
        "3c": (256, 128, 128, 192, 32, 96, 64),
        "4b": (480, 192, 96, 208, 16, 48, 64),
        "4c": (512, 160, 112, 224, 24, 64, 64),
        "4d": (512, 128, 128, 256, 24, 64, 64),
        "4e": (512, 112, 144, 288, 32, 64, 64),
        "4f": (528, 256, 160, 320, 32, 128, 128),
        "5b": (832, 256, 160, 320, 32, 128, 128),
        "5c": (832, 384, 192, 384, 48, 128, 128),
    }
    for name, (c, b0, b1a, b1b, b2a, b2b, b3b) in mixed.items():
        units |= {
            f"Mixed_{name}.b0": (c, b0, 1),
            f"Mixed_{name}.b1a": (c, b1a, 1),
            f"Mixed_{name}.b1b": (b1a, b1b, 3),
            f"Mixed_{name}.b2a": (c, b2a, 1),
            f"Mixed_{name}.b2b": (b2a, b2b, 3),
            f"Mixed_{name}.b3b": (c, b3b, 1),
        }
    rng = torch.Generator().manual_seed(0)
    state = {}
    for name, (channels_in, channels, kernel) in units.items():
        shape = (channels, channels_in, kernel, kernel, kernel)
        state[f"{name}.conv3d.weight"] = (
            torch.randn(shape, generator=rng) * (2 / (channels_in * kernel**3)) ** 0.5
        )
        state[f"{name}.bn.weight"] = torch.rand(channels, generator=rng) + 0.5
        state[f"{name}.bn.bias"] = torch.randn(channels, generator=rng) * 0.1
        state[f"{name}.bn.running_mean"] = torch.randn(channels, generator=rng) * 0.1
        state[f"{name}.bn.running_var"] = torch.rand(channels, generator=rng) + 0.5
    state["logits.conv3d.weight"] = torch.zeros(400, 1024, 1, 1, 1)
    state["logits.conv3d.bias"] = torch.zeros(400)
    return state


def _i3d_plain(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """The network from its published table, as functions on that state dict."""

    def same(x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
        pads: list[int] = []
        for n, k, s in zip(x.shape[2:], kernel, stride, strict=True):
            total = max((-(-n // s) - 1) * s + k - n, 0)
            pads = [total // 2, total - total // 2, *pads]
        return F.pad(x, pads)

    def unit(name: str, x: Tensor, stride: int = 1) -> Tensor:
        weight = state[f"{name}.conv3d.weight"]
        x = F.conv3d(same(x, tuple(weight.shape[2:]), (stride,) * 3), weight, stride=stride)
        mean, var = state[f"{name}.bn.running_mean"], state[f"{name}.bn.running_var"]
        return F.relu(
            F.batch_norm(x, mean, var, state[f"{name}.bn.weight"], state[f"{name}.bn.bias"], eps=1e-3)
        )

    def pool(x: Tensor, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> Tensor:
        return F.max_pool3d(same(x, kernel, stride), kernel, stride)

    def mixed(name: str, x: Tensor) -> Tensor:
        n = f"Mixed_{name}"
        pooled = pool(x, (3, 3, 3), (1, 1, 1))
        one, two = unit(f"{n}.b1b", unit(f"{n}.b1a", x)), unit(f"{n}.b2b", unit(f"{n}.b2a", x))
        return torch.cat([unit(f"{n}.b0", x), one, two, unit(f"{n}.b3b", pooled)], 1)

    x = pool(unit("Conv3d_1a_7x7", x, 2), (1, 3, 3), (1, 2, 2))
    x = pool(unit("Conv3d_2c_3x3", unit("Conv3d_2b_1x1", x)), (1, 3, 3), (1, 2, 2))
    x = pool(mixed("3c", mixed("3b", x)), (3, 3, 3), (2, 2, 2))
    for name in ("4b", "4c", "4d", "4e", "4f"):
        x = mixed(name, x)
    return mixed("5c", mixed("5b", pool(x, (2, 2, 2), (2, 2, 2))))


def test_i3d_loads_the_known_naming_and_equals_plain_functions(tmp_path: Path) -> None:
    state = _i3d_state()
    path = tmp_path / "rgb.pt"
    torch.save(state, path)
    encoder = _tiny("i3d", frame_stride=8, weights=str(path))
    clip = torch.rand(1, 3, 16, 64, 64) * 2 - 1
    with torch.no_grad():
        expected = _i3d_plain(state, clip).mean((3, 4))
        torch.testing.assert_close(encoder(clip), expected, atol=1e-4, rtol=1e-4)
    del state["Mixed_4c.b2b.conv3d.weight"]
    torch.save(state, path)
    with pytest.raises(WeightsError, match=r"1 missing: Mixed_4c\.b2b\.conv3d\.weight"):
        create_encoder(EncoderConfig(name="i3d", weights=str(path), frame_stride=8))


def test_same_padding_halves_upwards() -> None:
    for length in range(1, 20):
        for kernel, stride in ((1, 1), (3, 1), (3, 2), (7, 2), (2, 2)):
            x = pad_same(torch.ones(1, 1, length, 4, 4), (kernel, 1, 1), (stride, 1, 1))
            assert (x.shape[2] - kernel) // stride + 1 == -(-length // stride)


def test_drop_path_grows_with_depth() -> None:
    with torch.device("meta"):
        config = EncoderConfig(name="swin3d_t", frame_stride=2, drop_path=0.2)
        encoder = create_encoder(config)
    rates = [m.p for m in encoder.modules() if type(m).__name__ == "StochasticDepth"]
    assert rates == pytest.approx([0.2 * i / 11 for i in range(12)])


def test_published_weights_that_cannot_be_had_say_where_to_put_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch.hub

    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError("no route")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    config = EncoderConfig(name="r2plus1d_18", weights="pretrained", frame_stride=8)
    with pytest.raises(WeightsError, match=r"r2plus1d_18-91a641e6\.pth"), torch.device("meta"):
        create_encoder(config)
