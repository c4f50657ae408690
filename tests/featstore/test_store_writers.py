"""Several processes: locks, joins, ownership, commits by barrier, readers that follow."""

import multiprocessing as mp
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from featstore import FeatureStore, FeatureStoreError, StoreLockedError, StoreValueError
from tests.featstore.simulation import SMALL, state

_CONTEXT = mp.get_context("spawn")


def filled(path, videos=8, rows=16, run=None):
    with FeatureStore.create(path, SMALL, run=run) as store:
        store.add_videos({"id": f"v{i}", "num_rows": rows} for i in range(videos))
        for i in range(videos):
            store.write(f"v{i}", 0, np.full((rows, 4), i, np.float32), 0)
            store.complete(f"v{i}")
        store.commit()
    return path


def _race(path, writer, writers, count, commits, barrier):
    rng = np.random.default_rng(writer)
    with FeatureStore.open(path, "r+", run="race", writer=writer, writers=writers) as store:
        own = [v for v in store.video_ids if store.owner(v) == writer]
        for part in range(commits):
            for i in range(count // commits):
                step = 1 + part * (count // commits) + i
                row = int(rng.integers(16))
                store.write(
                    own[int(rng.integers(len(own)))],
                    row,
                    np.full((1, 4), step + writer / 8, np.float32),
                    step,
                )
            store.prepare_commit()
            barrier.wait(120)
            store.commit()
            barrier.wait(120)


def run_race(path, writers, count, commits):
    filled(path)
    barrier = _CONTEXT.Barrier(writers)
    processes = [
        _CONTEXT.Process(target=_race, args=(str(path), w, writers, count, commits, barrier))
        for w in range(writers)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
        assert process.exitcode == 0
    with FeatureStore.open(path) as store:
        assert store.generation == 1 + commits
        assert store.run_id == "race"
        total = 0
        for video in store.video_ids:
            ledger, rows = store.ledger(video), store.read(video, 0, 16)
            total += int(ledger["writes"].sum()) - 16  # one write each by the extraction
            writer = store.video(video).index % writers
            expected = np.where(ledger["step"] > 0, ledger["step"] + writer / 8, store.video(video).index)
            np.testing.assert_array_equal(rows, np.repeat(expected[:, None], 4, 1).astype(np.float32))
        assert total == writers * count
        assert not len(store.verify())


def test_four_writers_lose_nothing(memory):
    run_race(memory / "s.zarr", 4, 400, 4)


@pytest.mark.slow
def test_four_writers_ten_thousand_writes_each(memory):
    run_race(memory / "s.zarr", 4, 10_000, 5)


def test_a_second_run_is_refused_with_the_holders_pid(memory):
    path = filled(memory / "s.zarr")
    with FeatureStore.open(path, "r+", run="one"):
        with pytest.raises(StoreLockedError, match=str(os.getpid())):
            FeatureStore.open(path, "r+", run="two")
        with FeatureStore.open(path) as reader:  # reading needs no lock
            assert len(reader) == 8
    FeatureStore.open(path, "r+", run="two").close()


def test_a_dead_holders_lock_is_recovered(memory):
    path = filled(memory / "s.zarr")
    with FeatureStore.open(path) as reader:
        before = state(reader)
    code = (
        "import sys, time, numpy as np; from featstore import FeatureStore\n"
        "s = FeatureStore.open(sys.argv[1], 'r+'); s.write('v0', 0, np.ones((3, 4)), 5)\n"
        "s.add_video('new', num_rows=5); print('ready', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "ready\n"
    with FeatureStore.open(path) as reader:
        assert reader.uncommitted_rows == 3
        assert state(reader) == before
    with pytest.raises(StoreLockedError, match=str(child.pid)):
        FeatureStore.open(path, "r+")
    child.send_signal(signal.SIGKILL)
    child.wait()
    with FeatureStore.open(path, "r+") as store:
        assert store.recovered["pid"] == child.pid
        assert state(store) == before
        assert store.uncommitted_rows == 0


def test_a_store_refreshed_by_a_run_serves_only_that_run(memory):
    path = filled(memory / "s.zarr")
    with FeatureStore.open(path, "r+", run="one") as store:
        store.write("v0", 0, np.ones((1, 4)), 3)
        store.commit()
    with pytest.raises(StoreLockedError, match="'one'"):
        FeatureStore.open(path, "r+", run="two")
    with pytest.raises(StoreLockedError, match="'one'"):
        FeatureStore.open(path, "r+")
    with FeatureStore.open(path, "r+", run="one") as store:
        assert store.run_id == "one"
        copied = store.copy_to(memory / "copy.zarr", run_id="two")
    with FeatureStore.open(copied, "r+", run="two") as store:
        assert store.generation == 2 and store.run_id == "two"


def test_ownership_changes_only_at_a_commit(memory):
    path = filled(memory / "s.zarr")
    first = FeatureStore.open(path, "r+", run="r", writer=0, writers=2)
    second = FeatureStore.open(path, "r+", run="r", writer=1, writers=2)
    row = np.ones((1, 4))
    assert first.owner("v1") == 1
    first.assign({"v1": 0, "v0": 1})
    for store, video in ((first, "v1"), (second, "v0")):
        with pytest.raises(StoreValueError, match="belongs to writer"):
            store.write(video, 0, row, 1)
    second.write("v1", 0, row, 1)
    with pytest.raises(FeatureStoreError, match="writer 1 has not called prepare_commit"):
        first.commit()
    second.prepare_commit()
    with pytest.raises(FeatureStoreError, match="prepared generation"):
        second.write("v1", 0, row, 1)
    first.commit()
    first.write("v1", 0, row * 2, 2)
    second.write("v0", 0, row * 3, 2)  # takes up writer 0's commit by itself
    assert second.generation == 2
    with pytest.raises(StoreValueError, match="belongs to writer"):
        second.write("v1", 0, row, 1)
    second.prepare_commit()
    first.commit()
    assert second.commit() == 3
    with FeatureStore.open(path) as reader:
        assert reader.read("v1", 0, 1)[0, 0] == 2 and reader.read("v0", 0, 1)[0, 0] == 3
        assert reader.ledger("v1", 0, 1)["writes"] == [3]
    with pytest.raises(StoreValueError, match="writer 0 adds"):
        second.add_video("x", num_rows=1)
    second.close()
    first.close()


def test_others_join_only_their_own_run(memory):
    path = filled(memory / "s.zarr")
    with pytest.raises(StoreLockedError, match="writer 0"):
        FeatureStore.open(path, "r+", run="r", writer=1, writers=2, join_timeout_s=0.05)
    with FeatureStore.open(path, "r+", run="r", writers=2):
        with pytest.raises(StoreLockedError, match="'other'"):
            FeatureStore.open(path, "r+", run="other", writer=1, writers=2, join_timeout_s=0.05)
        second = FeatureStore.open(path, "r+", run="r", writer=1, writers=2)
        with pytest.raises(StoreLockedError):
            FeatureStore.open(path, "r+", run="r", writer=1, writers=2)
        second.close()
    with pytest.raises(StoreValueError, match="same run"):
        FeatureStore.open(path, "r+", writer=1, writers=2)


def test_a_forked_child_reads_and_its_parents_lock_ends_with_the_parent(memory):
    path = filled(memory / "s.zarr")
    store = FeatureStore.open(path, "r+")
    store.write("v3", 2, np.full((1, 4), 9.0), 1)
    pid = os.fork()
    if pid == 0:
        ok = store.read("v3", 2, 3)[0, 0] == 9
        try:
            store.write("v3", 2, np.ones((1, 4)), 1)
            ok = False
        except FeatureStoreError:
            pass
        time.sleep(0.3)
        os._exit(0 if ok else 1)
    store.close()
    FeatureStore.open(path, "r+").close()  # the child still runs, and holds nothing
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def _follow(path, started, stop, results):
    """Every read must be of one generation: all rows of a video carry the same value."""
    with FeatureStore.open(path) as reader:
        reads = torn = 0
        while not stop.is_set():
            rows = reader.read("v0", 0, 16)
            started.set()
            reads, torn = reads + 1, torn + (len(np.unique(rows)) != 1)
        results.put((reads, torn))


def test_a_reader_never_sees_half_a_commit(memory):
    path = filled(memory / "s.zarr")
    started, stop, results = _CONTEXT.Event(), _CONTEXT.Event(), _CONTEXT.Queue()
    process = _CONTEXT.Process(target=_follow, args=(str(path), started, stop, results))
    process.start()
    assert started.wait(60)
    with FeatureStore.open(path, "r+") as store:
        for step in range(1, 120):
            store.write("v0", 0, np.full((16, 4), step, np.float32), step)
            store.commit()
    time.sleep(0.05)
    stop.set()
    reads, torn = results.get(timeout=60)
    process.join()
    assert reads > 0 and torn == 0


@pytest.mark.parametrize("what", ["read", "ledger", "staleness"])
def test_a_read_with_a_commit_in_its_middle_is_of_one_generation(memory, monkeypatch, what):
    path = filled(memory / "s.zarr", videos=2)
    with FeatureStore.open(path, "r+") as store, FeatureStore.open(path) as reader:
        store.write("v0", 0, np.full((16, 4), 7.0), 1)
        array = reader._base.features if what == "read" else reader._base.ledger["step"]
        read_into = array.read_into

        def interrupted(start, stop, out):
            middle = start + 8
            read_into(start, middle, out[:8])
            if store.generation == 1:
                store.commit()
            read_into(middle, stop, out[8:])

        monkeypatch.setattr(array, "read_into", interrupted)
        if what == "read":
            assert (reader.read("v0", 0, 16) == 7).all()
        else:
            rows = reader.ledger("v0") if what == "ledger" else reader.staleness(by="row")[:16]
            assert (np.asarray(rows["step"]) == 1).all() and (np.asarray(rows["writes"]) == 2).all()
        assert store.generation == 2
