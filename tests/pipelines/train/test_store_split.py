"""`longtal store split`: the parts are the run's slots, equal to the bit, and one store again when merged."""

import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner

from cli import cli
from featstore import FeatureStore, StoreExistsError, StoreValueError, merge_stores, split_store
from pipelines.config import save_resolved
from pipelines.train.split import split_by_slots
from tal.errors import ConfigError
from tal.memory.sampler import WindowSampler
from tests.pipelines.tiny_run import tiny_config


@pytest.fixture
def store(data, tmp_path):
    """A copy of the tiny store that a run refreshed, with a video that failed."""
    path = tmp_path / "all.zarr"
    shutil.copytree(data / "store.zarr", path)
    with FeatureStore.open(path, "r+", run="r") as opened:
        opened.write("v01", 3, np.ones((2, opened.spec.channels)), step=7)
        opened.add_video("bad", 4)
        opened.fail("bad", "no picture")
        opened.commit()
    return path


def contents(*paths):
    """id -> (rows, ledger) of the complete videos of stores."""
    found = {}
    for path in paths:
        with FeatureStore.open(path) as opened:
            for name in opened.video_ids:
                assert name not in found
                found[name] = opened.read(name, 0, opened.video(name).num_rows), opened.ledger(name)
    return found


def assert_equal_to_the_bit(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, (rows, ledger) in ours.items():
        np.testing.assert_array_equal(rows, theirs[name][0])
        for column, values in ledger.items():
            np.testing.assert_array_equal(values, theirs[name][1][column])


def test_parts_are_the_slots_of_the_run_and_merge_into_the_whole(data, store, tmp_path):
    config = tiny_config(data, train={"batch_size": 4})
    path = save_resolved(config, tmp_path, "run.yaml")
    arguments = ["store", "split", str(store), "--config", str(path), "--parts", "2", "--json"]
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    table = json.loads(result.stdout)
    parts = [tmp_path / "all.parts" / f"{k}-of-2.zarr" for k in (1, 2)]
    assert [row["store"] for row in table] == list(map(str, parts))
    assert [row["slots"] for row in table] == ["0-1", "2-3"]
    assert sum(row["training videos"] for row in table) == 6
    assert [row["other videos"] for row in table] == [1, 1]

    assert_equal_to_the_bit(contents(*parts), contents(store))
    videos = sorted(contents(store))[:6]
    windows = WindowSampler(videos, 4, config.window, config.memory, config.train.seed)
    for part, slots in zip(parts, (range(2), range(2, 4)), strict=True):
        assert set(windows.videos_of(slots)) == set(contents(part)) - {"v06", "v07"}
        assert CliRunner().invoke(cli, ["store", "verify", str(part)]).exit_code == 0
    with FeatureStore.open(parts[0]) as first, FeatureStore.open(store) as whole:
        assert first.ids("failed") == ["bad"] and first.run_id == "r"
        assert first.generation == whole.generation == 2

    merge_stores(tmp_path / "again.zarr", parts)
    assert_equal_to_the_bit(contents(tmp_path / "again.zarr"), contents(store))
    with FeatureStore.open(tmp_path / "again.zarr") as again:
        assert again.generation == 2 and again.ids("failed") == ["bad"]


def test_a_batch_that_hosts_cannot_share_is_refused(data, store, tmp_path):
    config = tiny_config(data, train={"batch_size": 4})
    with pytest.raises(ConfigError, match=r"batch_size 4 is not a multiple of 3 parts"):
        split_by_slots(store, config, 3)
    config = tiny_config(data, train={"batch_size": 4, "accumulate": 2})
    with pytest.raises(ConfigError, match=r"not a multiple of 4 parts x train\.accumulate 2"):
        split_by_slots(store, config, 4)
    assert not (tmp_path / "all.parts").exists()


def test_a_split_stands_whole_or_not_at_all(data, store, tmp_path):
    config = tiny_config(data, train={"batch_size": 4})

    def cut(rows):
        raise KeyboardInterrupt

    ids = contents(store)
    halves = {"a.zarr": list(ids)[:3], "b.zarr": list(ids)[3:]}
    with pytest.raises(KeyboardInterrupt):
        split_store(store, tmp_path / "halves", halves, cut)
    assert [p.name for p in tmp_path.iterdir()] == ["all.zarr"]
    split_by_slots(store, config, 2)
    with pytest.raises(StoreExistsError):
        split_by_slots(store, config, 2)


def test_every_video_has_one_part_and_its_rows(store, tmp_path):
    ids = list(contents(store))
    for parts in ({"a": ids, "b": ids[:1]}, {"a": ids[1:]}, {"a": [*ids, "strange"]}):
        with pytest.raises(StoreValueError, match=r"have not exactly one part: (v00|strange)"):
            split_store(store, tmp_path / "parts", parts)
    with FeatureStore.open(store, "r+", run="r") as opened:
        opened.add_video("late", 4)
        opened.commit()
    with pytest.raises(StoreValueError, match="1 videos wait for their rows"):
        split_store(store, tmp_path / "parts", {"a": ids})
    assert not (tmp_path / "parts").exists()
