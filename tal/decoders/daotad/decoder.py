"""DaoTAD as TALLFormer uses it on THUMOS14: a one-dimensional RetinaNet over a feature pyramid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tal.decoders.base import Candidates, Decoder, StepTotals, Targets, known_at, over_processes
from tal.decoders.daotad.anchors import decode, pyramid_anchors
from tal.decoders.daotad.assign import Assignment, assign_max_iou
from tal.decoders.daotad.attention_pyramid import AttentionPyramid
from tal.decoders.daotad.config import DaoTADConfig
from tal.decoders.layers.conv_pyramid import FPN, ConvPyramid
from tal.decoders.layers.convolution import ConvStack
from tal.decoders.layers.masks import strided_masks
from tal.decoders.padded_targets import PaddedTargets, clamp_to_valid
from tal.losses import diou, sigmoid_focal


@dataclass(frozen=True)
class DaoTADOutput:
    """Predictions for N anchors.

    Attributes
    ----------
    anchors
        [N, 2] in grid units, level by level.
    per_level
        number of anchors of each level.
    valid
        bool [B, N].
    logits
        [B, N, num_classes].
    offsets
        [B, N, 2], see `tal.decoders.daotad.anchors.encode`.
    """

    anchors: Tensor
    per_level: tuple[int, ...]
    valid: Tensor
    logits: Tensor
    offsets: Tensor


class DaoTAD(Decoder):
    """Pyramid, FPN, and two towers shared by the levels: class scores and offsets of every anchor."""

    def __init__(self, config: DaoTADConfig, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.config, self.in_channels, self.num_classes = config, in_channels, num_classes
        self.pyramid: AttentionPyramid | ConvPyramid
        if config.pyramid == "attention":
            self.pyramid = AttentionPyramid(
                in_channels,
                config.channels,
                config.level_widths,
                config.num_heads,
                config.mlp_channels,
                config.dropout,
            )
        else:
            self.pyramid = ConvPyramid(
                in_channels, config.channels, config.num_levels, config.norm, config.release
            )
        width, per_position = config.fpn_channels, config.anchors_per_position
        self.fpn = FPN(self.pyramid.level_channels, width, config.norm)
        self.class_tower = ConvStack(width, width, config.head_layers, config.norm)
        self.offset_tower = ConvStack(width, width, config.head_layers, config.norm)
        self.class_head = nn.Conv1d(width, per_position * num_classes, 3, padding=1)
        self.offset_head = nn.Conv1d(width, per_position * 2, 3, padding=1)
        for part in (self.class_tower, self.offset_tower, self.class_head, self.offset_head):
            for module in part.modules():
                if isinstance(module, nn.Conv1d):
                    nn.init.normal_(module.weight, std=0.01)
        for head in (self.class_head, self.offset_head):
            assert head.bias is not None
            nn.init.zeros_(head.bias)
        assert self.class_head.bias is not None
        nn.init.constant_(self.class_head.bias, -math.log((1 - config.prior) / config.prior))

    def forward(self, features: Tensor, mask: Tensor) -> DaoTADOutput:
        config = self.config
        levels, masks = self.pyramid(features, mask)
        levels = self.fpn(levels, masks)
        batch, per_position = features.shape[0], config.anchors_per_position
        logits, offsets = [], []
        for level, level_mask in zip(levels, masks, strict=True):
            scores = self.class_head(self.class_tower(level, level_mask))  # [B, A * K, T_l]
            offset_map = self.offset_head(self.offset_tower(level, level_mask))  # [B, A * 2, T_l]
            logits.append(scores.transpose(1, 2).reshape(batch, -1, self.num_classes))
            offsets.append(offset_map.transpose(1, 2).reshape(batch, -1, 2))
        anchors, valid = self._anchors(masks)
        return DaoTADOutput(
            anchors=anchors,
            per_level=tuple(level.shape[-1] * per_position for level in levels),
            valid=valid,
            logits=torch.cat(logits, dim=1).float(),
            offsets=torch.cat(offsets, dim=1).float(),
        )

    def _anchors(self, masks: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Anchors [N, 2] of levels with these masks [B, 1, T_l], and which of them are valid, bool [B, N]."""
        config = self.config
        anchors = pyramid_anchors(
            [level.shape[-1] for level in masks],
            config.anchor_scale,
            config.anchors_per_position,
            config.anchor_position == "middle",
            masks[0].device,
        )
        valid = torch.cat(list(masks), dim=-1)[:, 0]
        return anchors, valid.repeat_interleave(config.anchors_per_position, dim=1)

    def _assign(self, anchors: Tensor, valid: Tensor, padded: PaddedTargets) -> Assignment:
        return assign_max_iou(anchors, valid, padded, self.config.positive_iou, self.config.negative_iou)

    @torch.no_grad()
    def totals(self, mask: Tensor, targets: Sequence[Targets]) -> Tensor:
        """Number of positive anchors [1], at least one for each sample."""
        return _count(self._assigned(mask, targets)).float().reshape(1)

    @torch.no_grad()
    def positives(self, mask: Tensor, targets: Sequence[Targets]) -> list[Tensor]:
        assigned = self._assigned(mask, targets)
        answers = zip(assigned.target, assigned.positive, targets, strict=True)
        return [torch.bincount(t[p], minlength=len(target.labels)) for t, p, target in answers]

    def _assigned(self, mask: Tensor, targets: Sequence[Targets]) -> Assignment:
        """What the anchors of features with this mask [B, 1, T] learn."""
        anchors, valid = self._anchors(strided_masks(mask, self.config.num_levels))
        return self._assign(anchors, valid, PaddedTargets.collate(targets, mask.device))

    def losses(
        self,
        outputs: DaoTADOutput,
        mask: Tensor,
        targets: Sequence[Targets],
        totals: StepTotals | None = None,
    ) -> dict[str, Tensor]:
        """Focal loss of all anchors that are not ignored, DIoU loss of the positive ones' decoded segments.

        Both are sums divided by the number of positive anchors of the step, at least one for each sample.

        Returns
        -------
        ``classification``, ``localization`` and their weighted sum ``loss``.
        """
        config = self.config
        padded = PaddedTargets.collate(targets, outputs.anchors.device)
        assigned = self._assign(outputs.anchors, outputs.valid, padded)
        positive = assigned.positive
        normaliser = totals.sums[0] / totals.parts if totals is not None else _shared(_count(assigned))

        labels = padded.labels.gather(1, assigned.target)
        target = torch.zeros_like(outputs.logits)
        target.scatter_(2, labels[..., None], positive[..., None].to(target.dtype))
        focal = sigmoid_focal(outputs.logits, target)
        counted = (positive | assigned.negative)[..., None]
        known = known_at(targets, outputs.anchors.mean(-1), self.num_classes)
        if known is not None:
            counted = counted & (known | (target > 0))
        classification = (focal * counted).sum() / normaliser

        # positions of the positives: as many as there are, not a loop over samples
        sample, anchor = positive.nonzero(as_tuple=True)
        predicted = decode(outputs.anchors[anchor], outputs.offsets[sample, anchor])
        segments = padded.segments[sample, assigned.target[sample, anchor]]
        localization = diou(predicted, segments).sum() / normaliser
        # without any positive the sum is over nothing: keep the offsets in the graph all the same
        localization = localization + 0.0 * outputs.offsets.sum()
        return {
            "loss": classification + config.regression_weight * localization,
            "classification": classification,
            "localization": localization,
        }

    @torch.no_grad()
    def candidates(self, outputs: DaoTADOutput, mask: Tensor) -> list[Candidates]:
        """Of each level the best anchors by their best class; every class of theirs above ``min_score``."""
        config = self.config
        scores = outputs.logits.sigmoid().masked_fill(~outputs.valid[..., None], 0.0)
        best = scores.amax(dim=2)
        kept, first = [], 0
        for count in outputs.per_level:
            top = best[:, first : first + count].topk(min(count, config.candidates_per_level), dim=1).indices
            kept.append(top.sort(dim=1).values + first)
            first += count
        chosen = torch.cat(kept, dim=1)  # [B, n]
        scores = scores.gather(1, chosen[..., None].expand(-1, -1, self.num_classes))
        offsets = outputs.offsets.gather(1, chosen[..., None].expand(-1, -1, 2))
        segments = clamp_to_valid(decode(outputs.anchors[chosen], offsets), mask)
        candidates = []
        for sample in range(len(scores)):
            keep = (scores[sample] > config.min_score) & (segments[sample, :, 1] > segments[sample, :, 0])[
                :, None
            ]
            row, label = keep.nonzero(as_tuple=True)
            candidates.append(Candidates(segments[sample, row], scores[sample, row, label], label))
        return candidates


def _count(assigned: Assignment) -> Tensor:
    """Positive anchors of the batch, at least one for each sample."""
    return assigned.positive.sum(1).clamp(min=1).sum()


def _shared(count: Tensor) -> Tensor:
    """A process's share of the sum over all processes (gradients are averaged over them)."""
    total, processes = over_processes(count)
    return total / processes
