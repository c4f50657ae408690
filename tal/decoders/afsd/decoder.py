"""AFSD as TALLFormer uses it on ActivityNet and HACS: coarse segments, refined at their boundaries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tal.decoders.afsd import losses as parts
from tal.decoders.afsd.config import AFSDConfig
from tal.decoders.afsd.network import (
    CoarseHead,
    FineFeatures,
    Refinement,
    boundary_intervals,
    exp_distances,
    expect_background,
    points_of_levels,
    small_normal,
    start_end_scores,
)
from tal.decoders.afsd.pooling import boundary_max_pool
from tal.decoders.base import (
    UNKNOWN_LABEL,
    Candidates,
    Decoder,
    StepTotals,
    Targets,
    as_own_classes,
    first_label,
    known_at,
)
from tal.decoders.layers.conv_pyramid import FPN, ConvPyramid
from tal.decoders.layers.masks import strided_masks
from tal.decoders.padded_targets import PaddedTargets, clamp_to_valid
from tal.device import upload
from tal.errors import ConfigError
from tal.losses import giou_offsets, iou

# Constants of AFSD (Lin et al., 2021), which TALLFormer's release keeps.
TOWER_LAYERS = 2  # convolutions before a coarse head
MAX_DISTANCE = 4.0  # largest coarse distance, in strides of the level
COARSE_START_END_WEIGHT = 0.1  # of boundary features on the input's resolution, against 1 on the fine one
REFINED_IOU = 0.6  # coarse segments at least this good are refined


@dataclass(frozen=True)
class AFSDOutput:
    """Predictions at N locations of L levels; distances in grid units.

    Attributes
    ----------
    points
        [N, 2]: place and stride.
    lengths
        locations of each level.
    valid
        bool [B, N].
    coarse
        [B, N, 2] distances to start and end.
    coarse_logits, refined_logits
        [B, N, 1 + classes]; class 0 is the background.
    shift
        [B, N, 2] of the coarse distances, in half lengths of the coarse segment.
    quality
        [B, N] logits.
    boundary
        (start, end, mask, cells per grid unit, weight) of every supervised boundary feature.
    video_logits
        [B, 1 + num_classes], or None.
    """

    points: Tensor
    lengths: tuple[int, ...]
    valid: Tensor
    coarse: Tensor
    coarse_logits: Tensor
    shift: Tensor
    refined_logits: Tensor
    quality: Tensor
    boundary: tuple[tuple[Tensor, Tensor, Tensor, int, float], ...]
    video_logits: Tensor | None

    def refined_distances(self) -> Tensor:
        """Coarse distances moved by ``shift`` half lengths of the coarse segment, [B, N, 2]."""
        return self.coarse + self.shift * self.coarse.sum(-1, keepdim=True) / 2

    def segments(self, distances: Tensor) -> Tensor:
        """Distances [B, N, 2] to start and end -> segments [B, N, 2]."""
        place = self.points[:, 0]
        return torch.stack([place - distances[..., 0], place + distances[..., 1]], dim=-1)


class AFSD(Decoder):
    """Pyramid, FPN, coarse heads, refinement heads, and a classifier of the whole video."""

    def __init__(self, config: AFSDConfig, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.config, self.in_channels, self.num_classes = config, in_channels, num_classes
        self.video_channels = config.video_channels
        width, norm, bias = config.channels, config.norm, config.release
        classes = 1 + (num_classes if config.labels == "segment" else 1)
        self.pyramid = ConvPyramid(in_channels, width, config.num_levels, norm)
        self.fpn = FPN(self.pyramid.level_channels, width, norm)
        self.location = CoarseHead(width, 2, TOWER_LAYERS, norm, bias)
        self.confidence = CoarseHead(width, classes, TOWER_LAYERS, norm, bias)
        self.scales = nn.Parameter(torch.ones(config.num_levels))
        self.fine = FineFeatures(width, config.upsample, norm, bias)
        self.refine_location, self.refine_confidence = (Refinement(width, norm, bias) for _ in range(2))
        self.shift = nn.Conv1d(width, 2, 1)
        self.refined = nn.Conv1d(width, classes, 1)
        self.quality = nn.Conv1d(width, 1, 3, padding=1)
        for module in (self.location, self.confidence, self.refine_location, self.refine_confidence):
            small_normal(module)
        for head in (self.shift, self.refined, self.quality):
            small_normal(head)
        if config.prior:
            for head in (self.confidence.head, self.refined):
                expect_background(head, config.prior)
        self.video: nn.Sequential | None = None
        if config.labels == "video":
            source = config.video_channels or in_channels
            self.video = nn.Sequential(nn.Dropout(config.video_dropout), nn.Linear(source, 1 + num_classes))

    def forward(
        self,
        features: Tensor,
        mask: Tensor,
        video_features: Tensor | None = None,
        video_mask: Tensor | None = None,
    ) -> AFSDOutput:
        """``video_features`` [B, video_channels, T'] and their mask are for the video classifier."""
        config = self.config
        levels, masks = self.pyramid(features, mask)
        levels = self.fpn(levels, masks)
        lengths = tuple(level.shape[-1] for level in levels)
        points = points_of_levels(lengths, features.device)
        fine, fine_mask = self.fine(levels[0], mask)

        towers = []
        coarse_parts, coarse_logits = [], []
        for level, (x, level_mask) in enumerate(zip(levels, masks, strict=True)):
            location, raw = self.location(x, level_mask)
            confidence, logits = self.confidence(x, level_mask)
            towers.append((location, confidence))
            distance = exp_distances(raw.float(), self.scales[level], MAX_DISTANCE)
            coarse_parts.append(distance * 2.0**level)
            coarse_logits.append(logits)
        coarse = torch.cat(coarse_parts, dim=-1).transpose(1, 2)  # [B, N, 2]

        fixed = coarse.detach()
        segments = torch.stack([points[:, 0] - fixed[..., 0], points[:, 0] + fixed[..., 1]], dim=-1)
        near = boundary_intervals(segments, config.upsample, config.release)
        fine_pooled = boundary_max_pool(fine, fine_mask, *near)
        shift, refined, quality = [], [], []
        boundary = [(*start_end_scores(fine.float()), fine_mask[:, 0], config.upsample, 1.0)]
        for level, (pooled, part) in enumerate(
            zip(fine_pooled.split(lengths, dim=-1), segments.split(lengths, dim=1), strict=True)
        ):
            intervals = boundary_intervals(part, 0.5**level)
            location, confidence = towers[level]
            merged_location, edge_location = self.refine_location(location, masks[level], pooled, *intervals)
            merged_confidence, edge_confidence = self.refine_confidence(
                confidence, masks[level], pooled, *intervals
            )
            shift.append(self.shift(merged_location))
            refined.append(self.refined(merged_confidence))
            quality.append(self.quality(merged_location))
            if level == 0:
                for edge in (edge_location, edge_confidence):
                    scores = start_end_scores(edge.float())
                    boundary.append((*scores, mask[:, 0], 1, COARSE_START_END_WEIGHT))
        return AFSDOutput(
            points=points,
            lengths=lengths,
            valid=torch.cat(masks, dim=-1)[:, 0],
            coarse=coarse,
            coarse_logits=torch.cat(coarse_logits, dim=-1).transpose(1, 2).float(),
            shift=torch.cat(shift, dim=-1).transpose(1, 2).float(),
            refined_logits=torch.cat(refined, dim=-1).transpose(1, 2).float(),
            quality=torch.cat(quality, dim=-1)[:, 0].float(),
            boundary=tuple(boundary) if config.start_end_weight else (),
            video_logits=self._classify(features, mask, video_features, video_mask),
        )

    def _classify(
        self, features: Tensor, mask: Tensor, video_features: Tensor | None, video_mask: Tensor | None
    ) -> Tensor | None:
        """Class logits of the whole window from the mean of its valid positions."""
        if self.video is None:
            return None
        if self.video_channels:
            if video_features is None or video_mask is None or video_features.shape[1] != self.video_channels:
                given = "none" if video_features is None else f"{video_features.shape[1]} channels"
                raise ConfigError(
                    f"the video classifier expects encoder features of {self.video_channels} channels, got "
                    f"{given}; set localizer.decoder.video_channels to the encoder's channels, or to 0 to "
                    "classify the decoder's input"
                )
            features, mask = video_features, video_mask
        total = (features.float() * mask).sum(-1)
        return self.video(total / mask.sum(-1).clamp(min=1)).float()

    def losses(
        self,
        outputs: AFSDOutput,
        mask: Tensor,
        targets: Sequence[Targets],
        totals: StepTotals | None = None,
    ) -> dict[str, Tensor]:
        """Losses of coarse and refined segments, of their quality, of the boundary features and of the video.

        All are means over the samples, so ``totals`` says nothing new.

        Returns
        -------
        ``localization``, ``refined_localization``, ``classification``, ``refined_classification``,
        ``quality``, with supervised boundaries ``start_end``, with a video classifier ``video``, and their
        weighted sum ``loss``.
        """
        config = self.config
        padded = PaddedTargets.collate(targets, outputs.points.device)
        assigned = parts.assign_points(
            outputs.points, config.regression_ranges, outputs.lengths, outputs.valid, padded
        )
        positive = assigned.positive
        place = outputs.points[:, 0]
        known = known_at(targets, place, self.num_classes)
        target = torch.stack([place - assigned.segment[..., 0], assigned.segment[..., 1] - place], dim=-1)
        target = target.where(positive[..., None], torch.ones_like(target))

        overlap = iou(outputs.segments(outputs.coarse.detach()), assigned.segment) * positive
        enough = overlap.amax(dim=1, keepdim=True).clamp(max=REFINED_IOU)
        refinable = positive & (overlap >= enough)
        coarse_logits, refined_logits = outputs.coarse_logits, outputs.refined_logits
        valid = outputs.valid
        if known is not None:
            looked_at = known.all(-1) if config.labels == "video" else known.any(-1)
            valid = valid & (looked_at | positive)
            coarse_logits, refined_logits = (
                self._of_known(logits, known, assigned) for logits in (coarse_logits, refined_logits)
            )
        per_sample = positive.sum(1).clamp(min=1)
        per_refined = refinable.sum(1).clamp(min=1)
        classes = assigned.label + 1 if config.labels == "segment" else torch.ones_like(assigned.label)

        def mean(loss: Tensor, keep: Tensor, count: Tensor) -> Tensor:
            return ((loss * keep).sum(1) / count).mean()

        half = outputs.coarse.detach().sum(-1, keepdim=True).clamp(min=1e-3) / 2
        shift_error = F.smooth_l1_loss(
            outputs.shift, (target - outputs.coarse.detach()) / half, reduction="none"
        ).sum(-1)
        refined = outputs.refined_distances()
        reached = iou(outputs.segments(refined if config.release else refined.detach()), assigned.segment)
        result = {
            "localization": mean(giou_offsets(outputs.coarse, target), positive, per_sample),
            "refined_localization": mean(shift_error, refinable, per_refined),
            "classification": mean(parts.softmax_focal(coarse_logits, classes * positive), valid, per_sample),
            "refined_classification": mean(
                parts.softmax_focal(refined_logits, classes * refinable), valid, per_refined
            ),
            "quality": mean(
                F.binary_cross_entropy_with_logits(outputs.quality, reached, reduction="none"),
                positive,
                per_sample,
            ),
        }
        total = config.localization_weight * (result["localization"] + result["refined_localization"])
        total = total + (result["classification"] + result["refined_classification"] + result["quality"])
        if outputs.boundary:
            result["start_end"] = self._start_end(outputs, padded, targets)
            total = total + config.start_end_weight * result["start_end"]
        if outputs.video_logits is not None:
            result["video"] = self._video_loss(outputs.video_logits, targets)
            total = total + result["video"]
        return {"loss": total, **result}

    @torch.no_grad()
    def positives(self, mask: Tensor, targets: Sequence[Targets]) -> list[Tensor]:
        masks = strided_masks(mask, self.config.num_levels)
        lengths = tuple(level.shape[-1] for level in masks)
        assigned = parts.assign_points(
            points_of_levels(lengths, mask.device),
            self.config.regression_ranges,
            lengths,
            torch.cat(masks, dim=-1)[:, 0],
            PaddedTargets.collate([as_own_classes(target) for target in targets], mask.device),
        )
        answers = zip(assigned.label, assigned.positive, targets, strict=True)
        return [torch.bincount(label[p], minlength=len(target.labels)) for label, p, target in answers]

    def _of_known(self, logits: Tensor, known: Tensor, assigned: parts.PointTargets) -> Tensor:
        """Logits [B, N, 1 + classes] that leave unknown classes out of the softmax, but for the one learnt.

        One class of all kinds is known where all of them are; where it is not, nothing is learnt.
        """
        if self.config.labels == "video":
            return logits
        own = F.one_hot(assigned.label, self.num_classes).bool() & assigned.positive[..., None]
        background = torch.ones_like(known[..., :1])
        return logits.masked_fill(~torch.cat([background, known | own], -1), -torch.inf)

    def _start_end(self, outputs: AFSDOutput, padded: PaddedTargets, targets: Sequence[Targets]) -> Tensor:
        total = outputs.coarse.new_zeros(())
        for start, end, mask, scale, weight in outputs.boundary:
            places = (torch.arange(mask.shape[-1], device=mask.device) + 0.5) / scale - 0.5
            near_start, near_end = parts.boundary_labels(places, 1 / scale, padded)
            known = known_at(targets, places, self.num_classes)
            counted = [
                mask if known is None else mask & (known.all(-1) | (near > 0))
                for near in (near_start, near_end)
            ]
            total = total + weight * (
                parts.masked_bce(start, near_start, counted[0]) + parts.masked_bce(end, near_end, counted[1])
            )
        return total

    def _video_loss(self, logits: Tensor, targets: Sequence[Targets]) -> Tensor:
        """Class k is index k + 1; a window without any action is background, index 0.

        Windows of which nobody knows that do not count.
        """
        labels = [first_label(target) for target in targets]
        counted = [index for index, label in enumerate(labels) if label != UNKNOWN_LABEL]
        if not counted:
            return 0.0 * logits.sum()
        classes = torch.tensor([labels[index] + 1 for index in counted])
        classes, which = upload([classes, torch.tensor(counted)], logits.device)
        if len(counted) < len(labels):
            logits = logits[which]
        if self.config.video_loss == "cross_entropy":
            return F.cross_entropy(logits, classes)
        return parts.softmax_focal(logits, classes).mean()

    @torch.no_grad()
    def candidates(self, outputs: AFSDOutput, mask: Tensor) -> list[Candidates]:
        """Segments with the mean of coarse and refined confidence times quality as score.

        With a video classifier each segment comes once for each of its best ``top_labels`` action classes,
        its score times the class's probability.
        """
        config = self.config
        scores = (outputs.coarse_logits.softmax(-1) + outputs.refined_logits.softmax(-1))[..., 1:] / 2
        scores = scores * outputs.quality.sigmoid()[..., None]  # [B, N, classes]
        if outputs.video_logits is None:
            labels = torch.arange(scores.shape[-1], device=scores.device).expand(scores.shape)
        else:
            # the background's probability is set aside before the best classes are chosen
            chance, best = outputs.video_logits.softmax(-1)[:, 1:].topk(
                min(config.top_labels, self.num_classes), dim=-1
            )
            scores = scores * chance[:, None]
            labels = best[:, None].expand(scores.shape)
        segments = clamp_to_valid(outputs.segments(outputs.refined_distances()), mask)
        keep = outputs.valid[..., None] & (scores > config.min_score)
        keep &= (segments[..., 1] > segments[..., 0])[..., None]
        candidates = []
        for sample in range(len(keep)):
            location, _ = chosen = keep[sample].nonzero(as_tuple=True)
            candidates.append(
                Candidates(segments[sample, location], scores[sample][chosen], labels[sample][chosen])
            )
        return candidates
