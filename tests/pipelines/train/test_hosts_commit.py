"""Memories of several hosts and the checkpoint move together, wherever hosts die; hosts are threads here."""

import itertools
import tempfile
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from featstore import FeatureStore
from pipelines.train import loop
from pipelines.train.checkpoint import TrainState, choose_checkpoint, load_weights
from pipelines.train.hosts.settle import common_generation, drop_ahead, settle
from pipelines.train.loop import Trainer
from tal.errors import CheckpointError
from tests.featstore.simulation import SMALL
from tests.pipelines.train.wired import on_threads

# In the order in which a host passes them; the first alone writes the checkpoint. "deaf": the others hear
# that the checkpoint is written, this host hears that the connection broke.
POINTS = ("prepare", "prepared", "deaf", "commit", "renamed", "committed")
OF_FIRST = ("prepare", "prepared", "checkpoint", "checkpointed", "deaf", "commit", "renamed", "committed")


class Died(BaseException):
    """A host is gone, as with SIGKILL."""


class MortalStore(FeatureStore):
    """Dies at a point of the next commit."""

    point = None

    def pass_(self, point):
        if point == self.point:
            raise Died

    def prepare_commit(self):
        self.pass_("prepare")
        super().prepare_commit()
        self.pass_("prepared")

    def commit(self, timeout_s=600.0):
        self.pass_("commit")
        generation = super().commit(timeout_s)
        self.pass_("committed")
        return generation

    def _finish(self, commit):
        self.pass_("renamed")  # it stands, and is not in the base
        super()._finish(commit)


@pytest.fixture
def memory():
    """A folder in memory, where syncs cost nothing."""
    place = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=place) as folder:
        yield Path(folder)


@pytest.fixture
def threads_own(monkeypatch):
    """Stores are mortal, and so is the first host while it writes a checkpoint."""
    real, dying = loop.save_checkpoint, threading.local()

    def save(*arguments):
        for point in ("checkpoint", "checkpointed"):
            if getattr(dying, "point", None) == point:
                raise Died
            if point == "checkpoint":
                real(*arguments)

    monkeypatch.setattr(loop, "save_checkpoint", save)
    return dying


def opened(folder, hosts):
    """A host's memory as the run finds it, and the state to go on from: the first host's, told to all."""
    path, checkpoints = folder / f"host{hosts.number}" / "memory.zarr", folder / "host0" / "checkpoints"
    commit_prepared = settle(path, checkpoints, "r", hosts)
    memory = MortalStore.open(path, "r+", run="r", commit_prepared=commit_prepared)
    found = None
    if hosts.number == 0 and (checkpoint := choose_checkpoint(checkpoints, memory.generation)):
        drop_ahead(checkpoints, memory.generation)
        found = checkpoint.state.step, load_weights(checkpoint.path)[0]["w"].item()
    step, weight = hosts.first(found) or (0, 0.0)
    assert weight == step
    assert memory.read("v", 0, 1)[0, 0] == step, f"host {hosts.number}"
    return memory, step


def work(folder, hosts, until, deaths, dying, closes):
    """Steps with a checkpoint after each, as `Trainer` makes them; the last of them is a host's last."""
    memory, step = opened(folder, hosts)

    def wait_for_everyone():
        hosts._gather(None)
        if memory._prepared is not None and next(waits) and memory.point == "deaf":
            raise threading.BrokenBarrierError

    waits = itertools.cycle((False, True))  # before the checkpoint, and behind it
    accelerator = SimpleNamespace(
        is_main_process=hosts.rank == 0, scaler=None, wait_for_everyone=wait_for_everyone
    )
    trainer = SimpleNamespace(
        write_back=None,
        memory=memory,
        state=TrainState(step=step),
        out=folder / f"host{hosts.number}",
        accelerator=accelerator,
        average=None,
        optimizer=torch.optim.SGD([torch.zeros(1)]),
        network=SimpleNamespace(
            trained=lambda state: state, state_dict=lambda: {"w": torch.tensor(float(trainer.state.step))}
        ),
    )
    try:
        if step == 0:
            Trainer.checkpoint(trainer, commit=False)
        while trainer.state.step < until:
            trainer.state.step += 1
            memory.write("v", 0, np.full((1, 4), trainer.state.step), trainer.state.step)
            if trainer.state.step == until:
                memory.point = dying.point = deaths.get(hosts.number)
            Trainer.checkpoint(trainer)
        memory.close()
    except Died:
        memory._lock.abandon()  # what the system does with a dead process's lock
        hosts.wire.leave()
    except threading.BrokenBarrierError:
        # what `train` does in a process that goes on, and an agent that kills it does not
        memory.close() if closes else memory._lock.abandon()
        hosts.wire.leave()


