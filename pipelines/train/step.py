"""One optimizer step, through the memory or without it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn

from pipelines.config import RunConfig
from pipelines.train.step_record import Readout, StepRecord
from tal.decoders.base import StepTotals, Targets
from tal.device import HostCopy, upload
from tal.memory.clip_loader import Batch
from tal.memory.mixing import Layout, StoredRows
from tal.memory.network import MemoryNetwork, StepOutput
from tal.memory.sampler import Sample
from tal.memory.store_reader import RowStore, WindowRows, read_batch, read_window
from tal.memory.writeback import RowsToWrite, WriteBack

_HALF_MAX = 65504.0  # largest float16


@dataclass(frozen=True)
class _Part:
    """What a micro-batch left on the device to be read, and the rows to be written.

    Attributes
    ----------
    names
        of the losses.
    layout, batch, encode_s
        what the host knew before.
    rows
        float32 [M, R, C]; None: nothing was encoded.
    """

    names: list[str]
    layout: Layout
    batch: Batch
    encode_s: float
    rows: Tensor | None


class TrainStep:
    """Carries out optimizer steps, through the memory or without it."""

    def __init__(
        self,
        config: RunConfig,
        accelerator: Accelerator,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        store: RowStore | None,
        write_back: WriteBack | None,
        half_store: bool,
        place: int = 0,
    ) -> None:
        """``place``: number of this process among all, by its slots of the batch."""
        self.config, self.accelerator = config, accelerator
        self.network, self.optimizer = network, optimizer
        self.store, self.write_back, self.half_store = store, write_back, half_store
        self.place = place
        self.plain: MemoryNetwork = accelerator.unwrap_model(network)
        self.downsample = self.plain.localizer.downsample
        network.train()
        self._buffers: dict[Tensor, Tensor] | None = None
        self._encoder_learns = False
        # rows read beside the last step, by the sample's id; with it, so that the id stays its own
        self._ahead: dict[int, tuple[Sample, WindowRows]] = {}

    def run(
        self, number: int, batches: Sequence[Batch], meanwhile: Callable[[], Sequence[Batch]] | None = None
    ) -> StepRecord:
        """Take optimizer step ``number``, counted from 1, on its micro-batches.

        ``meanwhile`` gives the next step's micro-batches. It is called when a device has got everything that
        the step computes; their rows are then read beside the computation, but for those of videos that this
        step writes.
        """
        torch.manual_seed(step_seed(self.config.train.seed, number, self.place))
        self._keep_buffers()
        self.optimizer.zero_grad(set_to_none=True)
        readout = Readout()
        # no row changes within a step
        ahead, self._ahead = self._ahead, {}
        rows = [self._stored(batch, number, ahead) for batch in batches]
        sums = self._sums(batches, rows) if len(batches) > 1 else None
        parts: list[_Part] = []
        for index, (batch, stored) in enumerate(zip(batches, rows, strict=True)):
            last = index == len(batches) - 1
            totals = None
            if sums is not None:
                totals = StepTotals(sums, len(batches) * self.accelerator.num_processes, last)
            with nullcontext() if last else self.accelerator.no_sync(self.network):
                output = self._forward_backward(batch, stored, len(batches), totals)
            parts.append(self._note(readout, batch, stored, output))
        self._clip(readout)
        if meanwhile is not None:
            self._read_ahead(meanwhile(), batches)
        readout.read()
        record = self._record(readout, parts)
        if record.finite:
            self.optimizer.step()
            if self.write_back is not None:
                self._hand_over(number, parts)
        else:
            self._refuse(record.overflow)
        return record

    def _read_ahead(self, batches: Sequence[Batch], now: Sequence[Batch]) -> None:
        """Read the rows of windows to come, but for those of videos that this step may write."""
        if self.store is None:
            return
        samples = [sample for batch in batches for sample in batch.samples]
        if self.write_back is not None:
            written = {sample.video.id for batch in now for sample in batch.samples}
            samples = [sample for sample in samples if sample.video.id not in written]
            self.write_back.wait_for(sample.video.id for sample in samples)
        self._ahead = {
            id(sample): (sample, read_window(self.store, sample.video.id, sample.window))
            for sample in samples
        }

    def _stored(
        self, batch: Batch, number: int, ahead: Mapping[int, tuple[Sample, WindowRows]]
    ) -> StoredRows:
        """Stored rows as all earlier steps left them; ``ahead``: what was read of samples, by `id`."""
        if self.store is None:
            rows = empty_rows(batch.samples, self.plain.localizer.in_channels)
            return rows.to(self.accelerator.device)
        if self.write_back is not None:
            self.write_back.wait_for(sample.video.id for sample in batch.samples)
        known = [ahead[id(s)][1] if id(s) in ahead else None for s in batch.samples]
        return read_batch(self.store, batch.samples, number, known).to(self.accelerator.device)

    def _sums(self, batches: Sequence[Batch], rows: Sequence[StoredRows]) -> Tensor | None:
        """What the losses of all micro-batches of all processes are divided by, float [n]."""
        sums = []
        for batch, stored in zip(batches, rows, strict=True):
            part = self.plain.totals(stored, batch.clips, self._targets(batch))
            if part is None:  # this decoder's losses are means over samples
                return None
            sums.append(part)
        (total,) = upload([torch.stack(sums).sum(0)], self.accelerator.device)
        return self.accelerator.reduce(total, "sum")

    def _targets(self, batch: Batch) -> list[Targets]:
        """Ground truth in the decoder's grid."""
        return [sample_targets(sample, self.downsample) for sample in batch.samples]

    def _forward_backward(
        self, batch: Batch, stored: StoredRows, parts: int, totals: StepTotals | None
    ) -> StepOutput:
        clips = batch.clips_on(self.accelerator.device)
        with self.accelerator.autocast():
            output: StepOutput = self.network(stored, clips, self._targets(batch), totals)
        self.accelerator.backward(output.losses["loss"] / parts)
        return output

    def _note(self, readout: Readout, batch: Batch, stored: StoredRows, output: StepOutput) -> _Part:
        """Note the losses, and of fresh rows whether the store can hold them and how far they moved."""
        readout.note(*output.losses.values())
        rows = output.to_write
        if rows is not None:
            limit = _HALF_MAX if self.half_store else torch.finfo(torch.float32).max
            readout.note((rows.abs() <= limit).all(), drift(rows, stored.rows, output.layout))
        return _Part(list(output.losses), output.layout, batch, self.plain.encode_s, rows)

    def _clip(self, readout: Readout) -> None:
        """Clip the gradients, if there is a limit; note their L2 norm before, and the encoder's after it."""
        limit = self.config.optim.clip_norm or float("inf")
        readout.note(self.accelerator.clip_grad_norm_(self.network.parameters(), limit))
        encoder = self.plain.encoder
        gradients = (
            [p.grad for p in encoder.parameters() if p.grad is not None] if encoder is not None else []
        )
        self._encoder_learns = bool(gradients)
        if gradients:
            readout.note(torch.nn.utils.get_total_norm(gradients))

    def _record(self, readout: Readout, parts: Sequence[_Part]) -> StepRecord:
        """What the step did, in all processes."""
        record = StepRecord(True, {})
        for part in parts:
            losses = dict(zip(part.names, readout.take(len(part.names)), strict=True))
            record.add_losses(losses, len(parts))
            record.finite &= math.isfinite(losses["loss"])
            record.add_rows(part.layout, part.batch, part.encode_s)
            if part.rows is not None:
                record.finite &= bool(readout.take(1)[0])
                record.drift += readout.take(int(part.layout.replaced.sum()))
        if self.accelerator.num_processes > 1:
            self._combine(record)
        # the norm is of all processes' gradients; NaN fails too
        (record.grad_norm,) = readout.take(1)
        clipped = readout.take(1)[0] if self._encoder_learns else 0.0
        limit = self.config.optim.clip_norm or float("inf")
        record.encoder_grad_norm = clipped * max(1.0, record.grad_norm / limit)
        scaled = self.accelerator.scaler is not None
        record.overflow = record.finite and scaled and not math.isfinite(record.grad_norm)
        record.finite &= math.isfinite(record.grad_norm)
        return record

    def _hand_over(self, number: int, parts: Sequence[_Part]) -> None:
        """Give the step's rows to the thread that writes them; it waits for their copy, this one does not."""
        writes: list[RowsToWrite] = []
        copies: list[HostCopy] = []
        for part in parts:
            if part.rows is not None:
                copies.append(HostCopy(part.rows))
                writes += rows_to_write(copies[-1].values, part.batch)
        if writes:
            assert self.write_back is not None
            self.write_back.submit(number, writes, copies)

    def _combine(self, record: StepRecord) -> None:
        """The record of all processes: mean losses and times, summed rows, finite only if all are."""
        names, processes = sorted(record.losses), self.accelerator.num_processes
        ages = record.age_mean * record.stored_rows
        values = [float(record.finite), record.fresh_rows, record.stored_rows, ages, record.decode_s]
        values += [record.encode_s, *(record.losses[name] for name in names)]
        local = torch.tensor(values, dtype=torch.float32, device=self.accelerator.device)
        total = self.accelerator.reduce(local, "sum").tolist()
        record.finite = total[0] == processes
        record.fresh_rows, record.stored_rows = round(total[1]), round(total[2])
        record.age_mean = total[3] / max(1, record.stored_rows)
        record.decode_s, record.encode_s = total[4] / processes, total[5] / processes
        record.losses = {name: value / processes for name, value in zip(names, total[6:], strict=True)}

    def _refuse(self, overflow: bool) -> None:
        """Statistics and loss normalisers that the forward moved go back; gradients are dropped.

        fp16's loss scale is lowered when it was too high for the gradients, and else stays what it was: the
        optimizer must not be asked, which would step by whatever gradients are finite.
        """
        if self._buffers:
            torch._foreach_copy_(list(self._buffers), list(self._buffers.values()))
        scaler = self.accelerator.scaler
        if scaler is not None:
            scaler.update(None if overflow else scaler.get_scale())
        self.optimizer.zero_grad(set_to_none=True)

    @torch.no_grad()
    def _keep_buffers(self) -> None:
        """Copy what a forward moves without the optimizer, to be able to go back."""
        if self._buffers is None:
            # statistics and counters; larger tables of whole numbers are constants
            buffers = [b for b in self.plain.buffers() if b.is_floating_point() or b.dim() == 0]
            self._buffers = {buffer: buffer.clone() for buffer in buffers}
        elif self._buffers:
            torch._foreach_copy_(list(self._buffers.values()), list(self._buffers))


