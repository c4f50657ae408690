"""One optimizer step, through the memory or without it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from pipelines.config import RunConfig
from tal.decoders.base import StepTotals, Targets
from tal.memory.clip_loader import Batch
from tal.memory.mixing import StoredRows
from tal.memory.network import MemoryNetwork, StepOutput
from tal.memory.sampler import Sample
from tal.memory.store_reader import RowStore, read_batch
from tal.memory.writeback import RowsToWrite, WriteBack

_HALF_MAX = 65504.0  # largest float16


@dataclass
class StepRecord:
    """What a step did.

    Attributes
    ----------
    finite
        False: it moved neither weights nor memory.
    grad_norm, encoder_grad_norm
        L2 norm of all gradients and of the encoder's, before clipping.
    fresh_rows, stored_rows, age_mean
        rows that were encoded and that were read, with the mean age of the latter in steps.
    drift
        cosine of each stored row and the fresh row that replaces it.
    decode_s, encode_s
        seconds.
    """

    finite: bool
    losses: dict[str, float]
    grad_norm: float = 0.0
    encoder_grad_norm: float = 0.0
    fresh_rows: int = 0
    stored_rows: int = 0
    age_mean: float = 0.0
    drift: list[float] = field(default_factory=list)
    decode_s: float = 0.0
    encode_s: float = 0.0

    def log_values(self) -> dict[str, Any]:
        """The numbers that the log has of a step: losses by name, and the rest but for drift."""
        return {
            **self.losses,
            "grad_norm": self.grad_norm,
            "encoder_grad_norm": self.encoder_grad_norm,
            "finite": self.finite,
            "fresh_rows": self.fresh_rows,
            "stored_rows": self.stored_rows,
            "age_mean": self.age_mean,
            "decode_s": self.decode_s,
            "encode_s": self.encode_s,
        }


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
    ) -> None:
        self.config, self.accelerator = config, accelerator
        self.network, self.optimizer = network, optimizer
        self.store, self.write_back, self.half_store = store, write_back, half_store
        self.plain: MemoryNetwork = accelerator.unwrap_model(network)
        self.downsample = self.plain.localizer.downsample

    def run(self, number: int, batches: Sequence[Batch]) -> StepRecord:
        """Take optimizer step ``number``, counted from 1, on its micro-batches."""
        torch.manual_seed(step_seed(self.config.train.seed, number, self.accelerator.process_index))
        buffers = {name: b.clone() for name, b in self.plain.named_buffers() if b.is_floating_point()}
        self.network.train()
        self.optimizer.zero_grad(set_to_none=True)
        record = StepRecord(True, {})
        writes: list[RowsToWrite] = []
        # no row changes within a step
        rows = [self._stored(batch, number) for batch in batches]
        sums = self._sums(batches, rows) if len(batches) > 1 else None
        for index, (batch, stored) in enumerate(zip(batches, rows, strict=True)):
            last = index == len(batches) - 1
            totals = None
            if sums is not None:
                totals = StepTotals(sums, len(batches) * self.accelerator.num_processes, last)
            with nullcontext() if last else self.accelerator.no_sync(self.network):
                output = self._forward_backward(batch, stored, len(batches), totals)
            self._account(record, batch, stored, output, writes, len(batches))
        if self.accelerator.num_processes > 1:
            self._combine(record)
        record.grad_norm, record.encoder_grad_norm = self._clip()
        # the norm is of all processes' gradients; NaN fails too
        record.finite &= record.grad_norm < float("inf")
        if record.finite:
            self.optimizer.step()
            if self.write_back is not None and writes:
                self.write_back.submit(number, writes)
        else:
            self._undo(buffers)
        return record

    def _stored(self, batch: Batch, number: int) -> StoredRows:
        """Stored rows as all earlier steps left them."""
        if self.store is None:
            return empty_rows(batch.samples, self.plain.localizer.in_channels).to(self.accelerator.device)
        if self.write_back is not None:
            self.write_back.wait_for(sample.video.id for sample in batch.samples)
        return read_batch(self.store, batch.samples, number).to(self.accelerator.device)

    def _sums(self, batches: Sequence[Batch], rows: Sequence[StoredRows]) -> Tensor | None:
        """What the losses of all micro-batches of all processes are divided by, float [n]."""
        sums = []
        for batch, stored in zip(batches, rows, strict=True):
            part = self.plain.totals(stored, batch.clips, self._targets(batch))
            if part is None:  # this decoder's losses are means over samples
                return None
            sums.append(part)
        return self.accelerator.reduce(torch.stack(sums).sum(0), "sum")

    def _targets(self, batch: Batch) -> list[Targets]:
        """Ground truth in the decoder's grid, on the device."""
        return [sample_targets(sample, self.downsample, self.accelerator.device) for sample in batch.samples]

    def _forward_backward(
        self, batch: Batch, stored: StoredRows, parts: int, totals: StepTotals | None
    ) -> StepOutput:
        clips = batch.clips.to(self.accelerator.device) if batch.clips is not None else None
        with self.accelerator.autocast():
            output: StepOutput = self.network(stored, clips, self._targets(batch), totals)
        self.accelerator.backward(output.losses["loss"] / parts)
        return output

    def _account(
        self,
        record: StepRecord,
        batch: Batch,
        stored: StoredRows,
        output: StepOutput,
        writes: list[RowsToWrite],
        parts: int,
    ) -> None:
        for name, value in output.losses.items():
            record.losses[name] = record.losses.get(name, 0.0) + float(value.detach()) / parts
        record.finite &= bool(torch.isfinite(output.losses["loss"].detach()))
        old = output.mixed.mask[:, 0] & ~output.mixed.fresh
        record.fresh_rows += int(output.mixed.fresh.sum())
        before, count = record.stored_rows, int(old.sum())
        record.stored_rows += count
        if count:
            total = record.age_mean * before + float(output.mixed.age[old].sum())
            record.age_mean = total / record.stored_rows
        record.decode_s += batch.decode_s
        record.encode_s += self.plain.encode_s
        if output.to_write is None or batch.clips is None:
            return
        limit = _HALF_MAX if self.half_store else torch.finfo(torch.float32).max
        record.finite &= bool((output.to_write.abs() <= limit).all())
        record.drift += drift(output.to_write, stored, batch)
        if self.write_back is not None:
            writes += rows_to_write(output.to_write, batch)

    def _clip(self) -> tuple[float, float]:
        """L2 norm of all gradients and of the encoder's, before clipping to the limit (if there is one)."""
        limit = self.config.optim.clip_norm or float("inf")
        norm = self.accelerator.clip_grad_norm_(self.network.parameters(), limit)
        total = float(norm) if norm is not None else 0.0
        if self.plain.encoder is None:
            return total, 0.0
        gradients = [p.grad for p in self.plain.encoder.parameters() if p.grad is not None]
        clipped = float(torch.nn.utils.get_total_norm(gradients)) if gradients else 0.0
        return total, clipped * max(1.0, total / limit)

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

    def _undo(self, buffers: dict[str, Tensor]) -> None:
        """Statistics and loss normalisers that the forward moved go back; gradients are dropped."""
        self._restore(buffers)
        scaler = self.accelerator.scaler
        if scaler is not None:
            self.optimizer.step()  # skipped by the scaler, which then lowers its scale
        self.optimizer.zero_grad(set_to_none=True)

    @torch.no_grad()
    def _restore(self, buffers: dict[str, Tensor]) -> None:
        for name, buffer in self.plain.named_buffers():
            if name in buffers:
                buffer.copy_(buffers[name])


