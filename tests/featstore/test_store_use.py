"""What the store is for: read, gather, staleness, other readers, copies, merges, compaction.

Each test runs on halves in many small chunks, and on floats in one large one.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import zarr

from featstore import (
    FeatureSpec,
    FeatureStore,
    StoreExistsError,
    StoreSpecError,
    StoreValueError,
    compact_store,
    merge_stores,
)
from featstore.layout import CHUNK_BYTES


@pytest.fixture(params=[("float16", 128), ("float32", CHUNK_BYTES)], ids=["float16-small", "float32-large"])
def kind(request):
    """(spec, bytes of a chunk)."""
    dtype, chunk_bytes = request.param
    spec = FeatureSpec("e", "w", channels=6, clip_frames=8, frame_stride=2, fps=10.0, dtype=dtype)
    return spec, chunk_bytes


def make(path, kind, ids, rng=None, rows=30):
    spec, chunk_bytes = kind
    rng = rng or np.random.default_rng(0)
    values = {i: rng.standard_normal((rows, spec.channels)).astype(spec.dtype) for i in ids}
    with FeatureStore.create(path, spec, chunk_bytes=chunk_bytes) as store:
        store.add_videos(pd.DataFrame({"id": ids, "num_rows": rows, "duration_s": 6.0}))
        for i in ids:
            store.write(i, 0, values[i], 0)
            store.complete(i)
        store.commit()
    return values


def test_other_zarr_readers_see_the_same_bytes(memory, kind):
    tensorstore = pytest.importorskip("tensorstore")
    values = make(memory / "s.zarr", kind, ["a", "b", "c"])
    group = zarr.open_group(str(memory / "s.zarr"), mode="r")
    flat = np.concatenate(list(values.values()))
    assert group["features"][:].tobytes() == flat.tobytes()
    driver = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{memory}/s.zarr/features/"}}
    assert tensorstore.open(driver).result().read().result().tobytes() == flat.tobytes()
    np.testing.assert_array_equal(group["videos/first_row"][:], [0, 30, 60])
    np.testing.assert_allclose(group["ledger/time_s"][:30], (np.arange(30) * 2 + 1) / 10)
    assert bytes(group["videos/text"][:]) == b"abc"
    assert group.attrs["longtal"]["spec"]["encoder"] == "e"


def test_read_and_gather(memory, kind):
    values = make(memory / "s.zarr", kind, ["a", "b"])
    with FeatureStore.open(memory / "s.zarr") as store:
        rows, valid = store.read("a", -3, 35, return_valid=True)
        np.testing.assert_array_equal(rows[3:33], values["a"])
        assert not rows[:3].any() and not rows[33:].any() and valid.sum() == 30
        rows[:] = 0  # an array of its own
        out = np.empty((2, 4, 6), np.float32)
        store.gather([("b", slice(2, 6)), ("a", [29, 30, 0, 1])], out=out)
        np.testing.assert_array_equal(out[0], values["b"][2:6])
        np.testing.assert_array_equal(out[1], np.stack([values["a"][29], np.zeros(6), *values["a"][:2]]))
        with pytest.raises(StoreValueError):
            store.gather([("b", slice(2, 6))], out=np.empty((3, 6)))
        with pytest.raises(StoreValueError):
            store.read("a", 5, 3)


def test_staleness_against_pandas(memory, kind):
    rng = np.random.default_rng(3)
    make(memory / "s.zarr", kind, ["a", "b", "c"])
    with FeatureStore.open(memory / "s.zarr", "r+") as store:
        store.add_video("d", num_rows=7)
        store.write("d", 0, np.zeros((5, 6)), 4)
        store.complete("d")
        for step in range(1, 25):
            video, start = rng.choice(["a", "b", "c"]), int(rng.integers(26))
            store.write(str(video), start, np.zeros((4, 6)), step)
        for now in (None, 40):
            rows = store.staleness(now_step=now, by="row")
            assert rows["age"].isna().sum() == 2
            for by, keys in (("video", ["video"]), ("clip", ["video", "clip"])):
                groups = rows.assign(clip=rows["row"] // 4).groupby(keys, observed=True)
                table = store.staleness(now_step=now, by=by).set_index(keys)
                want = groups.agg(
                    rows=("age", "size"),
                    never=("step", lambda s: (s < 0).mean()),
                    never_refreshed=("step", lambda s: (s <= 0).mean()),
                    age_mean=("age", "mean"),
                    age_median=("age", "median"),
                    age_p90=("age", lambda s: s.quantile(0.9)),
                    age_max=("age", "max"),
                    writes=("writes", "sum"),
                    written_at=("written_at", "max"),
                )
                got = table.loc[want.index]
                for column in want:
                    np.testing.assert_allclose(got[column], want[column].astype(float), err_msg=column)
        assert store.staleness()["rows"].sum() == 97
        store.commit()
        after = store.staleness(by="row")
    with FeatureStore.open(memory / "s.zarr") as store:
        pd.testing.assert_frame_equal(store.staleness(by="row"), after)


def test_copy_is_independent_and_keeps_generation(memory, kind):
    values = make(memory / "s.zarr", kind, ["a"])
    with FeatureStore.open(memory / "s.zarr") as store:
        store.copy_to(memory / "copy.zarr", run_id="r")
        with pytest.raises(StoreExistsError):
            store.copy_to(memory / "copy.zarr")
        with FeatureStore.open(memory / "copy.zarr", "r+", run="r") as copy:
            assert (copy.generation, copy.run_id) == (1, "r")
            copy.write("a", 0, np.ones((30, 6)), 1)
            copy.commit()
        np.testing.assert_array_equal(store.read("a", 0, 30), values["a"])
        assert store.run_id is None
    assert sorted(p.name for p in memory.iterdir()) == ["copy.zarr", "s.zarr"]


def test_merge_keeps_rows_and_ledger(memory, kind):
    one, two = (
        make(memory / "1.zarr", kind, ["a", "b"]),
        make(memory / "2.zarr", kind, ["c"], np.random.default_rng(9)),
    )
    with FeatureStore.open(memory / "2.zarr", "r+") as store:
        store.add_video("bad", num_rows=3)
        store.fail("bad", "no picture")
        store.commit()
        ledger = store.ledger("c")
    merge_stores(memory / "m.zarr", [memory / "1.zarr", memory / "2.zarr"])
    with FeatureStore.open(memory / "m.zarr") as store:
        assert store.video_ids == ["a", "b", "c"] and store.ids("failed") == ["bad"]
        for i, rows in {**one, **two}.items():
            np.testing.assert_array_equal(store.read(i, 0, 30, verify=True), rows)
        for name, column in store.ledger("c").items():
            np.testing.assert_array_equal(column, ledger[name])
    with pytest.raises(StoreValueError, match="complete in"):
        merge_stores(memory / "n.zarr", [memory / "1.zarr", memory / "m.zarr"])
    make(memory / "o.zarr", (replace(kind[0], encoder="other"), kind[1]), ["z"])
    with pytest.raises(StoreSpecError, match="encoder"):
        merge_stores(memory / "n.zarr", [memory / "1.zarr", memory / "o.zarr"])
    assert not (memory / "n.zarr").exists()


def test_remove_replace_compact(memory, kind):
    path = memory / "s.zarr"
    values = make(path, kind, ["a", "b", "c"])
    reader = FeatureStore.open(path)
    with FeatureStore.open(path, "r+") as store:
        assert store.remove(["b"]) == 30 * kind[0].row_bytes
        assert "b" not in store and "b" in reader
        store.commit()
        assert "b" not in reader
        store.add_video("b", num_rows=5, fps=2.0, row_times_s=[0, 1, 2, 3, 9])
        store.write("b", 0, np.full((5, 6), 7), 0)
        store.complete("b", 4)
        store.commit()
        assert store.video_ids == ["a", "c", "b"]
    assert compact_store(path) == 31 * kind[0].row_bytes
    assert compact_store(path) == 0
    np.testing.assert_array_equal(reader.read("c", 0, 30), values["c"])  # the old reader follows
    np.testing.assert_array_equal(reader.ledger("b")["time_s"], [0, 1, 2, 3])
    assert reader.generation == 3
    reader.close()
    with FeatureStore.open(path, "r+") as store:
        assert store.num_rows == 64 and not len(store.verify())
        store.write("b", 3, np.full((1, 6), 8), 1)
        assert store.commit() == 4


def test_unfinished_videos_are_invisible_and_taken_up_again(memory, kind):
    path = memory / "s.zarr"
    make(path, kind, ["a"])
    with FeatureStore.open(path, "r+") as store:
        store.add_video("late", num_rows=8, fps=10.0)
        store.write("late", 0, np.ones((4, 6)), 0)
        store.commit()
    with FeatureStore.open(path) as store:
        assert store.video_ids == ["a"] and len(store) == 1 and "late" not in store
        with pytest.raises(KeyError, match="reserved"):
            store.read("late", 0, 4)
    with FeatureStore.open(path, "r+") as store:
        assert store.ids("reserved") == ["late"]
        assert store.read("late", 0, 8, return_valid=True)[1].sum() == 4
        store.write("late", 4, np.ones((4, 6)), 0)
        store.complete("late")
        store.commit()
        store.fail("a", "cannot be read any more")
        store.commit()
        assert store.video_ids == ["late"] and store.video("a").reason == "cannot be read any more"