def step_seed(seed: int, number: int, place: int) -> int:
    """Seed of a step's own randomness (drop path, noise): a resumed run needs no generator state."""
    return (seed * 1_000_003 + number) * 4099 + place


def sample_targets(sample: Sample, downsample: int) -> Targets:
    """Ground truth of a window in the decoder's grid, on the host; a position is known where its rows are."""
    known = None
    if sample.known is not None:
        filled = -sample.known.shape[1] % downsample
        rows = np.pad(sample.known, ((0, 0), (0, filled)), constant_values=True)
        known = torch.from_numpy(rows.reshape(len(rows), -1, downsample).all(2))
    segments = torch.from_numpy(sample.segments / downsample).float()
    return Targets(segments, torch.from_numpy(sample.labels), known=known)


def empty_rows(samples: Sequence[Sample], channels: int) -> StoredRows:
    """Stored rows of a run without a store: nothing was ever written."""
    valid = torch.stack([torch.from_numpy(sample.window.valid) for sample in samples])
    nothing = torch.zeros_like(valid)
    return StoredRows(torch.zeros(*valid.shape, channels), valid, nothing, torch.zeros(valid.shape).long())


def rows_to_write(values: NDArray[np.float32], batch: Batch) -> list[RowsToWrite]:
    """Fresh rows [M, R, C] cut to their videos: views, whose numbers may come later."""
    assert batch.clips is not None
    places = batch.clips.places
    writes = []
    for clip, (index, position) in enumerate(
        zip(places.sample.tolist(), places.position.tolist(), strict=True)
    ):
        sample = batch.samples[index]
        start = sample.window.start_row + position
        first, stop = max(start, 0), min(start + values.shape[1], sample.video.num_rows)
        if first < stop and bool(batch.clips.learn[clip]):
            writes.append(RowsToWrite(sample.video.id, first, values[clip, first - start : stop - start]))
    return writes


def drift(rows: Tensor, stored: Tensor, layout: Layout) -> Tensor:
    """Cosine [n] between each fresh row [M, R, C] and the row [B, W, C] of the store that it replaces."""
    old = layout.replaced
    sample, position, row = upload([layout.sample[old], layout.position[old], layout.row[old]], rows.device)
    return torch.cosine_similarity(stored[sample, position], rows.flatten(0, 1)[row], dim=1)
