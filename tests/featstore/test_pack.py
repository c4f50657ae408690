"""Packed copies: back to the bit, atomic, read with zarr alone, and never believed unseen."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import fsspec
import numpy as np
import pytest
import zarr

from featstore import (
    FeatureStore,
    StoreExistsError,
    StoreFormatError,
    StoreNotFoundError,
    StoreTransferError,
    StoreValueError,
    StoreWriteError,
    pack,
    pack_store,
    unpack_store,
)
from featstore.pack import PACK, Rounding
from tests.featstore.travelling import SPEC, assert_equal_stores, make_store


@pytest.fixture
def tmp_path(memory):
    """A folder in memory: what is synced here need not outlive the test."""
    return memory


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path / "a.zarr")


@pytest.fixture(params=["folder", "memory"])
def place(request, tmp_path):
    yield str(tmp_path / "packed") if request.param == "folder" else "memory://packed/here"
    fsspec.filesystem("memory").store.clear()


@pytest.fixture(params=[1 << 20, 1 << 9], ids=["one shard", "many shards"])
def chunk_bytes(request, monkeypatch):
    monkeypatch.setattr(pack, "_CHUNK_BYTES", request.param)
    monkeypatch.setattr(pack, "_CHUNKS_PER_SHARD", 4)


def test_there_and_back_is_equal_to_the_bit(store, place, chunk_bytes, tmp_path):
    packed = pack_store(store, place)
    unpack_store(place, tmp_path / "b.zarr")
    assert_equal_stores(store, tmp_path / "b.zarr")
    with FeatureStore.open(store) as opened:
        assert packed.num_rows == opened.num_rows
    with FeatureStore.open(tmp_path / "b.zarr", "r+") as opened:  # and may be written on
        opened.add_video("new", num_rows=2, fps=15.0)
        assert opened.commit() == 3


def test_float32_runs_and_empty_stores_travel(tmp_path):
    spec = replace(SPEC, dtype="float32")
    make_store(tmp_path / "run.zarr", spec, run="run-7")
    FeatureStore.create(tmp_path / "empty.zarr", SPEC).close()
    for name in ("run", "empty"):
        pack_store(tmp_path / f"{name}.zarr", str(tmp_path / f"{name}.packed"))
        unpack_store(str(tmp_path / f"{name}.packed"), tmp_path / f"{name}.back")
        assert_equal_stores(tmp_path / f"{name}.zarr", tmp_path / f"{name}.back")


def test_what_was_removed_does_not_travel(store, tmp_path):
    pack_store(store, str(tmp_path / "packed"))
    group = zarr.open_group(tmp_path / "packed", mode="r")
    with FeatureStore.open(store) as opened:
        record = opened._table.records[2]
        first, count = int(record["first_row"]), int(record["num_rows"])
        assert opened._ledger_column("step", first, first + 5).max() == 0
    assert not np.any(group["features"][first : first + count])
    assert (group["ledger/step"][first : first + count] == -1).all()


@pytest.mark.parametrize("bits", [0, 4, 9, 10])
def test_rounding_is_measured_and_noted(store, tmp_path, bits):
    packed = pack_store(store, str(tmp_path / "packed"), round_bits=bits)
    unpack_store(str(tmp_path / "packed"), tmp_path / "b.zarr")
    with FeatureStore.open(store) as a, FeatureStore.open(tmp_path / "b.zarr") as b:
        errors = [
            np.abs(a.read(name, 0, 300).astype(float) - b.read(name, 0, 300)).max() for name in a.video_ids
        ]
        assert max(errors) == packed.largest_error == b.spec.extra["rounding"]["largest_error"]
        assert (packed.largest_error == 0) == (bits == 10)
        assert not b.spec.differences(a.spec) and "rounded" in b.spec.remarks(a.spec)[0]
        assert b.verify().empty  # checksums are of the rows as they are now


def test_rounding_keeps_numbers_finite_and_adds_up(store, tmp_path):
    rounding = Rounding(2, np.dtype("<f2"))
    rows = np.array([[65504.0, -65504.0, 1.4, 0.0]], "<f2")
    assert rounding.apply(rows).tolist() == [[65504.0, -65504.0, 1.5, 0.0]]
    assert rounding.largest_error == pytest.approx(0.1, abs=1e-3)
    first = pack_store(store, str(tmp_path / "p6"), round_bits=6)
    unpack_store(str(tmp_path / "p6"), tmp_path / "b.zarr")
    second = pack_store(tmp_path / "b.zarr", str(tmp_path / "p3"), round_bits=3)
    unpack_store(str(tmp_path / "p3"), tmp_path / "c.zarr")
    with FeatureStore.open(tmp_path / "c.zarr") as opened:
        said = opened.spec.extra["rounding"]
    assert said == {"mantissa_bits": 3, "largest_error": first.largest_error + second.largest_error}


ALONE = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"featstore", "tal", "pipelines", "torch", "pandas"}:
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
import zarr
store = zarr.open_group(sys.argv[1], mode="r")
text, videos = store["videos/text"][:].tobytes(), store["videos"]
ids = [text[a:b].decode() for a, b in zip(videos["id_start"][:], videos["id_stop"][:])]
i = ids.index("d/v0")
first, count = int(videos["first_row"][i]), int(videos["num_rows"][i])
rows = store["features"][first : first + count]
print(store.attrs["longtal_pack"]["commit"]["generation"], rows.shape, rows.astype(float).sum())
"""


