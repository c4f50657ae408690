"""TriDet: pyramid of SGP blocks, trident head, classification loss of positives weighted by IoU."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from tal.decoders.base import StepTotals, Targets
from tal.decoders.pyramid.backbone import Backbone
from tal.decoders.pyramid.decoder import joined
from tal.decoders.pyramid.outputs import PyramidOutput
from tal.decoders.trident.decoder import TridentDecoder
from tal.decoders.tridet.block import SGPBlock
from tal.decoders.tridet.config import TriDetConfig


class TriDet(TridentDecoder[TriDetConfig]):
    """Stem and branch are `SGPBlock`s; boundaries are `tal.decoders.trident.decoder.TridentDecoder`'s.

    Losses and candidates are `tal.decoders.pyramid.decoder.PyramidDecoder`'s; with a trident head the
    classification loss of positives is weighted by IoU.
    """

    def build_backbone(self, in_channels: int) -> Backbone:
        config = self.config
        windows = config.per_level(config.window, "window")
        return Backbone(
            config,
            in_channels,
            lambda level, stride, drop_path: SGPBlock(config, 1, stride, 0.0),
            lambda level, stride, drop_path: SGPBlock(config, windows[level], stride, drop_path),
        )

    def losses(
        self,
        outputs: PyramidOutput,
        mask: Tensor,
        targets: Sequence[Targets],
        totals: StepTotals | None = None,
    ) -> dict[str, Tensor]:
        config = self.config
        assigned = self.assign(outputs, targets)
        classification, regression = self.set_losses(
            outputs,
            assigned,
            joined(outputs.logits),
            self.distances,
            config.cls_loss,
            self.normalisers(assigned.num_positive, 1, totals)[0],
            iou_power=config.iou_weight_power if config.trident else None,
            iou_gradient=config.iou_weight_gradient,
        )
        return self.total(classification, regression)