def run(folder, count, until, dying, deaths=(), closes=True):
    """All hosts from where they stand until a step; ``deaths``: number of a host -> where it dies then."""
    deaths = dict(deaths)

    def one(hosts):
        dying.point = None
        work(folder, hosts, until, deaths, dying, closes)

    assert on_threads(count, one) == [None] * count


def make_hosts(folder, count, generations=(1,)):
    """A memory each, in which row 0 of video v says the step; made by so many commits."""
    for number in range(count):
        with FeatureStore.create(folder / f"host{number}" / "memory.zarr", SMALL) as store:
            store.add_video("v", 4)
            store.write("v", 0, np.zeros((4, 4)), 0)
            store.complete("v")
            for _ in range(generations[number % len(generations)]):
                store.commit()


def stand(folder, count):
    """Of each host, generation and row."""
    found = []
    for number in range(count):
        with FeatureStore.open(folder / f"host{number}" / "memory.zarr") as store:
            found.append((store.generation, float(store.read("v", 0, 1)[0, 0])))
    return found


_FAST = (None, "checkpoint", "checkpointed")


@pytest.mark.parametrize(
    "first", [*_FAST, *(pytest.param(p, marks=pytest.mark.slow) for p in OF_FIRST if p not in _FAST)]
)
def test_two_hosts_that_die_anywhere_go_on_together(memory, threads_own, first):
    both = [((first, second), True) for second in (None, *POINTS) if first or second]
    killed = [(deaths, False) for deaths, _ in both if {None, "deaf"} & set(deaths)]
    for number, (deaths, closes) in enumerate([*both, *killed]):
        folder = memory / str(number)
        make_hosts(folder, 2)
        run(folder, 2, 2, threads_own, enumerate(deaths), closes)
        run(folder, 2, 4, threads_own)  # `opened` holds that rows and weights are of one step
        assert stand(folder, 2) == [(5, 4.0)] * 2, deaths
        steps = [c.name for c in sorted((folder / "host0" / "checkpoints").glob("step_*"))]
        assert steps == ["step_00000003", "step_00000004"], deaths


@pytest.mark.slow
@pytest.mark.parametrize(("host", "point"), [(h, p) for h in range(3) for p in (POINTS if h else OF_FIRST)])
def test_three_hosts_of_which_one_dies_twice(memory, threads_own, host, point):
    make_hosts(memory, 3)
    run(memory, 3, 2, threads_own, {host: point})
    run(memory, 3, 3, threads_own, {host: point})
    run(memory, 3, 4, threads_own)
    assert stand(memory, 3) == [(5, 4.0)] * 3


def test_memories_of_different_numbers_begin_with_one(memory, threads_own):
    make_hosts(memory, 3, generations=(2, 5, 1))
    run(memory, 3, 1, threads_own)
    assert stand(memory, 3) == [(6, 1.0)] * 3


def test_where_memories_meet():
    assert common_generation([(3, False), (3, True)], {3}) == 3
    assert common_generation([(3, True), (3, True)], {2, 3}) == 3  # no checkpoint: discarded
    assert common_generation([(3, True), (3, True)], {3, 4}) == 4
    assert common_generation([(3, False), (3, True)], {3, 4}) == 3
    assert common_generation([(3, True), (4, False)], {3, 4}) == 4
    assert common_generation([(4, False), (4, False)], {3, 4}) == 4
    for standings in ([(3, False), (4, False)], [(3, True), (5, False)], [(1, False), (9, False)]):
        with pytest.raises(CheckpointError, match=r"different moments \(host 0: \d"):
            common_generation(standings, {3, 4})


def test_a_checkpoint_that_the_run_went_on_without_is_never_taken_for_a_later_one(memory, threads_own):
    """As version 0.1 left one: written before the rows were prepared."""
    make_hosts(memory, 2)
    run(memory, 2, 2, threads_own)
    checkpoints = memory / "host0" / "checkpoints"
    ahead = TrainState(step=9, generation=4)
    loop.save_checkpoint(checkpoints, ahead, {"w": torch.tensor(9.0)}, None, {})
    run(memory, 2, 3, threads_own, {1: "prepared"})
    assert not (checkpoints / "step_00000009").exists()
    run(memory, 2, 4, threads_own)
    assert stand(memory, 2) == [(5, 4.0)] * 2