def test_zarr_alone_reads_a_packed_copy(store, tmp_path):
    pack_store(store, str(tmp_path / "packed"))
    command = [sys.executable, "-c", ALONE, str(tmp_path / "packed")]
    out = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    with FeatureStore.open(store) as opened:
        total = opened.read("d/v0", 0, 303).astype(float).sum()
    assert out.split(" (") == ["2", f"303, 16) {total}\n"]


# -- whole, or not there ------------------------------------------------------------


def test_nothing_is_overwritten(store, place, tmp_path):
    pack_store(store, place)
    with pytest.raises(StoreExistsError):
        pack_store(store, place)
    with pytest.raises(StoreExistsError):
        unpack_store(place, store)
    assert_equal_stores(store, store)


def test_an_interrupted_packing_is_no_store_and_is_begun_anew(store, place, tmp_path, monkeypatch):
    calls = []

    def break_down(array, start, values):
        calls.append(array.name)
        if len(calls) == 17:
            raise ConnectionResetError("cut")
        put(array, start, values)

    put = pack._put
    monkeypatch.setattr(pack, "_put", break_down)
    with pytest.raises(StoreTransferError, match="run the same command again"):
        pack_store(store, place)
    assert any("features" in name for name in calls)
    with pytest.raises(StoreNotFoundError):
        unpack_store(place, tmp_path / "b.zarr")
    assert not (tmp_path / "b.zarr").exists()
    pack_store(store, place)
    unpack_store(place, tmp_path / "b.zarr")
    assert_equal_stores(store, tmp_path / "b.zarr")
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


def test_what_is_not_a_half_packing_is_left_alone(store):
    files = fsspec.filesystem("memory")
    files.pipe_file("/packed/here/packing.json", b"{}")
    files.pipe_file("/packed/here/diary.txt", b"mine")
    with pytest.raises(StoreExistsError):
        pack_store(store, "memory://packed/here")
    assert files.cat_file("/packed/here/diary.txt") == b"mine"
    files.store.clear()


def test_a_row_that_is_damaged_does_not_travel(store, tmp_path):
    with (store / "features/c/0/0").open("r+b") as file:
        file.write(b"\1\2\3\4")
    with pytest.raises(StoreFormatError, match="longtal store verify"):
        pack_store(store, str(tmp_path / "packed"))
    assert not (tmp_path / "packed").exists()


@pytest.mark.parametrize(
    "url",
    ["ftp://host/x", "simplecache::s3://b/x", "github://a:b@c", "s3://bucket", "memory://", "s3://b/../c"],
)
def test_other_urls_are_refused(store, url):
    with pytest.raises(StoreValueError):
        pack_store(store, url)
    with pytest.raises(StoreValueError):
        unpack_store(url, store.parent / "b.zarr")


@pytest.mark.parametrize("values", [{"round_bits": 11}, {"round_bits": -1}, {"level": 0}])
def test_bits_and_levels_that_cannot_be(store, tmp_path, values):
    with pytest.raises(StoreValueError):
        pack_store(store, str(tmp_path / "packed"), **values)


