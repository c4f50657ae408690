"""I3D, the RGB stream (Carreira & Zisserman, CVPR 2017), with pytorch-i3d's parameter names.

Inception-v1 inflated to 3-D with TensorFlow's "same" padding, which depends on the input size and is uneven.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tal.encoders.base import EncoderEntry, EncoderFamily
from tal.encoders.config import EncoderConfig
from tal.encoders.video_base import VideoEncoder, refuse_drop_path
from tal.errors import WeightsError
from tal.shared.weights import check_sha256, file_sha256, load_strict, read_state

Size = tuple[int, int, int]

# input channels; widths of: 1x1 | 1x1 -> 3x3 | 1x1 -> 3x3 | pool -> 1x1 (table 1 of Szegedy et al., 2015)
_MIXED: dict[str, tuple[int, tuple[int, int, int, int, int, int]]] = {
    "Mixed_3b": (192, (64, 96, 128, 16, 32, 32)),
    "Mixed_3c": (256, (128, 128, 192, 32, 96, 64)),
    "Mixed_4b": (480, (192, 96, 208, 16, 48, 64)),
    "Mixed_4c": (512, (160, 112, 224, 24, 64, 64)),
    "Mixed_4d": (512, (128, 128, 256, 24, 64, 64)),
    "Mixed_4e": (512, (112, 144, 288, 32, 64, 64)),
    "Mixed_4f": (528, (256, 160, 320, 32, 128, 128)),
    "Mixed_5b": (832, (256, 160, 320, 32, 128, 128)),
    "Mixed_5c": (832, (384, 192, 384, 48, 128, 128)),
}


def pad_same(x: Tensor, kernel: Size, stride: Size) -> Tensor:
    """Zeros so that each output length is ceil(input / stride); the odd one goes behind."""
    padding: list[int] = []
    for length, k, s in reversed(list(zip(x.shape[2:], kernel, stride, strict=True))):
        total = max(k - (s if length % s == 0 else length % s), 0)
        padding += [total // 2, total - total // 2]
    return F.pad(x, padding) if any(padding) else x


class Unit(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(
        self, channels_in: int, channels: int, kernel: Size = (1, 1, 1), stride: Size = (1, 1, 1)
    ) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride
        self.conv3d = nn.Conv3d(channels_in, channels, kernel, stride, bias=False)
        self.bn = nn.BatchNorm3d(channels, eps=0.001, momentum=0.01)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv3d(pad_same(x, self.kernel, self.stride))))


class Pool(nn.Module):
    """Largest value of each window; the border is padded with zeros, as in TensorFlow.

    Inputs are not negative.
    """

    def __init__(self, kernel: Size, stride: Size) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool3d(pad_same(x, self.kernel, self.stride), self.kernel, self.stride)


class Mixed(nn.Module):
    """Four branches side by side."""

    def __init__(self, channels_in: int, widths: tuple[int, int, int, int, int, int]) -> None:
        super().__init__()
        self.b0 = Unit(channels_in, widths[0])
        self.b1a = Unit(channels_in, widths[1])
        self.b1b = Unit(widths[1], widths[2], (3, 3, 3))
        self.b2a = Unit(channels_in, widths[3])
        self.b2b = Unit(widths[3], widths[4], (3, 3, 3))
        self.b3a = Pool((3, 3, 3), (1, 1, 1))
        self.b3b = Unit(channels_in, widths[5])

    def forward(self, x: Tensor) -> Tensor:
        branches = (self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(self.b3a(x)))
        return torch.cat(branches, dim=1)


class I3d(nn.Module):
    """The network up to Mixed_5c."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv3d_1a_7x7 = Unit(3, 64, (7, 7, 7), (2, 2, 2))
        self.MaxPool3d_2a_3x3 = Pool((1, 3, 3), (1, 2, 2))
        self.Conv3d_2b_1x1 = Unit(64, 64)
        self.Conv3d_2c_3x3 = Unit(64, 192, (3, 3, 3))
        self.MaxPool3d_3a_3x3 = Pool((1, 3, 3), (1, 2, 2))
        for name, (channels, widths) in _MIXED.items():
            if name == "Mixed_4b":
                self.MaxPool3d_4a_3x3 = Pool((3, 3, 3), (2, 2, 2))
            elif name == "Mixed_5b":
                self.MaxPool3d_5a_2x2 = Pool((2, 2, 2), (2, 2, 2))
            self.add_module(name, Mixed(channels, widths))

    def forward(self, x: Tensor) -> Tensor:
        for part in self.children():
            x = part(x)
        return x


class I3dEncoder(VideoEncoder):
    """Frames scaled to [-1, 1] -> features of Mixed_5c averaged over space: [B, 1024, L / 8]."""

    def __init__(self, config: EncoderConfig, name: str) -> None:
        super().__init__(config, 8, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
        refuse_drop_path(config)
        self.model = I3d()
        self.channels = 1024
        children = dict(self.model.named_children())
        stage_starts = ("Conv3d_2b_1x1", "Mixed_3b", "Mixed_4b", "Mixed_5b")
        self.parts = [[]]
        for name, part in children.items():
            if name in stage_starts:
                self.parts.append([])
            self.parts[-1].append(part)
        if config.weights is not None:
            self._load(config.weights, config.weights_sha256)

    def _load(self, weights: str, sha256: str | None) -> None:
        if weights in ("pretrained", "pypi"):
            raise WeightsError(
                "i3d has no published weights on a hub: name a file in pytorch-i3d's naming (rgb_imagenet.pt)"
            )
        state = read_state(weights)
        check_sha256(sha256, {"file": file_sha256(Path(weights))}, weights)
        load_strict(self.model, {k: v for k, v in state.items() if not k.startswith("logits.")}, weights)


I3D = EncoderFamily(
    entries=(EncoderEntry("i3d", 1024, 8, 64, 256, 224, "file in pytorch-i3d's naming", "RGB stream"),),
    build=I3dEncoder,
)
