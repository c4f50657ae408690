"""Whatever the disk loses when the power goes, a store opens at a committed generation."""

import random
import shutil

import numpy as np
import pytest

from featstore import FeatureStore
from featstore.base import Base
from featstore.layout import create_folder, make_header, read_header
from tests.featstore.simulation import SMALL, Disk, RecordingOps, small_history, state


def replay(tmp_path, seed, commits, share, variants):
    rng = random.Random(seed)
    root = tmp_path / "store.zarr"
    FeatureStore.create(root, SMALL, chunk_bytes=256).close()
    before = tmp_path / "before"
    shutil.copytree(root, before)
    files = RecordingOps(root)
    with FeatureStore.open(root, "r+", files=files) as store:
        states = small_history(store, rng, commits)
    durable, checked, generations = 0, 0, set()
    disk = Disk(before)
    for at, event in enumerate(files.events):
        disk.play(event)
        if rng.random() > share:
            continue
        for keep in variants:
            cut = tmp_path / f"cut{at}"
            cut.mkdir()
            disk.lose_power(cut, rng, keep)
            with FeatureStore.open(cut, "r") as reader:
                generation = reader.generation
                assert state(reader) == states[generation], (at, event[:2], keep)
            with FeatureStore.open(cut, "r+") as store:
                assert store.generation == generation
                assert state(store) == states[generation], (at, event[:2], keep)
                assert not len(store.verify())
            generations.add(generation)
            assert generation >= durable
            checked += 1
            shutil.rmtree(cut)
        if event == ("sync_dir", "."):
            with_all = tmp_path / "all"
            with_all.mkdir()
            disk.lose_power(with_all, rng, 0.0)
            with FeatureStore.open(with_all, "r") as reader:
                durable = max(durable, reader.generation)
            shutil.rmtree(with_all)
    assert max(states) in generations
    return checked, len(files.events)


def test_cut_anywhere_opens_at_a_commit(memory):
    checked, events = replay(memory, seed=1, commits=4, share=0.25, variants=(0.0, 0.5, 1.0))
    assert checked > 100 and events > 100


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_every_cut_opens_at_a_commit(memory, seed):
    replay(memory, seed=seed + 10, commits=5, share=1.0, variants=(0.0, 0.3, 0.7, 1.0))


def test_the_model_notices_a_missing_sync(memory, monkeypatch):
    """The proof proves something: without the logs' syncs it fails."""
    monkeypatch.setattr(RecordingOps, "sync", lambda self, fd: None)
    with pytest.raises((AssertionError, ValueError)):
        replay(memory, seed=1, commits=4, share=0.5, variants=(0.5,))


def test_a_new_store_is_durable_before_its_first_commit_file(memory):
    root = memory / "store.zarr"
    files = RecordingOps(root)
    create_folder(root, make_header(SMALL, 256), files)
    renamed = next(i for i, event in enumerate(files.events) if event[0] == "rename")
    assert files.events[renamed][2] == "commit.json"
    before = files.events[:renamed]
    groups = [root, root / "ledger", root / "videos"]
    arrays = [array.folder for array in Base(root, read_header(root), files).arrays]
    documents = {str((folder / "zarr.json").relative_to(root)) for folder in groups + arrays}
    assert documents <= {event[1] for event in before if event[0] == "sync"}
    folders = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_dir()} | {".", ".."}
    assert folders <= {event[1] for event in before if event[0] == "sync_dir"}


def test_rows_survive_in_values(tmp_path):
    root = tmp_path / "s.zarr"
    with FeatureStore.create(root, SMALL) as store:
        store.add_video("a", num_rows=3)
        store.write("a", 0, np.arange(12.0).reshape(3, 4), 0)
        store.complete("a")
        store.commit()
    with FeatureStore.open(root) as store:
        np.testing.assert_array_equal(store.read("a", 0, 3), np.arange(12.0).reshape(3, 4))
