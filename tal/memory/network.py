"""Encoder and localizer as one module whose forward is a training step's graph."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tal.decoders.base import StepTotals, Targets
from tal.device import upload
from tal.encoders import Encoder
from tal.encoders.adapters.low_rank import merged
from tal.encoders.streaming import encode_clips
from tal.localizer import Localizer
from tal.memory.mixing import ClipPlaces, Layout, StoredRows, lay_out, mix


@dataclass(frozen=True)
class ClipFrames:
    """Pictures of M clips.

    Attributes
    ----------
    frames, clean
        uint8 [M, L, H, W, 3], black beyond the video; the same without augmentation.
    places
        where their rows belong; on the host.
    learn
        bool [M], on the host: whether the gradient goes through the clip.
    """

    frames: Tensor
    places: ClipPlaces
    learn: Tensor
    clean: Tensor | None = None

    def to(self, device: torch.device | str) -> ClipFrames:
        """With the pictures on a device; from pinned memory the host does not wait for them."""
        return self._with(lambda pictures: pictures.to(device, non_blocking=True))

    def pin_memory(self) -> ClipFrames:
        """With the pictures in pinned memory, from which they travel beside the computation."""
        return self._with(lambda pictures: pictures.pin_memory())

    def _with(self, move: Callable[[Tensor], Tensor]) -> ClipFrames:
        clean = None if self.clean is None else move(self.clean)
        return ClipFrames(move(self.frames), self.places, self.learn, clean)


@dataclass(frozen=True)
class StepOutput:
    """``losses``: scalars; ``to_write`` [M, R, C] float32, detached: the rows that the store should hold."""

    losses: dict[str, Tensor]
    to_write: Tensor | None
    layout: Layout


class MemoryNetwork(nn.Module):
    """Encodes the sampled clips, mixes their rows with the stored ones, localizes, and computes the losses.

    ``encoder`` None trains on stored rows alone.
    """

    def __init__(self, encoder: Encoder | None, localizer: Localizer, fresh_only: bool = False) -> None:
        super().__init__()
        self.encoder, self.localizer = encoder, localizer
        self.fresh_only = fresh_only
        # seconds the last forward spent in the encoder (on CUDA: until its kernels were queued)
        self.encode_s = 0.0

    def forward(
        self,
        stored: StoredRows,
        clips: ClipFrames | None,
        targets: Sequence[Targets],
        totals: StepTotals | None = None,
    ) -> StepOutput:
        """``targets`` are in the decoder's grid (`Localizer`), on the host; ``totals`` of part of a step."""
        fresh = to_write = None
        start = time.perf_counter()
        if clips is not None and len(clips.frames):
            fresh = self._encode(clips)
            to_write = fresh.detach().float() if clips.clean is None else self._encode_clean(clips)
        self.encode_s = time.perf_counter() - start
        layout = lay_out(
            stored, places_of(clips), fresh.shape[1] if fresh is not None else 0, self.fresh_only
        )
        length = used_length(layout.mask, self.localizer.downsample)
        parts = [layout.mask, layout.age, layout.sample, layout.position, layout.row]
        truth = [tensor for target in targets for tensor in target.tensors]
        mask, age, sample, position, row, *moved = upload([*parts, *truth], stored.rows.device)
        there = iter(moved)
        targets = [target.with_tensors(there) for target in targets]
        features = mix(stored.rows, mask, fresh, sample, position, row)[..., :length]
        mask = mask[..., :length]
        outputs = self.localizer(features, mask, age[:, :length], layout.mask[..., :length])
        losses = self.localizer.losses(outputs, targets, totals)
        if self.localizer.row_classifier is not None:
            row_targets = self.localizer.decoder_targets(targets)
            losses["row"] = self.localizer.row_classifier(
                features, mask, row_targets, self.localizer.downsample
            )
            losses["loss"] = losses["loss"] + self.localizer.config.row_loss * losses["row"]
        return StepOutput(losses, to_write, layout)

    @property
    def resting(self) -> frozenset[str]:
        """Names of its tensors that are the encoder's published weights and stay what they are.

        Files of a run leave them out and name those weights instead. Random weights cannot be named.
        """
        if self.encoder is None or self.encoder.config.weights is None:
            return frozenset()
        return frozenset(f"encoder.{name}" for name in self.encoder.resting)

    def trained(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A state of this network without what rests."""
        resting = self.resting
        return {name: value for name, value in state.items() if name not in resting}

    def completed(self, trained: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The whole state from `trained` and what rests in this network."""
        own, resting = self.state_dict(), self.resting
        return {**{name: own[name].detach().clone() for name in resting}, **trained}

    def exported(self) -> dict[str, Tensor]:
        """What a model folder holds: what was trained, low-rank parts taken into their weights."""
        return self.trained(merged(self.state_dict()))

    @torch.no_grad()
    def totals(
        self, stored: StoredRows, clips: ClipFrames | None, targets: Sequence[Targets]
    ) -> Tensor | None:
        """`Decoder.totals` of a part of a step, before its `forward`.

        Nothing is encoded, and nothing leaves the host: only the mask is looked at.
        """
        rows_per_clip = self.encoder.grid.rows_per_clip if self.encoder is not None else 0
        mask = lay_out(stored, places_of(clips), rows_per_clip, self.fresh_only).mask
        return self.localizer.totals(mask[..., : used_length(mask, self.localizer.downsample)], targets)

    def _encode(self, clips: ClipFrames) -> Tensor:
        """Rows [M, R, C]; clips that are not learnt from run without a graph."""
        assert self.encoder is not None
        if bool(clips.learn.all()):
            return encode_clips(self.encoder, clips.frames)
        learnt, other = (torch.nonzero(clips.learn == learn).squeeze(1) for learn in (True, False))
        back = torch.argsort(torch.cat([learnt, other]))
        learnt, other, back = upload([learnt, other, back], clips.frames.device)
        parts: list[Tensor] = []
        for index in (learnt, other):
            if len(index):
                with nullcontext() if index is learnt else torch.no_grad():
                    parts.append(encode_clips(self.encoder, clips.frames[index]))
        return torch.cat(parts)[back]

    @torch.no_grad()
    def _encode_clean(self, clips: ClipFrames) -> Tensor:
        """Rows as extraction would make them now: clean pictures, no drop path."""
        assert self.encoder is not None and clips.clean is not None
        training = self.encoder.training
        self.encoder.eval()
        rows = encode_clips(self.encoder, clips.clean).float()
        self.encoder.train(training)
        return rows


def places_of(clips: ClipFrames | None) -> ClipPlaces:
    """Where the clips belong; of no clips, none."""
    if clips is not None:
        return clips.places
    nothing = torch.zeros(0, dtype=torch.long)
    return ClipPlaces(nothing, nothing)


def used_length(mask: Tensor, multiple: int) -> int:
    """Positions up to the last valid one of any sample [B, 1, W], rounded up to a sixteenth of the window.

    What lies beyond is padding for the whole batch, and costs as much to compute as the rest. A length of its
    own for every batch would fill the caches of compiled kernels. ``multiple``: rows of a decoder position.
    """
    window = mask.shape[2]
    step = -(-window // (16 * multiple)) * multiple
    valid = torch.nonzero(mask.any(0).any(0))
    last = int(valid[-1]) + 1 if len(valid) else 1
    return min(-(-last // step) * step, window)
