"""Training from a store at a place: fetched into the cache once, a generation at a time, never written to."""

import json
import logging
import os
import shutil

import numpy as np
import pytest
import yaml

from featstore import FeatureStore, StoreNotFoundError, StoreTransferError, pack_store, pieces, push_store
from pipelines.config import parse_config
from pipelines.store import cached
from pipelines.store.cached import look_at, with_store_here
from tal.errors import ConfigError
from tests.featstore.bucket import running_bucket
from tests.featstore.travelling import SPEC, assert_equal_stores, make_store


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LONGTAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(pieces, "PIECE_BYTES", 200 * SPEC.row_bytes)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path / "a.zarr", rows=200)


@pytest.fixture
def place(store, tmp_path):
    push_store(store, str(tmp_path / "place"))
    return tmp_path / "place"


def named(store, **more):
    return parse_config({"data": {"store": str(store), **more}})


def contents(folder):
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in sorted(folder.rglob("*"))}


def grow(store, at=5):
    with FeatureStore.open(store, "r+") as opened:
        opened.write("d/v0", 20, np.random.default_rng(at).normal(size=(9, SPEC.channels)), at)
        opened.commit()
    return store


def test_a_store_of_this_machine_stays_as_it_is(store, cache):
    for path in (store, store.parent / "yet-to-be-made.zarr", ""):
        assert with_store_here(named(path)) == named(path)
    assert not cache.exists()


def test_a_pushed_store_is_fetched_once_and_the_place_not_touched(place, store, cache, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("longtal"), "propagate", True)
    before = contents(place)
    with caplog.at_level(logging.INFO, "longtal"):
        config = with_store_here(named(place))
        assert f"{place}: fetching generation 2 (" in caplog.text and str(cache) in caplog.text
        assert "objects, " in caplog.text
        caplog.clear()
        assert with_store_here(named(place)) == config
        assert "generation 2 is here" in caplog.text and "fetching" not in caplog.text
    assert_equal_stores(store, config.data.store)
    assert config.data.store_place == str(place) and config.data.store_generation == 2
    assert str(cache) in config.data.store and contents(place) == before
    # what a run writes down is enough to have the same rows elsewhere
    shutil.rmtree(cache)
    assert with_store_here(config) == config
    assert_equal_stores(store, config.data.store)


def test_a_later_generation_stands_beside_and_only_what_changed_is_fetched(place, store, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("longtal"), "propagate", True)
    first = with_store_here(named(place))
    shutil.copytree(store, store.parent / "before.zarr")
    push_store(grow(store), str(place))
    caplog.clear()
    with caplog.at_level(logging.INFO, "longtal"):
        second = with_store_here(named(place))
    pieces_of_all = len(list((place / "objects").iterdir()))
    said = next(r.getMessage() for r in caplog.records if r.getMessage().startswith("fetched"))
    assert int(said.split()[1]) < int(said.split()[3]) < pieces_of_all
    assert second.data.store_generation == 3 and second.data.store != first.data.store
    assert_equal_stores(store, second.data.store)
    assert_equal_stores(store.parent / "before.zarr", first.data.store)
    # a run that goes on keeps its generation, by its own configuration and by the file it was begun with
    assert with_store_here(first, first.data) == first
    assert with_store_here(named(place), first.data) == first
    with pytest.raises(ConfigError, match="generation 2"):
        with_store_here(named(place, store_generation=3), first.data)
    assert with_store_here(named(place, store_generation=2)).data == first.data


def test_a_packed_copy_is_unpacked_once(store, tmp_path):
    pack_store(store, str(tmp_path / "packed"))
    config = with_store_here(named(tmp_path / "packed"))
    assert_equal_stores(store, config.data.store)
    assert look_at(str(tmp_path / "packed")).packed
    shutil.rmtree(tmp_path / "packed" / "features")
    assert with_store_here(config) == config
    pack_store(store, str(tmp_path / "again"))
    with pytest.raises(StoreNotFoundError, match="generation 2, not 7"):
        with_store_here(named(tmp_path / "again", store_generation=7))


