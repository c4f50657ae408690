"""The store against a plain dictionary, with reopening, rollback and dying as steps."""

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from featstore import FeatureStore
from tests.featstore.simulation import SMALL

_SHM = "/dev/shm" if os.path.isdir("/dev/shm") else None


class Model:
    """id -> state, rows, steps, writes."""

    def __init__(self, videos=None):
        self.videos = videos or {}

    def copy(self):
        return Model(
            {
                k: {n: np.copy(v) if isinstance(v, np.ndarray) else v for n, v in r.items()}
                for k, r in self.videos.items()
            }
        )


class StoreMachine(RuleBasedStateMachine):
    @initialize()
    def start(self):
        self.root = Path(tempfile.mkdtemp(dir=_SHM))
        self.path = self.root / "s.zarr"
        self.store = FeatureStore.create(self.path, SMALL, chunk_bytes=128)
        self.reader = FeatureStore.open(self.path)
        self.model, self.committed = Model(), Model()
        self.count = self.step = 0

    def _pick(self, data, *states):
        names = [k for k, r in self.model.videos.items() if r["state"] in states]
        return data.draw(st.sampled_from(names)) if names else None

    @rule(rows=st.integers(1, 40))
    def add(self, rows):
        name = f"v{self.count}"
        self.count += 1
        self.store.add_video(name, num_rows=rows, fps=4.0)
        self.model.videos[name] = {
            "state": "reserved",
            "rows": np.zeros((rows, 4), np.float32),
            "step": np.full(rows, -1),
            "writes": np.zeros(rows, int),
        }

    @rule(data=st.data(), seed=st.integers(0, 9))
    def write(self, data, seed):
        name = self._pick(data, "reserved", "complete")
        if name is None:
            return
        held = self.model.videos[name]
        start = data.draw(st.integers(0, len(held["rows"]) - 1))
        stop = data.draw(st.integers(start + 1, len(held["rows"])))
        self.step += 1
        values = np.random.default_rng(seed).standard_normal((stop - start, 4)).astype(np.float32)
        self.store.write(name, start, values, self.step)
        held["rows"][start:stop] = values
        held["step"][start:stop] = self.step
        held["writes"][start:stop] += 1

    @rule(data=st.data())
    def complete(self, data):
        name = self._pick(data, "reserved")
        if name is not None:
            count = data.draw(st.integers(1, len(self.model.videos[name]["rows"])))
            self.store.complete(name, count)
            held = self.model.videos[name]
            held["state"] = "complete"
            for key in ("rows", "step", "writes"):
                held[key] = held[key][:count].copy()

    @rule(data=st.data())
    def fail(self, data):
        name = self._pick(data, "reserved", "complete")
        if name is not None:
            self.store.fail(name, "broken")
            self.model.videos[name]["state"] = "failed"

    @rule(data=st.data())
    def remove(self, data):
        name = self._pick(data, "reserved", "complete", "failed")
        if name is not None:
            self.store.remove(name)
            del self.model.videos[name]

    @rule()
    def commit(self):
        before = self.store.generation
        assert self.store.commit() == before + 1
        self.committed = self.model.copy()

    @rule()
    def rollback(self):
        self.store.rollback()
        self.model = self.committed.copy()

    @rule()
    def reopen(self):
        self.store.close()
        self.store = FeatureStore.open(self.path, "r+")
        self.model = self.committed.copy()

    @rule()
    def die(self):
        """As after SIGKILL: no clean-up runs, the system closes what was open."""
        self.store._log.close()
        self.store._lock.abandon()
        self.store._closed = True
        self.store = FeatureStore.open(self.path, "r+")
        assert self.store.recovered is not None
        self.model = self.committed.copy()

    @precondition(lambda self: hasattr(self, "store"))
    @invariant()
    def agrees(self):
        if not hasattr(self, "store"):
            return
        self._compare(self.store, self.model, ("reserved", "complete"))
        self._compare(self.reader, self.committed, ("complete",))

    def _compare(self, store, model, readable):
        assert store.video_ids == [k for k, r in model.videos.items() if r["state"] == "complete"]
        for name, held in model.videos.items():
            if held["state"] in readable:
                count = len(held["rows"])
                rows, valid = store.read(name, -1, count + 1, return_valid=True)
                np.testing.assert_array_equal(rows[1:-1], held["rows"])
                np.testing.assert_array_equal(valid, [False, *(held["step"] >= 0), False])
                ledger = store.ledger(name)
                np.testing.assert_array_equal(ledger["step"], held["step"])
                np.testing.assert_array_equal(ledger["writes"], held["writes"])

    def teardown(self):
        if hasattr(self, "store"):
            self.store.close()
            self.reader.close()
            shutil.rmtree(self.root)


TestStore = StoreMachine.TestCase
TestStore.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