def step_seed(seed: int, number: int, process: int) -> int:
    """Seed of a step's own randomness (drop path, noise): a resumed run needs no generator state."""
    return (seed * 1_000_003 + number) * 4099 + process


def sample_targets(sample: Sample, downsample: int, device: torch.device | str) -> Targets:
    """Ground truth of a window in the decoder's grid."""
    return Targets(
        segments=torch.from_numpy(sample.segments / downsample).float().to(device),
        labels=torch.from_numpy(sample.labels).to(device),
    )


def empty_rows(samples: Sequence[Sample], channels: int) -> StoredRows:
    """Stored rows of a run without a store: nothing was ever written."""
    valid = torch.stack([torch.from_numpy(sample.window.valid) for sample in samples])
    nothing = torch.zeros_like(valid)
    return StoredRows(torch.zeros(*valid.shape, channels), valid, nothing, torch.zeros(valid.shape).long())


def rows_to_write(rows: Tensor, batch: Batch) -> list[RowsToWrite]:
    """Fresh rows [M, R, C] cut to their videos."""
    assert batch.clips is not None
    values = rows.cpu().numpy()
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


def drift(rows: Tensor, stored: StoredRows, batch: Batch) -> list[float]:
    """Cosine between each fresh row [M, R, C] and the stored row that it replaces."""
    assert batch.clips is not None
    places = batch.clips.places.to(rows.device)
    at = places.rows(rows.shape[1])
    inside = (at >= 0) & (at < stored.rows.shape[1])
    sample = places.sample[:, None].expand_as(at)[inside]
    both = (stored.written & stored.valid)[sample, at[inside]]
    old, new = stored.rows[sample, at[inside]][both], rows[inside][both]
    return torch.cosine_similarity(old, new, dim=1).tolist()
