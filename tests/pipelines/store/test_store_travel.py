"""`longtal store pack`, `unpack`, `push` and `pull`, as commands."""

import json

import pytest

from featstore import FeatureStore
from featstore.errors import StoreValueError
from tests.featstore.travelling import assert_equal_stores, make_store
from tests.pipelines.store.test_store_cli import run


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path / "a.zarr", rows=40)


def told(output):
    """The JSON of a command; the bar, which goes to stderr, stands before it."""
    return json.loads(output[output.index("{\n") :])


def test_pack_and_unpack_say_what_they_did(store, tmp_path):
    text = run("store", "pack", store, tmp_path / "packed")
    with FeatureStore.open(store) as opened:
        rows = opened.num_rows
    assert f"{rows:,} rows" in text and "%" in text and "/s" in text
    text = run("store", "unpack", tmp_path / "packed", tmp_path / "b.zarr")
    assert "generation 2, 5 videos" in text
    assert_equal_stores(store, tmp_path / "b.zarr")


def test_json_of_a_rounded_copy(store, tmp_path):
    facts = told(run("store", "pack", store, tmp_path / "p", "--round-bits", 4, "--level", 9, "--json"))
    assert 0 < facts["largest_error"] < 0.2 and 0 < facts["packed_bytes"] < 10 * facts["row_bytes"]
    assert "moved by" in run("store", "pack", store, tmp_path / "q", "--round-bits", 4)
    facts = told(run("store", "unpack", tmp_path / "p", tmp_path / "b.zarr", "--json"))
    assert facts["generation"] == 2 and facts["rows"] > 0
    assert isinstance(run("store", "pack", store, "ftp://host/x"), StoreValueError)


def test_push_and_pull_say_what_they_did(store, tmp_path):
    text = run("store", "push", store, tmp_path / "place")
    assert "is at generation 2 of" in text and "objects sent" in text
    facts = told(run("store", "pull", tmp_path / "place", tmp_path / "b.zarr", "--json"))
    assert facts["generation"] == 2 and facts["fetched"] == facts["pieces"]
    assert "0 of" in run("store", "pull", tmp_path / "place", tmp_path / "b.zarr", "--generation", 2)
    assert told(run("store", "push", store, tmp_path / "place", "--json"))["sent"] == 0
    assert_equal_stores(store, tmp_path / "b.zarr")