def test_what_was_put_in_a_generations_stead_is_refused(place, store, cache):
    config = with_store_here(named(place))
    shutil.rmtree(cache)
    shutil.rmtree(place)
    shutil.rmtree(store)
    push_store(make_store(store, rows=100, seed=9), str(place))
    with pytest.raises(ConfigError, match="another generation 2"):
        with_store_here(config, config.data)


def test_another_store_in_its_place_is_taken_as_it_is(place, store):
    config = with_store_here(named(place))
    moved = config.model_copy(update={"data": config.data.model_copy(update={"store": str(store)})})
    data = with_store_here(moved).data
    assert (data.store, data.store_place, data.store_generation) == (str(store), "", 0)


def test_what_would_write_or_read_two_generations_is_refused(place, monkeypatch, cache):
    with pytest.raises(ConfigError, match="store pull"):
        with_store_here(parse_config({"data": {"store": str(place)}, "memory": {"in_place": True}}))
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="store_generation=2"):
        with_store_here(named(place))
    assert not cache.exists()
    assert with_store_here(named(place, store_generation=2)).data.store_generation == 2


def test_a_run_with_a_memory_of_its_own_fetches_nothing(place, cache, tmp_path):
    config = with_store_here(named(place))
    shutil.rmtree(cache)
    (tmp_path / "run" / "memory.zarr").mkdir(parents=True)
    assert with_store_here(config, config.data, tmp_path / "run") == config
    assert with_store_here(named(place), config.data, tmp_path / "run") == config
    assert not cache.exists()


def test_nothing_there_and_no_place(tmp_path):
    with pytest.raises(StoreNotFoundError, match="no store was pushed or packed"):
        with_store_here(named("memory://nothing/here"))
    with pytest.raises(ValueError, match="ftp://"):
        with_store_here(named("ftp://host/store"))


def test_a_fetch_from_a_bucket_that_is_cut_goes_on(store, cache, monkeypatch):
    url = "s3://stores/gym-store"
    with running_bucket("stores") as wire:
        push_store(store, url)
        wire.cut_after(35_000)
        with pytest.raises(StoreTransferError):
            with_store_here(named(url))
        wire.mend()
        assert not list(cache.rglob("g2-*.zarr"))
        told = {}
        pull = cached.travel.pull
        monkeypatch.setattr(cached.travel, "pull", lambda *a: told.update(pull(*a)) or told)
        config = with_store_here(named(url))
    assert_equal_stores(store, config.data.store)
    assert 0 < told["fetched"] < told["pieces"]


@pytest.mark.slow
def test_train_says_what_it_fetches_and_goes_on_with_it(tmp_path, cache):
    """The command: a run from a place ends as a run from the store, and resumes without the place."""
    from click.testing import CliRunner

    from cli import cli
    from tests.pipelines.tiny_run import make_data, tiny_config
    from tests.pipelines.tiny_run import make_store as make_rows

    make_data(tmp_path)
    push_store(make_rows(tmp_path), str(tmp_path / "place"))
    config = tiny_config(tmp_path).model_dump(mode="json")
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    results = {}
    for name, rows in (("one", tmp_path / "store.zarr"), ("two", tmp_path / "place")):
        words = ["--config", tmp_path / "run.yaml", "--store", rows, "--out", tmp_path / name, "--json"]
        done = CliRunner().invoke(cli, ["train", *map(str, words)], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        results[name] = json.loads(done.output[done.output.rindex('{\n  "out"') :])["validation_mAP"]
        assert ("fetching generation" in done.output) == (name == "two")
    assert results["one"] == results["two"]
    written = yaml.safe_load((tmp_path / "two" / "config.yaml").read_text())["data"]
    assert written["store_place"] == str(tmp_path / "place") and written["store_generation"] >= 1
    os.rename(tmp_path / "place", tmp_path / "elsewhere")
    words = ["train", "--resume", "--out", str(tmp_path / "two")]
    done = CliRunner().invoke(cli, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
