"""Video Swin (Liu et al., CVPR 2022), cut before its pooling over time, so that clips give rows."""

from __future__ import annotations

from functools import partial
from typing import Any, cast

from torch import Tensor, nn

from tal.encoders.adapters.places import AdapterPlace, volume_place
from tal.encoders.base import EncoderEntry, EncoderFamily
from tal.encoders.config import EncoderConfig
from tal.encoders.torchvision_networks import TorchvisionNetwork
from tal.encoders.video_base import VideoEncoder, set_drop_path

_DEFAULTS = {
    "swin3d_t": "KINETICS400_V1",
    "swin3d_s": "KINETICS400_V1",
    "swin3d_b": "KINETICS400_IMAGENET22K_V1",
}


class SwinEncoder(VideoEncoder):
    """Tokens are averaged over space only, time is kept: a row every 2 frames (TALLFormer §3.2)."""

    def __init__(self, config: EncoderConfig, name: str) -> None:
        from torchvision.models import get_model_builder
        from torchvision.ops import StochasticDepth

        from tal.encoders.window_attention import fused_block

        network = TorchvisionNetwork(name, _DEFAULTS[name], classifier="head.")
        super().__init__(config, 2, *network.statistics())
        model = network.load(config, partial(get_model_builder(name), block=fused_block))
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

    def adapter_places(self) -> list[AdapterPlace]:
        return [
            volume_place(block, stage, block.norm1.normalized_shape[0])
            for stage, blocks in enumerate(self.parts)
            for block in cast(list[Any], blocks)
            if hasattr(block, "attn")  # not a merger, nor the stem
        ]

    def finish(self, x: Tensor) -> Tensor:
        return self.model.norm(x).mean((2, 3)).transpose(1, 2)  # [B, T, h, w, C] -> [B, C, T]


_MMACTION = "mmaction checkpoints load too"
SWIN = EncoderFamily(
    entries=(
        EncoderEntry("swin3d_t", 768, 2, 32, 256, 224, "Kinetics-400", f"Video Swin T; {_MMACTION}"),
        EncoderEntry("swin3d_s", 768, 2, 32, 256, 224, "Kinetics-400", f"Video Swin S; {_MMACTION}"),
        EncoderEntry(
            "swin3d_b", 1024, 2, 32, 256, 224, "Kinetics-400 (from ImageNet-22k)", "TALLFormer's encoder"
        ),
    ),
    build=SwinEncoder,
    aliases={
        f"{prefix}{size}": f"swin3d_{size}"
        for prefix in ("videoswin_", "video_swin_", "torchvision:swin3d_")
        for size in "tsb"
    },
)
