"""R(2+1)D-18 (Tran et al., CVPR 2018), cut before its pooling over time, so that clips give rows."""

from __future__ import annotations

from typing import Any

from torch import nn

from tal.encoders.base import EncoderEntry, EncoderFamily
from tal.encoders.config import EncoderConfig
from tal.encoders.torchvision_networks import TorchvisionNetwork
from tal.encoders.video_base import VideoEncoder, refuse_drop_path


class R2plus1dEncoder(VideoEncoder):
    """Features [B, 512, T, h, w] averaged over space; a row every 8 frames."""

    def __init__(self, config: EncoderConfig, name: str) -> None:
        network = TorchvisionNetwork(name, "KINETICS400_V1", classifier="fc.")
        super().__init__(config, 8, *network.statistics())
        refuse_drop_path(config)
        model: Any = network.load(config)
        model.fc = nn.Identity()
        self.model = model
        self.channels = 512
        residual = (model.layer1, model.layer2, model.layer3, model.layer4)
        self.parts = [[model.stem], *(list(layer) for layer in residual)]


R2PLUS1D = EncoderFamily(
    entries=(EncoderEntry("r2plus1d_18", 512, 8, 16, 128, 112, "Kinetics-400"),),
    build=R2plus1dEncoder,
    aliases={"torchvision:r2plus1d_18": "r2plus1d_18"},
)
