"""What was prepared outlives its writers: the next opening discards it, or makes up for the commit."""

import json
import random
import shutil

import numpy as np
import pytest

from featstore import FeatureStore, StoreFormatError, StoreLockedError
from featstore.prepared import marker_path, standing
from tests.featstore.simulation import SMALL, Disk, RecordingOps, random_change, state
from tests.featstore.test_store_writers import filled


def prepared_history(store, rng, commits):
    """Random changes, each commit prepared before; its state by generation, and the events when it was."""
    states, ready = {store.generation: state(store)}, {}
    for made in range(commits):
        for step in range(1, 5):
            random_change(store, rng, step + 4 * made, 4 * made + step)
        store.prepare_commit()
        ready[store.generation + 1] = len(store._files.events)
        states[store.commit()] = state(store)
    return states, ready


@pytest.mark.parametrize("seed", range(2))
def test_cut_anywhere_a_prepared_commit_is_made_up_for_whole_or_not_there(memory, seed):
    rng = random.Random(seed)
    root, before = memory / "store.zarr", memory / "before"
    FeatureStore.create(root, SMALL, chunk_bytes=256).close()
    shutil.copytree(root, before)
    files = RecordingOps(root)
    with FeatureStore.open(root, "r+", files=files) as store:
        states, ready = prepared_history(store, rng, 3)
    disk, seen = Disk(before), set()
    for at, event in enumerate(files.events, 1):
        disk.play(event)
        if rng.random() > 0.4:
            continue
        (cut := memory / "cut").mkdir()
        disk.lose_power(cut, rng, rng.choice((0.0, 0.5, 1.0)))
        generation, prepared = standing(cut)
        assert prepared or generation >= max((g for g, moment in ready.items() if moment <= at), default=0)
        made_up_for = memory / "made"
        shutil.copytree(cut, made_up_for)
        for path, commit in ((made_up_for, True), (cut, False)):
            with FeatureStore.open(path, "r+", commit_prepared=commit) as store:
                assert store.generation == generation + (prepared and commit)
                assert state(store) == states[store.generation], (at, event[:2])
                assert not len(store.verify())
            assert standing(path) == (generation + (prepared and commit), False)
            shutil.rmtree(path)
        seen.add(prepared)
    assert seen == {True, False}


def written(path, prepare):
    """Two writers of run r, of which some prepare before both close; standing before, and after."""
    with (
        FeatureStore.open(path, "r+", run="r", writer=0, writers=2) as first,
        FeatureStore.open(path, "r+", run="r", writer=1, writers=2) as second,
    ):
        for writer, store in enumerate((first, second)):
            store.write(f"v{writer}", 0, np.full((1, 4), 9), 1)
            if writer in prepare:
                store.prepare_commit()
    return standing(path)


@pytest.mark.parametrize("prepare", [(), (0,), (1,), (0, 1)])
def test_all_writers_of_a_store_must_have_prepared(memory, prepare):
    path = filled(memory / "s.zarr")
    assert written(path, prepare) == (1, prepare == (0, 1))
    discarded = shutil.copytree(path, memory / "discarded.zarr")
    with FeatureStore.open(discarded, "r+", run="r") as store:
        assert store.generation == 1 and store.run_id is None
        assert [store.read(f"v{i}", 0, 1)[0, 0] for i in range(2)] == [0, 1]
    with FeatureStore.open(path, "r+", run="r", commit_prepared=True) as store:
        done = prepare == (0, 1)
        assert store.generation == 1 + done and store.run_id == ("r" if done else None)
        assert [store.read(f"v{i}", 0, 1)[0, 0] for i in range(2)] == ([9, 9] if done else [0, 1])
        assert not list((path / "log").glob("prepared.*"))
        store.write("v0", 0, np.full((1, 4), 5), 2)
        assert store.commit() == 2 + done


def test_another_run_does_not_make_up_for_a_commit(memory):
    path = filled(memory / "s.zarr")
    written(path, (0, 1))
    with pytest.raises(StoreLockedError, match="run 'r'"):
        FeatureStore.open(path, "r+", run="other", commit_prepared=True)
    assert standing(path) == (1, True)


@pytest.mark.parametrize(
    "change",
    [
        {"num_rows": -1},
        {"writers": "two"},
        {"entry": {"rows_file": "../../elsewhere"}},
        {"entry": {"slots": 1 << 60}},
        {"unknown": 1},
    ],
)
def test_a_forged_marker_is_refused(memory, change):
    path = filled(memory / "s.zarr")
    written(path, (0, 1))
    marker = marker_path(path, 0)
    document = json.loads(marker.read_text())
    document["entry"] |= change.pop("entry", {})
    marker.write_text(json.dumps(document | change))
    with pytest.raises(StoreFormatError, match=r"prepared\.000 is damaged"):
        FeatureStore.open(path, "r+", run="r", commit_prepared=True)
