"""The part after the encoder: downsampling, consistency module, decoder. Rows in, segments out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from tal.config import Config
from tal.decoders import DecoderConfig, build_decoder
from tal.decoders.actionformer import ActionFormerConfig
from tal.decoders.base import Candidates, StepTotals, Targets
from tal.decoders.layers.masks import valid_lengths
from tal.errors import ConfigError
from tal.localizer.age import AgeEmbedding
from tal.localizer.consistency import ConsistencyModule, TcmConfig
from tal.localizer.downsampling import TemporalDownsampling
from tal.localizer.row_classifier import RowClassifier


class LocalizerConfig(Config):
    """What comes after the encoder. Without ``downsample`` and ``tcm`` the decoder takes rows as they are."""

    downsample: int = Field(1, ge=1, description="rows per decoder position, a power of two (TALLFormer: 4)")
    width: int = Field(512, ge=1, description="channels after downsampling and in the consistency module")
    tcm: TcmConfig = TcmConfig()
    row_loss: float = Field(
        0.0,
        ge=0,
        description="weight of the loss of a linear classifier of single rows, which teaches the encoder "
        "through every fresh row; 0: none",
    )
    age_embedding: bool = Field(False, description="tell the model how old each row is")
    one_class: bool = Field(
        False, description="find actions of any class as one; inference.video_scores names them"
    )
    decoder: DecoderConfig = ActionFormerConfig()

    @property
    def has_downsampling(self) -> bool:
        """Whether rows pass a convolution to ``width`` channels before the decoder."""
        return self.downsample > 1 or self.tcm.layers > 0


class Localizer(nn.Module):
    """features [B, C, T] in rows, mask bool [B, 1, T] -> whatever `losses` and `candidates` need.

    Segments of targets and candidates are in the decoder's grid: positions of `downsample` rows each
    (`tal.grid.FeatureGrid.downsampled`).
    """

    def __init__(
        self, config: LocalizerConfig, in_channels: int, num_classes: int, max_rows: int = 2304
    ) -> None:
        super().__init__()
        if config.tcm.layers and config.width % config.tcm.heads:
            raise ConfigError(
                f"localizer.width {config.width} is not a multiple of localizer.tcm.heads {config.tcm.heads}"
            )
        self.config = config
        self.downsample = config.downsample
        self.in_channels, self.num_classes = in_channels, num_classes
        self.age = AgeEmbedding(in_channels) if config.age_embedding else None
        self.downsampling: TemporalDownsampling | None = None
        self.tcm: ConsistencyModule | None = None
        width = in_channels
        if config.has_downsampling:
            width = config.width
            self.downsampling = TemporalDownsampling(in_channels, width, config.downsample)
        if config.tcm.layers:
            positions = config.tcm.max_positions or -(-max_rows // config.downsample)
            self.tcm = ConsistencyModule(width, config.tcm, positions)
        self.decoder = build_decoder(config.decoder, width, 1 if config.one_class else num_classes)
        asked = self.decoder.video_channels
        if asked not in (0, in_channels):
            raise ConfigError(
                f"localizer.decoder.video_channels is {asked}, but the encoder has {in_channels} channels: "
                f"set it to {in_channels}, or to 0 to classify the decoder's input"
            )

        self.row_classifier: RowClassifier | None = None
        if config.row_loss:
            self.row_classifier = RowClassifier(in_channels, self.decoder.num_classes)

    def forward(
        self, features: Tensor, mask: Tensor, age: Tensor | None = None, host_mask: Tensor | None = None
    ) -> tuple[Any, Tensor]:
        """``age`` [B, T] in optimizer steps, 0 for rows encoded now; None: all rows are.

        ``host_mask``: the mask again, on the host, from who has it there; lengths are then not asked of a
        device. Returns the decoder's outputs and the mask on its grid [B, 1, T / downsample].
        """
        if self.age is not None:
            features = self.age(features, age)
        extra: dict[str, Any] = {}
        if self.decoder.video_channels:
            extra = {"video_features": features, "video_mask": mask}
        if self.decoder.wants_lengths and host_mask is not None:
            extra["lengths"] = valid_lengths(host_mask[..., :: self.downsample])
        if self.downsampling is not None:
            features, mask = self.downsampling(features, mask)
        if self.tcm is not None:
            features = self.tcm(features, mask)
        return self.decoder(features, mask, **extra), mask

    def losses(
        self, outputs: tuple[Any, Tensor], targets: Sequence[Targets], totals: StepTotals | None = None
    ) -> dict[str, Tensor]:
        """Scalar losses; ``"loss"`` is the one to take the gradient of. Targets in the decoder's grid."""
        return self.decoder.losses(outputs[0], outputs[1], self.decoder_targets(targets), totals)

    def totals(self, mask: Tensor, targets: Sequence[Targets]) -> Tensor | None:
        """`Decoder.totals` of a part of a step; mask bool [B, 1, T] of its rows."""
        return self.decoder.totals(mask[..., :: self.downsample], self.decoder_targets(targets))

    def positives(self, mask: Tensor, targets: Sequence[Targets]) -> list[Tensor]:
        """`Decoder.positives`, long [N] for each sample; mask bool [B, 1, T] of rows."""
        return self.decoder.positives(mask[..., :: self.downsample], targets)

    def decoder_targets(self, targets: Sequence[Targets]) -> Sequence[Targets]:
        """Ground truth in the decoder's classes: with ``one_class`` every label is 0."""
        if not self.config.one_class:
            return targets
        return [
            Targets(
                t.segments,
                torch.zeros_like(t.labels),
                None if t.video_label is None else min(0, t.video_label),
                None if t.known is None else t.known.all(0, keepdim=True),
            )
            for t in targets
        ]

    def candidates(self, outputs: tuple[Any, Tensor]) -> list[Candidates]:
        """Detections of each sample before suppression, in the decoder's grid."""
        return self.decoder.candidates(outputs[0], outputs[1])
