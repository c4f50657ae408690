"""CLTDR-GMG: pyramid of GMG blocks, maps decoupled by task, predictions refined from three levels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from tal.decoders.base import StepTotals, Targets
from tal.decoders.cltdr_gmg.block import GMGBlock
from tal.decoders.cltdr_gmg.config import CltdrGmgConfig
from tal.decoders.cltdr_gmg.cross_layer import CrossLevelFusion, Decoupling
from tal.decoders.cltdr_gmg.refine import SHIFT_KERNEL, RefineHead, refined_distances, refined_logits
from tal.decoders.pyramid.backbone import Backbone
from tal.decoders.pyramid.decoder import Where, joined
from tal.decoders.pyramid.heads import LevelLayout
from tal.decoders.pyramid.outputs import Pyramid, PyramidOutput
from tal.decoders.trident.decoder import TridentDecoder, by_level

# Share of the refined predictions in the loss: hard-coded in the release, the paper does not say.
REFINED_WEIGHT = 0.7


class CltdrGmg(TridentDecoder[CltdrGmgConfig]):
    """Stem and branch are `GMGBlock`s; boundaries are `tal.decoders.trident.decoder.TridentDecoder`'s.

    Losses and candidates are `tal.decoders.pyramid.decoder.PyramidDecoder`'s; here two sets of
    predictions learn, as they come and refined, and candidates are the refined ones.
    """

    def __init__(self, config: CltdrGmgConfig, in_channels: int, num_classes: int) -> None:
        super().__init__(config, in_channels, num_classes)
        width, strict = config.embed_dim, config.strict
        self.class_decoupling = Decoupling(width, config.class_neighbours, config.fusion, strict)
        self.offset_decoupling = Decoupling(width, config.regression_neighbours, config.fusion, strict)
        self.fusion: CrossLevelFusion | None = None
        self.refine_head: RefineHead | None = None
        if config.refine != "none":
            self.fusion = CrossLevelFusion(width, strict)
            self.refine_head = RefineHead(
                self.build_tower(config.head_kernel),
                config.head_dim,
                num_classes,
                config.head_kernel,
            )

    def build_backbone(self, in_channels: int) -> Backbone:
        config = self.config
        windows = config.per_level(config.window, "window")
        stem_window = config.stem_window or windows[0]
        uses_fft = config.global_mixer == "fft" and "global" in config.granularities
        return Backbone(
            config,
            in_channels,
            lambda level, stride, drop_path: GMGBlock(config, stem_window, stride, 0.0),
            lambda level, stride, drop_path: GMGBlock(config, windows[level], stride, drop_path),
            needs_lengths=config.strict and uses_fft,
        )

    @property
    def head_gap(self) -> int:
        return max(super().head_gap, SHIFT_KERNEL // 2)

    def decouple(
        self, backbone: list[Tensor], backbone_masks: list[Tensor], maps: list[Tensor], masks: list[Tensor]
    ) -> Pyramid:
        return Pyramid(
            backbone,
            backbone_masks,
            maps,
            masks,
            class_maps=self.class_decoupling(maps, masks),
            offset_maps=self.offset_decoupling(maps, masks),
            boundary_maps=maps,
            refine_maps=self.fusion(maps, masks) if self.fusion is not None else None,
        )

    def heads(self, pyramid: Pyramid, length: int) -> PyramidOutput:
        outputs = super().heads(pyramid, length)
        if self.refine_head is None or pyramid.refine_maps is None:
            return outputs
        layout = LevelLayout.build(pyramid.masks, self.head_gap)
        start, end, confidence = self.refine_head(layout.join(pyramid.refine_maps), layout)
        return replace(outputs, start_shift=start, end_shift=end, confidence=confidence)

    # -- refinement

    @property
    def refines_classes(self) -> bool:
        return self.config.refine in ("both", "class")

    @property
    def refines_offsets(self) -> bool:
        config = self.config
        return config.refine in ("both", "offsets") and (config.trident or config.refine_direct)

    @property
    def offsets_per_class(self) -> bool:
        return self.config.trident or self.refines_offsets

    def level_logits(self, outputs: PyramidOutput, level: int) -> Tensor:
        """Refined logits [B, C, T_l]."""
        logits = outputs.logits[level]
        if not self.refines_classes or outputs.confidence is None:
            return logits
        return refined_logits(logits, outputs.confidence[level], self.config.score_rule)

    def level_scores(self, outputs: PyramidOutput, level: int) -> Tensor:
        return self.level_logits(outputs, level).float().sigmoid()

    def plain_distances(self, outputs: PyramidOutput, level: int, where: Where) -> Tensor:
        """Distances [n, 2] of one level before refinement."""
        return super().level_distances(outputs, level, where)

    def level_distances(self, outputs: PyramidOutput, level: int, where: Where) -> Tensor:
        distances = self.plain_distances(outputs, level, where)
        if not self.refines_offsets or outputs.start_shift is None or outputs.end_shift is None:
            return distances
        sample, position, label = where
        unit = 1.0 if self.config.shift_unit == "stride" else 1.0 / self.config.strides[level]
        return refined_distances(
            distances,
            outputs.start_shift[level][sample, label, position],
            outputs.end_shift[level][sample, label, position],
            unit,
        )

    # -- training

    def losses(
        self,
        outputs: PyramidOutput,
        mask: Tensor,
        targets: Sequence[Targets],
        totals: StepTotals | None = None,
    ) -> dict[str, Tensor]:
        """``loss`` and its parts: of both sets together, each set's share by `REFINED_WEIGHT`."""
        config = self.config
        assigned = self.assign(outputs, targets)
        updates = config.normaliser_updates if config.refine != "none" else 1
        first, *later = self.normalisers(assigned.num_positive, updates, totals)
        normaliser = later[-1] if later else first  # the plain set comes second
        parts: list[tuple[float, dict[str, Tensor]]] = []
        if config.refine != "none":
            logits = torch.cat(
                [self.level_logits(outputs, level) for level in range(config.levels)], dim=2
            ).transpose(1, 2)
            refined = self.set_losses(
                outputs,
                assigned,
                logits,
                lambda out, pairs: by_level(self.level_distances, out, pairs),
                config.refined_cls_loss,
                first,
                iou_power=config.iou_weight_power if self._weighs_by_iou else None,
                iou_gradient=config.iou_weight_gradient,
            )
            parts.append((REFINED_WEIGHT, self.total(*refined)))
        plain = self.set_losses(
            outputs,
            assigned,
            joined(outputs.logits),
            lambda out, pairs: by_level(self.plain_distances, out, pairs),
            config.cls_loss,
            normaliser,
        )
        parts.append((1 - REFINED_WEIGHT if parts else 1.0, self.total(*plain)))
        return {
            name: torch.stack([weight * part[name] for weight, part in parts]).sum() for name in parts[0][1]
        }

    @property
    def _weighs_by_iou(self) -> bool:
        """A target that is the IoU already needs no weight by IoU."""
        config = self.config
        return config.trident and config.refined_cls_loss in ("varifocal_label", "focal")
