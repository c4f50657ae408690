"""Rows of the next step are read beside the computation of this one, and are what it left."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from pipelines.train.look_ahead import LookAhead
from pipelines.train.optim import build_optimizer
from pipelines.train.setup import build_network
from pipelines.train.step import TrainStep
from pipelines.train.step_record import Readout
from tal.encoders import build_encoder
from tal.errors import VideoError
from tal.memory.clip_loader import Batch, ClipDataset, ClipReading, SampleFrames
from tal.memory.sampler import TrainingVideo, WindowSampler
from tal.memory.writeback import WriteBack
from tests.late_copies import LateCopy
from tests.pipelines.train.test_host_waits import config_of

pytestmark = pytest.mark.usefixtures("one_thread")


class Rows:
    """A store in memory that says in which order it was read and written."""

    def __init__(self, channels: int, log: list[str]) -> None:
        self.channels, self.log = channels, log
        self.rows: dict[str, np.ndarray] = {}
        self.steps: dict[str, np.ndarray] = {}

    def read(self, video_id: str, start_row: int, stop_row: int) -> Any:
        self.log.append(f"read {video_id}")
        whole = self.rows.setdefault(video_id, np.ones((64, self.channels), np.float32))
        return whole[start_row:stop_row].copy()

    def ledger(self, video_id: str, start_row: int, stop_row: int) -> dict[str, np.ndarray]:
        return {"step": self.steps.setdefault(video_id, np.zeros(64, np.int64))[start_row:stop_row].copy()}

    def write(self, video_id: str, start_row: int, rows: np.ndarray, step: int) -> None:
        self.log.append(f"write {video_id}")
        at = slice(start_row, start_row + len(rows))
        self.rows.setdefault(video_id, np.ones((64, self.channels), np.float32))[at] = rows
        self.steps.setdefault(video_id, np.zeros(64, np.int64))[at] = step

    def close(self) -> None:
        """Nothing is open."""


def run(videos: list[list[str]], ahead: bool, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, list[str]]:
    """Steps on windows of these videos; losses, rows and steps of the store, and what was done in order."""
    AcceleratorState._reset_state()
    config, log = config_of("actionformer"), []
    assert config.encoder is not None
    encoder = build_encoder(config.encoder, seed=0)
    network = build_network(config, 3, encoder.channels, encoder)
    accelerator = Accelerator(cpu=True)
    wrapped, optimizer = accelerator.prepare(network, build_optimizer(network, config.optim))
    store = Rows(encoder.channels, log)
    write_back = WriteBack(store)
    step = TrainStep(config, accelerator, wrapped, optimizer, store, write_back, half_store=False)
    read = Readout.read

    def noted(self: Readout) -> None:
        log.append("computed")
        read(self)

    monkeypatch.setattr(Readout, "read", noted)
    batches = [[made_up(names, encoder, config, number)] for number, names in enumerate(videos)]
    losses = []
    for number, batch in enumerate(batches, 1):
        later = batches[number] if number < len(batches) else []
        record = step.run(number, batch, (lambda later=later: later) if ahead else None)
        losses.append((record.losses, record.drift))
    write_back.close()
    monkeypatch.undo()
    return (losses, store.rows, store.steps), log


def made_up(names: list[str], encoder: Any, config: Any, number: int) -> Batch:
    """A micro-batch of random pictures for one window of each video."""
    nothing = np.zeros((0, 2)), np.zeros(0, np.int64)
    grid = encoder.grid
    training = [TrainingVideo(n, 40, 8.0, grid.rows_at(8.0), *nothing, "", 10.0) for n in names]
    sampler = WindowSampler(training, len(training), config.window, config.memory, number, grid.rows_per_clip)
    samples = list(sampler.samples(0, 0))
    rng = np.random.default_rng(number)
    dataset = ClipDataset(ClipReading(grid, encoder.preprocess, config.augment, "auto"))
    side = encoder.preprocess.crop
    decoded = []
    for sample in samples:
        shape = (len(sample.clips), grid.clip_frames, side, side, 3)
        pictures = torch.from_numpy(rng.integers(0, 255, shape, dtype=np.uint8))
        decoded.append(SampleFrames(sample, pictures, sample.clips, None, 0.0))
    return dataset.collate(decoded)


@pytest.fixture(autouse=True)
def _own_accelerator() -> Iterator[None]:
    yield
    AcceleratorState._reset_state()


STEPS = [["a", "b"], ["c", "b"], ["c", "a"], ["d", "e"]]


def test_what_this_step_does_not_write_is_read_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    _, log = run(STEPS, True, monkeypatch)
    reads = [entry for entry in log if not entry.startswith("write")]
    assert [sorted(part) for part in _parts(reads, "computed")] == [
        ["read a", "read b", "read c"],  # c of the second step, not b, which the first writes
        ["read a", "read b"],
        ["read c", "read d", "read e"],
        [],
        [],
    ]


def test_steps_are_those_of_a_run_that_reads_nothing_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    (losses, rows, steps), _ = run(STEPS, True, monkeypatch)
    (losses_, rows_, steps_), _ = run(STEPS, False, monkeypatch)
    assert losses == losses_
    assert rows.keys() == rows_.keys()
    assert all(np.array_equal(rows[v], rows_[v]) and np.array_equal(steps[v], steps_[v]) for v in rows)


def test_rows_that_land_late_and_out_of_order_are_written_as_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain, _ = run(STEPS, True, monkeypatch)
    monkeypatch.setattr("pipelines.train.step.HostCopy", LateCopy)
    (losses, rows, steps), _ = run(STEPS, True, monkeypatch)
    assert not LateCopy.flying
    assert losses == plain[0]
    assert all(np.array_equal(rows[v], plain[1][v]) and np.array_equal(steps[v], plain[2][v]) for v in rows)


def _parts(entries: list[str], between: str) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    for entry in entries:
        if entry == between:
            parts.append([])
        else:
            parts[-1].append(entry)
    return parts


def test_an_undecoded_video_of_the_next_step_is_said_at_its_turn() -> None:
    good, bad = Batch([], None, 0.0), Batch([], None, 0.0, "b.mp4 is cut")
    source = iter(LookAhead(iter([([good], 0.1), ([bad], 0.2)])))
    assert next(source) == ([good], 0.1)
    with pytest.raises(VideoError, match="is cut"):
        next(source)


def test_the_next_step_is_asked_for_once() -> None:
    good, later = Batch([], None, 0.0), Batch([], None, 0.5)
    source = LookAhead(iter([([good], 0.1), ([later], 0.2)]))
    turns = iter(source)
    assert next(turns) == ([good], 0.1)
    assert source.next_batches() == [later] == source.next_batches()
    assert next(turns) == ([later], 0.2)
    assert source.next_batches() == ()
    assert next(turns, None) is None