# -- copies from elsewhere ------------------------------------------------------------


@pytest.fixture
def packed(store, tmp_path):
    pack_store(store, str(tmp_path / "packed"))
    return tmp_path / "packed"


def rewrite(path, change):
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def refused(packed, tmp_path, match="."):
    with pytest.raises((StoreFormatError, StoreNotFoundError, StoreWriteError), match=match) as caught:
        unpack_store(str(packed), tmp_path / "b.zarr")
    left = [name for name in os.listdir(tmp_path) if "b.zarr" in name]
    assert not left, left
    return caught.value


@pytest.mark.parametrize(
    "array", ["features", "ledger/step", "ledger/crc32c", "videos/num_rows", "videos/text"]
)
def test_a_shard_that_is_lost_or_cut_or_changed(packed, tmp_path, array):
    (shard,) = [path for path in (packed / array / "c").rglob("*") if path.is_file()]
    data = shard.read_bytes()
    for damaged in (None, data[:8], data[: len(data) // 2] + bytes(len(data) - len(data) // 2)):
        shard.unlink()
        if damaged is not None:
            shard.write_bytes(damaged)
        else:
            shard.symlink_to("/dev/zero")
        refused(packed, tmp_path)
        shard.unlink()
        shard.write_bytes(data)
    unpack_store(str(packed), tmp_path / "b.zarr")


def test_more_is_promised_than_there_is(packed, tmp_path):
    many = 1 << 40
    rewrite(
        packed / "zarr.json",
        lambda d: d["attributes"][PACK]["commit"].update(num_rows=many, rows_before=many),
    )
    refused(packed, tmp_path, "not .* long")
    for array in (packed / "features", *(packed / "ledger").iterdir()):
        if array.is_dir():
            rewrite(array / "zarr.json", lambda d: d["shape"].__setitem__(0, many))
    refused(packed, tmp_path, "lacks shard 1")


def wider_shards(document):
    """One shard and one chunk in it for 2^40 rows: 16 KiB a row."""
    document["chunk_grid"]["configuration"]["chunk_shape"][0] = 1 << 40
    document["codecs"][0]["configuration"]["chunk_shape"][0] = 1 << 40


@pytest.mark.parametrize(
    "change",
    [
        wider_shards,
        lambda d: d["codecs"][0]["configuration"]["codecs"].insert(0, {"name": "numcodecs.pickle"}),
        lambda d: d["codecs"][0]["configuration"]["codecs"].append(
            {"name": "gzip", "configuration": {"level": 1}}
        ),
        lambda d: d.update(codecs=[{"name": "bytes", "configuration": {"endian": "little"}}]),
        lambda d: d.update(data_type="string"),
        lambda d: d.update(data_type="float64"),
        lambda d: d.update(node_type="group"),
        lambda d: d.update(shape=[-1, 16]),
        lambda d: d.pop("codecs"),
    ],
)
def test_descriptions_of_another_kind(packed, tmp_path, change):
    rewrite(packed / "features/zarr.json", change)
    refused(packed, tmp_path)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda a: a.pop("commit"), "commit"),
        (lambda a: a.update(format=99), "newer longtal"),
        (lambda a: a["spec"].update(channels=-1), "spec|channels"),
        (lambda a: a["commit"].update(logs=[{"writer": 0}]), "commit"),
        (lambda a: a["chunks"].update(features=1 << 60), "damaged"),
        (lambda a: a.update(sha256="0" * 64), "ledger is not the one"),
        (lambda a: a.clear(), "not a packed store"),
    ],
)
def test_attributes_of_another_kind(packed, tmp_path, change, match):
    rewrite(packed / "zarr.json", lambda d: change(d["attributes"][PACK]))
    refused(packed, tmp_path, match)


def test_an_id_that_leads_out_of_a_folder_makes_nothing(packed, tmp_path):
    text = zarr.open_array(packed / "videos/text", mode="r+")
    text[:4] = np.frombuffer(b"../x", np.uint8)
    refused(packed, tmp_path, "lead out of a folder")


def test_what_is_not_there_or_not_packed(store, tmp_path):
    refused(tmp_path / "nowhere", tmp_path, "no packed store")
    refused(store, tmp_path, "not a packed store")
    shutil.rmtree(store)
