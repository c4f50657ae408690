"""S3D (Xie et al., ECCV 2018), cut before its pooling over time, so that clips give rows."""

from __future__ import annotations

from typing import Any

from torch import nn

from tal.encoders.base import EncoderEntry, EncoderFamily
from tal.encoders.config import EncoderConfig
from tal.encoders.torchvision_networks import TorchvisionNetwork
from tal.encoders.video_base import VideoEncoder, refuse_drop_path


class S3dEncoder(VideoEncoder):
    """Features [B, 1024, T, h, w] averaged over space; a row every 8 frames."""

    def __init__(self, config: EncoderConfig, name: str) -> None:
        network = TorchvisionNetwork(name, "KINETICS400_V1", classifier="classifier.")
        super().__init__(config, 8, *network.statistics())
        refuse_drop_path(config)
        model: Any = network.load(config)
        model.classifier = nn.Identity()
        self.model = model
        self.channels = 1024
        layers = list(model.features)
        self.parts = [layers[:2], layers[2:5], layers[5:8], layers[8:14], layers[14:]]


S3D = EncoderFamily(
    entries=(EncoderEntry("s3d", 1024, 8, 64, 256, 224, "Kinetics-400"),),
    build=S3dEncoder,
    aliases={"torchvision:s3d": "s3d"},
)
