"""The decoder that ActionFormer, TemporalMaxer, TriDet and CLTDR-GMG are: pyramid, heads, losses, candidates.

A subclass says how the backbone's blocks and the neck's norms are made; CLTDR-GMG adds its cross-layer parts.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tal.decoders.base import (
    Candidates,
    Decoder,
    StepTotals,
    Targets,
    as_own_classes,
    joined_candidates,
    known_at,
    over_processes,
)
from tal.decoders.layers.masks import masked, strided
from tal.decoders.layers.norms import ChannelNorm, GroupNorm, NoNorm
from tal.decoders.pyramid.assign import (
    Assignment,
    BatchAssignment,
    Pairs,
    Points,
    assign_by_center,
    assign_sim_ota,
)
from tal.decoders.pyramid.backbone import Backbone, LevelNorms
from tal.decoders.pyramid.config import PyramidConfig
from tal.decoders.pyramid.heads import ClassHead, LevelLayout, OffsetHead, Tower
from tal.decoders.pyramid.outputs import Pyramid, PyramidOutput
from tal.errors import ConfigError
from tal.losses import diou_offsets, giou_offsets, quality_focal, sigmoid_focal, smooth_labels, varifocal

ConfigT = TypeVar("ConfigT", bound=PyramidConfig)

# What the running mean of positives keeps of itself in a step, as all four releases have it.
NORMALISER_MOMENTUM = 0.9
# Sample, point and class of some predictions, [n] each.
Where = tuple[Tensor, Tensor, Tensor]
DistanceDecoder = Callable[[PyramidOutput, Pairs], Tensor]


class PyramidDecoder(Decoder, Generic[ConfigT]):
    """features [B, C, T], mask bool [B, 1, T] -> `PyramidOutput`."""

    loss_normaliser: Tensor

    def __init__(self, config: ConfigT, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.config = config
        self.in_channels, self.num_classes = in_channels, num_classes
        self.finest_stride = config.strides[0]
        self.backbone = self.build_backbone(in_channels)
        self.neck = LevelNorms(self.build_norms(), config.first_level)
        self.class_head = self.build_class_head(config.head_kernel)
        self.offset_head = OffsetHead(
            self.build_tower(config.head_kernel),
            config.head_dim,
            self.num_offsets,
            config.head_kernel,
            config.levels,
        )
        # mean number of positive points a step; a buffer, so that training goes on from it
        self.register_buffer("loss_normaliser", torch.tensor(float(config.initial_normaliser)))

    # -- how it is built

    @abstractmethod
    def build_backbone(self, in_channels: int) -> Backbone:
        """Embedding, stem and branch."""

    def build_norms(self) -> list[nn.Module]:
        """One norm for each level with heads."""
        config = self.config
        make: dict[str, Callable[[], nn.Module]] = {
            "channel": lambda: ChannelNorm(config.embed_dim, config.strict),
            "group": lambda: GroupNorm(config.embed_dim, config.neck_groups, config.strict, affine=False),
            "none": NoNorm,
        }
        return [make[config.neck_norm]() for _ in range(config.levels)]

    def build_tower(self, kernel: int) -> Tower:
        config = self.config
        return Tower(
            config.embed_dim, config.head_dim, config.head_layers, kernel, config.head_norm, config.strict
        )

    def build_class_head(self, kernel: int) -> ClassHead:
        config = self.config
        tower = self.build_tower(kernel)
        return ClassHead(
            tower, config.head_dim, self.num_classes, kernel, config.class_prior, config.empty_classes
        )

    @property
    def num_offsets(self) -> int:
        """Channels of the offset head."""
        return 2

    @property
    def head_gap(self) -> int:
        """Zeros between levels in a head's joined sequence: half of its widest kernel."""
        return self.config.head_kernel // 2

    @property
    def receptive_margin(self) -> int | None:
        """Positions to each side that an output can depend on; None: the whole sequence."""
        return None

    def padded_length(self, length: int) -> int:
        """Positions that an input is padded to: a multiple of the coarsest stride.

        With release masking at least ``max_positions``, and beyond that a multiple of ``pad_multiple``.
        """
        config = self.config
        coarsest = config.strides[-1]
        if config.masking == "release":
            if length <= config.max_positions:
                return -(-config.max_positions // coarsest) * coarsest
            coarsest = max(coarsest, config.pad_multiple)
        return -(-length // coarsest) * coarsest

    # -- forward

    @property
    def wants_lengths(self) -> bool:
        return self.backbone.needs_lengths

    def forward(self, features: Tensor, mask: Tensor, lengths: Sequence[int] | None = None) -> PyramidOutput:
        return self.heads(self.pyramid(features, mask, lengths), features.shape[2])

    def pyramid(self, features: Tensor, mask: Tensor, lengths: Sequence[int] | None = None) -> Pyramid:
        """Everything before the heads."""
        features, mask = self._padded(features, mask)
        backbone, backbone_masks = self.backbone(features, mask, lengths)
        maps, masks = self.neck(backbone, backbone_masks)
        return self.decouple(backbone, backbone_masks, maps, masks)

    def decouple(
        self, backbone: list[Tensor], backbone_masks: list[Tensor], maps: list[Tensor], masks: list[Tensor]
    ) -> Pyramid:
        """What each head looks at: here all at the same maps."""
        return Pyramid(backbone, backbone_masks, maps, masks, maps, maps, maps, None)

    def heads(self, pyramid: Pyramid, length: int) -> PyramidOutput:
        """Outputs of all heads; ``length`` is the input's before padding."""
        layout = LevelLayout.build(pyramid.masks, self.head_gap)
        logits = self.class_head(layout.join(pyramid.class_maps), layout)
        offsets = self.offset_head(layout.join(pyramid.offset_maps), layout)
        return PyramidOutput(length, pyramid.masks, logits, offsets)

    def _padded(self, features: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        extra = self.padded_length(features.shape[2]) - features.shape[2]
        if extra:
            features, mask = F.pad(features, (0, extra)), F.pad(mask, (0, extra))
        noise = self.config.input_noise
        if self.training and noise > 0:
            features = features + noise * torch.randn_like(features)
        return masked(features, mask, self.config.strict), mask

    # -- training

    def losses(
        self,
        outputs: PyramidOutput,
        mask: Tensor,
        targets: Sequence[Targets],
        totals: StepTotals | None = None,
    ) -> dict[str, Tensor]:
        """``classification`` and ``regression``, sums divided by the running mean of positives; ``loss``."""
        assigned = self.assign(outputs, targets)
        (normaliser,) = self.normalisers(assigned.num_positive, 1, totals)
        logits = joined(outputs.logits)
        classification, regression = self.set_losses(
            outputs, assigned, logits, self.distances, self.config.cls_loss, normaliser
        )
        return self.total(classification, regression)

    @torch.no_grad()
    def totals(self, mask: Tensor, targets: Sequence[Targets]) -> Tensor:
        """Number of positive points [1].

        Raises
        ------
        ConfigError
            where the losses need the whole batch (`PyramidConfig.whole_batch_reason`).
        """
        if reason := self.config.whole_batch_reason:
            raise ConfigError(f"localizer.decoder.{reason}: set train.accumulate to 1")
        extra = self.padded_length(mask.shape[2]) - mask.shape[2]
        masks = [strided(F.pad(mask, (0, extra)), stride) for stride in self.config.strides]
        positions = PyramidOutput(mask.shape[2], masks, [], [])  # centres are assigned without predictions
        return self.assign(positions, targets).num_positive.float().reshape(1)

    @torch.no_grad()
    def positives(self, mask: Tensor, targets: Sequence[Targets]) -> list[Tensor]:
        masks = [strided(mask, stride) for stride in self.config.strides]
        points = self._points(masks)
        valid = torch.cat([m[:, 0] for m in masks], dim=1)  # [B, P]
        counts = []
        for index, target in enumerate(targets):
            own, number = as_own_classes(target), len(target.labels)
            assigned = assign_by_center(points, own.segments.float(), own.labels, number, self._radius)
            counts.append((assigned.classes * valid[index, :, None]).sum(0).long())
        return counts

    @property
    def _radius(self) -> float | None:
        """How far from an action's centre a point may lie, in strides; None: anywhere inside."""
        return None if self.config.assignment == "inside" else self.config.center_radius

    def _points(self, masks: Sequence[Tensor]) -> Points:
        """Points of levels with these masks [B, 1, T_l]."""
        config = self.config
        return Points.build([m.shape[2] for m in masks], config.strides, config.ranges, masks[0].device)

    def assign(self, outputs: PyramidOutput, targets: Sequence[Targets]) -> BatchAssignment:
        """Targets of every point of the batch."""
        config = self.config
        device = outputs.masks[0].device
        points = self._points(outputs.masks)
        valid = torch.cat([m[:, 0] for m in outputs.masks], dim=1)  # [B, P]
        assigned: list[Assignment] = []
        for index, target in enumerate(targets):
            segments, labels = target.segments.to(device).float(), target.labels.to(device)
            if config.assignment == "sim_ota":
                assigned.append(self._sim_ota(outputs, index, points, segments, labels, valid[index]))
            else:
                assigned.append(assign_by_center(points, segments, labels, self.num_classes, self._radius))
        classes = torch.stack([a.classes for a in assigned])
        positive = (classes.sum(-1) > 0) & valid
        weight = torch.stack([a.weight for a in assigned]).where(
            positive, torch.ones_like(valid, dtype=torch.float32)
        )
        known = known_at(targets, points.time, self.num_classes)
        return BatchAssignment(
            points,
            valid,
            classes,
            torch.stack([a.offsets for a in assigned]),
            positive,
            weight,
            None if known is None else known | (classes > 0),
        )

    def _sim_ota(
        self,
        outputs: PyramidOutput,
        index: int,
        points: Points,
        segments: Tensor,
        labels: Tensor,
        valid: Tensor,
    ) -> Assignment:
        config = self.config
        logits = joined(outputs.logits)[index].detach()
        predicted = joined(outputs.offsets)[index].detach()
        return assign_sim_ota(
            points, segments, labels, logits, predicted, valid, config.center_radius, **self.sim_ota_options
        )

    @property
    def sim_ota_options(self) -> dict[str, float]:
        return {}

    def set_losses(
        self,
        outputs: PyramidOutput,
        assigned: BatchAssignment,
        logits: Tensor,
        decode: DistanceDecoder,
        cls_loss: str,
        normaliser: Tensor,
        iou_power: float | None = None,
        iou_gradient: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Classification and regression loss of one set of predictions.

        logits [B, P, C]; ``decode`` gives the distances of pairs. With
        ``iou_power`` the classification loss of positives is multiplied by IoU^power, ``iou_gradient``
        says whether that factor teaches the distances too.
        """
        config = self.config
        pairs = assigned.pairs_of_classes if self.offsets_per_class else assigned.pairs_of_points
        predicted, where = decode(outputs, pairs), pairs.where
        target = assigned.offsets[where[0], where[1]]
        overlap_loss = diou_offsets if config.regression_loss == "diou" else giou_offsets
        point_weight = assigned.weight[where[0], where[1]]
        regression = (overlap_loss(predicted, target) * point_weight).sum() / normaliser

        classes = assigned.classes
        if cls_loss in ("focal", "varifocal_label"):
            class_target = smooth_labels(classes, config.label_smoothing, self.num_classes)
        else:
            class_target = self._qualities(classes, where, predicted, target)
        loss = self.class_losses(logits, class_target, cls_loss)
        loss = loss * (assigned.weight * assigned.valid)[..., None]
        if assigned.known is not None:
            loss = loss * assigned.known
        if iou_power is not None:
            loss = self._times_iou(loss, where, predicted, target, iou_power, iou_gradient)
        return loss.sum() / normaliser, regression

    def class_losses(self, logits: Tensor, class_target: Tensor, kind: str) -> Tensor:
        """Classification loss of each logit."""
        if kind == "focal":
            return sigmoid_focal(logits, class_target)
        if kind == "quality_focal":
            return quality_focal(logits, class_target)
        released = kind == "varifocal_label"
        return varifocal(logits, class_target, self.config.varifocal_alpha, detach=not released)

    @property
    def offsets_per_class(self) -> bool:
        """Whether distances depend on the class."""
        return False

    def _qualities(self, classes: Tensor, where: Where, predicted: Tensor, target: Tensor) -> Tensor:
        """Class targets with the IoU of the prediction in place of 1, [B, P, C], without gradient."""
        quality = torch.zeros_like(classes)
        overlap = 1 - giou_offsets(predicted.detach(), target)
        if self.offsets_per_class:
            quality[where] = overlap
            return quality
        quality[where[0], where[1]] = classes[where[0], where[1]] * overlap[:, None]
        return quality

    def _times_iou(
        self, loss: Tensor, where: Where, predicted: Tensor, target: Tensor, power: float, with_gradient: bool
    ) -> Tensor:
        overlap = 1 - giou_offsets(predicted if with_gradient else predicted.detach(), target)
        factor = torch.ones_like(loss)
        factor[where] = overlap.pow(power)
        return loss * factor

    def total(self, classification: Tensor, regression: Tensor) -> dict[str, Tensor]:
        weight = self.config.regression_weight
        balanced = classification.detach() / regression.detach().clamp(min=0.01) if weight == 0 else weight
        return {
            "loss": classification + balanced * regression,
            "classification": classification,
            "regression": regression,
        }

    @torch.no_grad()
    def normalisers(self, num_positive: Tensor, updates: int, totals: StepTotals | None) -> list[Tensor]:
        """This part's share of the running mean of positives, after each of the ``updates`` of a step.

        Gradients are averaged over the parts: with the share as divisor their mean is that of one process
        with the whole batch, and the buffer does not depend on the number of parts. It changes at the end of
        a step, and in training only.
        """
        if totals is None:
            count, parts = over_processes(num_positive, reduce=self.training)
        else:
            parts, count = totals.parts, totals.sums[0]
        value, shares = self.loss_normaliser, []
        for _ in range(updates):
            if self.training:
                value = value.lerp(count.clamp(min=1).to(value), 1 - NORMALISER_MOMENTUM)
            shares.append(value / parts)
        if self.training and (totals is None or totals.last):
            self.loss_normaliser.copy_(value)
        return shares

    # -- decoding

    def distances(self, outputs: PyramidOutput, pairs: Pairs) -> Tensor:
        """Distances [n, 2] in strides of pairs of all levels."""
        return joined(outputs.offsets)[pairs.sample, pairs.point]

    def level_distances(self, outputs: PyramidOutput, level: int, where: Where) -> Tensor:
        """`distances` of one level's (sample, point, class) triples, points counted within it."""
        return outputs.offsets[level][where[0], :, where[1]]

    def level_scores(self, outputs: PyramidOutput, level: int) -> Tensor:
        """Probabilities [B, C, T_l]."""
        return outputs.logits[level].float().sigmoid()

    def candidates(self, outputs: PyramidOutput, mask: Tensor) -> list[Candidates]:
        """Of each level the best ``topk_per_level`` (position, class) pairs above ``min_score``.

        Only positions inside ``mask`` [B, 1, T] report: the one given to `forward`, or a part of it.
        """
        return [self.merged(levels) for levels in self.level_candidates(outputs, mask)]

    @torch.no_grad()
    def level_candidates(self, outputs: PyramidOutput, mask: Tensor) -> list[list[Candidates]]:
        """Best pairs of each sample and level; what is too short is still among them (see `merged`)."""
        config = self.config
        candidates: list[list[Candidates]] = [[] for _ in range(outputs.logits[0].shape[0])]
        for level, (level_mask, stride) in enumerate(zip(outputs.masks, config.strides, strict=True)):
            reporting = strided(mask, stride)
            valid = level_mask & F.pad(reporting, (0, level_mask.shape[2] - reporting.shape[2]))
            scores = masked(self.level_scores(outputs, level), valid).transpose(1, 2).flatten(1)  # [B, T C]
            for sample, row in enumerate(scores):
                kept = torch.nonzero(row > config.min_score).squeeze(1)
                if len(kept) > config.topk_per_level:
                    kept = kept[torch.topk(row[kept], config.topk_per_level).indices]
                position, label = kept // self.num_classes, kept % self.num_classes
                where = (torch.full_like(position, sample), position, label)
                distance = self.level_distances(outputs, level, where).float() * stride
                time = (position * stride).float()
                segments = torch.stack((time - distance[:, 0], time + distance[:, 1]), -1)
                candidates[sample].append(Candidates(segments, row[kept], label))
        return candidates

    def merged(self, levels: Sequence[Candidates]) -> Candidates:
        """Candidates of all levels of one sample, without those of ``min_duration`` or less."""
        candidates = joined_candidates(levels)
        lengths = candidates.segments[:, 1] - candidates.segments[:, 0]
        return candidates[lengths > self.config.min_duration]


def joined(levels: Sequence[Tensor]) -> Tensor:
    """Maps [B, n, T_l] -> [B, P, n], the points of all levels one after another."""
    return torch.cat(list(levels), dim=2).transpose(1, 2)
