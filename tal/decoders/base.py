"""The one contract of all decoders: features and mask in, segments out.

Shapes: B videos or windows, C channels, T positions; ``mask`` is bool [B, 1, T], True inside the
video. Segments are in positions of the features given (grid units), which a `tal.grid.FeatureGrid`
turns into seconds.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist


@dataclass(frozen=True)
class Targets:
    """Ground truth of one sample.

    Attributes
    ----------
    segments
        float [N, 2]: start and end in grid units.
    labels
        long [N].
    video_label
        class of the whole video, for video-level classifiers; -1: none, the window shows no action;
        `UNKNOWN_LABEL`: nobody knows; None: the first segment's label.
    known
        bool [classes, positions]: whether somebody looked for the class there; where nobody did, nothing is
        learnt of it but from ``segments``. None: everywhere for all.
    """

    segments: Tensor
    labels: Tensor
    video_label: int | None = None
    known: Tensor | None = None

    @property
    def tensors(self) -> list[Tensor]:
        """What is to be on the device of the outputs."""
        return [t for t in (self.segments, self.labels, self.known) if t is not None]

    def with_tensors(self, tensors: Iterator[Tensor]) -> Targets:
        """The same with `tensors` replaced by the next of these, and the label of the video as a number."""
        segments, labels = next(tensors), next(tensors)
        return Targets(segments, labels, first_label(self), None if self.known is None else next(tensors))


UNKNOWN_LABEL = -2


def first_label(target: Targets) -> int:
    """`Targets.video_label` as a number; of labels on a device it waits for them.

    Without any segment -1, or `UNKNOWN_LABEL` where not all is known.
    """
    if target.video_label is not None:
        return target.video_label
    if len(target.labels):
        return int(target.labels[0])
    return -1 if target.known is None else UNKNOWN_LABEL


def known_at(targets: Sequence[Targets], places: Tensor, num_classes: int) -> Tensor | None:
    """`Targets.known` of the position nearest to each place, bool [B, P, classes]; None: all of it is.

    ``places`` [P] in grid units; one beyond the last position is as that.
    """
    if all(target.known is None for target in targets):
        return None
    nearest = places.round().long().clamp(min=0)
    everywhere = torch.ones(len(places), num_classes, dtype=torch.bool, device=places.device)
    known = []
    for target in targets:
        if target.known is None:
            known.append(everywhere)
        else:
            of_sample = target.known.to(places.device)
            known.append(of_sample[:, nearest.clamp(max=of_sample.shape[1] - 1)].t())
    return torch.stack(known)


@dataclass(frozen=True)
class Candidates:
    """Detections of one sample before suppression, any order.

    Attributes
    ----------
    segments
        float [n, 2]: start and end in grid units.
    scores
        float [n] in [0, 1].
    labels
        long [n].
    """

    segments: Tensor
    scores: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, which: Tensor) -> Candidates:
        """The candidates that an index or a bool mask [n] names."""
        return Candidates(self.segments[which], self.scores[which], self.labels[which])

    def best(self, limit: int) -> Candidates:
        """The ``limit`` candidates of highest score."""
        return self if len(self) <= limit else self[torch.topk(self.scores, limit).indices]


def joined_candidates(parts: Sequence[Candidates]) -> Candidates:
    """Candidates of several parts of a sample, one part after another."""
    return Candidates(
        torch.cat([p.segments for p in parts]),
        torch.cat([p.scores for p in parts]),
        torch.cat([p.labels for p in parts]),
    )


def on_host(parts: Sequence[Candidates]) -> list[Candidates]:
    """Candidates of a batch on the CPU, segments and scores float32 (float64 segments stay): in one copy."""
    exact = any(part.segments.dtype == torch.float64 for part in parts)
    dtype = torch.float64 if exact else torch.float32  # holds the number of any label
    columns = [
        torch.cat([p.segments.to(dtype), p.scores[:, None].to(dtype), p.labels[:, None].to(dtype)], 1)
        for p in parts
    ]
    together = torch.cat(columns).cpu().split([len(part) for part in parts])
    return [Candidates(part[:, :2], part[:, 2].float(), part[:, 3].long()) for part in together]


@dataclass(frozen=True)
class StepTotals:
    """What the losses of one part of an optimizer step share with its other parts.

    The parts are the micro-batches of all processes; the trainer takes the mean of their losses.

    Attributes
    ----------
    sums
        float [n]: `Decoder.totals` of all parts added up.
    parts
        number of parts of the step.
    last
        no micro-batch of this process comes after this one, so what changes once in a step changes now.
    """

    sums: Tensor
    parts: int
    last: bool


def over_processes(count: Tensor, reduce: bool = True) -> tuple[Tensor, int]:
    """Sum of a count over all processes, float, and their number; ``reduce`` False: without the sum."""
    processes = dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
    total = count.float()
    if reduce and processes > 1:
        total = total.clone()
        dist.all_reduce(total)
    return total, processes


def as_own_classes(target: Targets) -> Targets:
    """The same segments, each with its place in the list as its label: what is assigned shows whose it is."""
    return Targets(target.segments, torch.arange(len(target.labels), device=target.labels.device))


class Decoder(nn.Module, ABC):
    """Finds actions in a feature sequence.

    ``forward`` returns whatever `losses` and `candidates` of the same decoder need: training is
    ``decoder.losses(decoder(features, mask), mask, targets)``, inference
    ``decoder.candidates(decoder(features, mask), mask)``. State that training carries from step to step
    (such as a loss normaliser) is a buffer, so that a checkpoint holds it.
    """

    num_classes: int
    in_channels: int
    # Positions from one place that can learn an action to the next, where they are closest.
    finest_stride: int = 1
    # Channels of the encoder's features that `forward` wants besides, as ``video_features`` and
    # ``video_mask`` (before downsampling and consistency module); 0: none.
    video_channels: int = 0

    @property
    def wants_lengths(self) -> bool:
        """Whether `forward` also takes ``lengths``, `valid_lengths` of the mask [B], from who knows them.

        Reading them from a mask on a device waits for it.
        """
        return False

    @abstractmethod
    def forward(self, features: Tensor, mask: Tensor) -> Any:
        """features [B, C, T], mask [B, 1, T] bool -> the decoder's own output type."""

    @abstractmethod
    def losses(
        self, outputs: Any, mask: Tensor, targets: Sequence[Targets], totals: StepTotals | None = None
    ) -> dict[str, Tensor]:
        """Scalar losses of a batch.

        Parameters
        ----------
        outputs
            what `forward` returned.
        mask
            bool [B, 1, T], the one given to `forward`.
        targets
            ground truth of each sample, in grid units.
        totals
            None: the batch is this process's whole step. With it the mean over the parts of a step is the
            loss of their samples in one batch.

        Returns
        -------
        ``"loss"``, the weighted sum to take the gradient of, and its parts by name.
        """

    def totals(self, mask: Tensor, targets: Sequence[Targets]) -> Tensor | None:
        """Sums over the batch, float [n], that the losses of its whole step are divided by.

        They follow from mask [B, 1, T] and ground truth alone, so that they are known before the first part
        of a step runs. None: losses are means over samples, and parts of equal size share nothing.
        """
        return None

    @abstractmethod
    def positives(self, mask: Tensor, targets: Sequence[Targets]) -> list[Tensor]:
        """How many places (points, anchors) learn each segment, by the rule of `losses`.

        Parameters
        ----------
        mask
            bool [B, 1, T].
        targets
            ground truth of each sample, in grid units.

        Returns
        -------
        long [N] for each sample; of a segment with 0 the decoder learns nothing. Where the rule looks at
        predictions too, the places that it chooses among.
        """

    @abstractmethod
    def candidates(self, outputs: Any, mask: Tensor) -> list[Candidates]:
        """Detections of each sample, before suppression."""
