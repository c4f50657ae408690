"""`longtal store status`: what is committed counts, beside a process that writes."""

import json
import subprocess
import sys
import threading

import numpy as np
import pytest

from featstore import FeatureStore, StoreNotFoundError
from featstore.filling import filling
from pipelines.store import status
from tests.featstore.travelling import SPEC, make_store
from tests.pipelines.store.test_store_cli import run


@pytest.fixture
def begun(tmp_path):
    """Six videos of 100 rows: one done, one failed, one with 40 rows, three waiting."""
    path = tmp_path / "s.zarr"
    with FeatureStore.create(path, SPEC) as store:
        store.add_videos({"id": f"v{i}", "num_rows": 100} for i in range(6))
        store.write("v0", 0, np.ones((100, SPEC.channels)), 0)
        store.complete("v0", num_rows=99)
        store.fail("v1", "no such file")
        store.write("v2", 10, np.ones((40, SPEC.channels)), 0)
        store.commit()
    return path


def test_a_store_that_is_not_full(begun):
    with FeatureStore.open(begun) as store:
        found = filling(store)
    assert (found.complete, found.failed, found.running, found.waiting) == (1, 1, 1, 3)
    assert (found.rows, found.rows_left, found.written, found.done) == (99 + 40, 60 + 300, False, False)
    assert found.eta_s is None
    assert "nobody writes" in run("store", "status", begun)
    (shown,) = json.loads(run("store", "status", begun, "--json"))
    assert shown["waiting"] == 3 and shown["eta_s"] is None and shown["store"] == str(begun)


def test_removed_videos_and_an_old_log_count_as_ever(tmp_path):
    """Beside `videos()`, on a store with every state, gaps and a log that is not in the base."""
    path = make_store(tmp_path / "a.zarr", rows=50)
    with FeatureStore.open(path, "r+") as writer, FeatureStore.open(path) as store:
        writer.write("d/v1", 60, np.ones((5, SPEC.channels)), 0)
        writer.commit()
        found, states = filling(store), store.videos()["state"].value_counts()
        assert found.written and found.generation == writer.generation
    assert (found.complete, found.failed, found.running, found.waiting) == (
        states["complete"],
        states["failed"],
        1,
        0,
    )
    assert found.rows_left == 70 - 55


def test_rate_and_time_left(tmp_path, monkeypatch):
    """A first sitting long ago, a second of ten writes with two seconds between them."""
    clock = 1000.0
    monkeypatch.setattr("featstore.writing.time.time", lambda: clock)
    with FeatureStore.create(tmp_path / "s.zarr", SPEC) as writer:
        writer.add_videos({"id": f"v{i}", "num_rows": 200} for i in range(2))
        writer.write("v0", 0, np.ones((100, SPEC.channels)), 0)
        writer.commit()
        with FeatureStore.open(tmp_path / "s.zarr") as store:
            assert filling(store).rows_per_s is None
            for start in range(100, 200, 10):
                clock = 9000.0 + start / 5
                writer.write("v0", start, np.ones((10, SPEC.channels)), 0)
            writer.commit()
            found = filling(store)
    assert found.rows_per_s == pytest.approx(100 / 18) and found.rows_left == 200
    assert found.eta_s == pytest.approx(200 / (100 / 18))
    assert "0:36" in str(status.table({tmp_path: found})["ETA"][0])


def test_it_watches_a_process_that_writes_to_the_end(begun):
    """Each commit is told once, the last one is of all videos; the writer is never held up."""
    code = (
        "import sys, time, numpy as np\n"
        "from featstore import FeatureStore\n"
        "with FeatureStore.open(sys.argv[1], 'r+') as store:\n"
        "    for i in range(2, 6):\n"
        "        store.write(f'v{i}', 0, np.ones((100, store.spec.channels)), 0)\n"
        "        store.complete(f'v{i}')\n"
        "        store.commit()\n"
        "        time.sleep(0.3)\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", code, str(begun)])
    told = []
    thread = threading.Thread(target=lambda: told.extend(status.watch([begun], 0.05)), daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive() and writer.wait(60) == 0
    last = told[-1][begun]
    assert (last.complete, last.failed, last.waiting, last.rows_left, last.eta_s) == (5, 1, 0, 0, 0.0)
    assert len({found[begun].generation for found in told}) >= 3
    assert any(found[begun].written for found in told)


def test_the_command_watches_and_ends(begun, tmp_path):
    with FeatureStore.open(begun, "r+") as store:
        for name in ("v2", "v3", "v4", "v5"):
            store.write(name, 0, np.ones((100, SPEC.channels)), 0)
            store.complete(name)
        store.commit()
    text = run("store", "status", begun, "--watch", code=1)  # a video failed
    assert "done" in text and "nobody" not in text
    (only,) = run("store", "status", begun, "--watch", "--json", code=1).splitlines()
    assert json.loads(only)[0]["complete"] == 5


def test_several_stores_have_a_line_of_all(begun, tmp_path):
    other = make_store(tmp_path / "b.zarr", rows=20)
    found = next(status.watch([begun, other], 1, once=True))
    table = status.table(found)
    assert list(table["store"]) == [str(begun), str(other), "all"]
    assert table["done"].iloc[2] == table["done"].iloc[:2].sum() and table["ETA"].iloc[2] == "nobody writes"


def test_no_store(tmp_path):
    assert isinstance(run("store", "status", tmp_path / "no.zarr"), StoreNotFoundError)
