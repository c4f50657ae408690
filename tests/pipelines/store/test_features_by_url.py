"""`store import --features URL`: fetched beside the store, gone on with, removed."""

import fsspec
import numpy as np
import pytest

from featstore import FeatureStore, StoreExistsError, StoreTransferError
from featstore.remote import Bucket
from tal.errors import ConfigError, OutputError
from tests.featstore.bucket import running_bucket
from tests.pipelines.store.test_store_cli import run

HOW = ("--layout", "tc", "--fps", 30, "--stride", 4, "--dtype", "float32")


def rows(number):
    return np.random.default_rng(number).normal(size=(7 + number, 5)).astype(np.float32)


@pytest.fixture
def files(tmp_path):
    folder = tmp_path / "files"
    (folder / "b").mkdir(parents=True)
    for number, name in enumerate(("a", "b/c", "b/d")):
        np.save(folder / f"{name}.npy", rows(number))
    (folder / "readme.txt").write_text("x")
    return folder


@pytest.fixture
def url(files):
    memory = fsspec.filesystem("memory")
    for path in files.rglob("*.*"):
        memory.pipe_file(f"/imported/{path.relative_to(files).as_posix()}", path.read_bytes())
    yield "memory://imported"
    memory.rm("/imported", recursive=True)


def assert_imported(path):
    with FeatureStore.open(path) as store:
        assert set(store.video_ids) == {"a", "b/c", "b/d"}
        assert (store.read("b/c", 0, 8) == rows(1)).all()


def test_a_folder_at_a_url(url, tmp_path):
    text = run("store", "import", "--features", url, "--store", tmp_path / "s.zarr", *HOW)
    assert "3 videos" in text
    assert_imported(tmp_path / "s.zarr")
    assert [path.name for path in tmp_path.glob(".*")] == []
    refused = run("store", "import", "--features", url, "--store", tmp_path / "s.zarr", *HOW)
    assert isinstance(refused, StoreExistsError)


def test_an_import_that_is_cut_goes_on(url, tmp_path, monkeypatch):
    read, cut = Bucket.read, True

    def counted(self, name, most):
        if cut and name == "b/d.npy":
            raise OSError("the wire was cut")
        asked.append(name)
        return read(self, name, most)

    monkeypatch.setattr(Bucket, "read", counted)
    words = ("store", "import", "--features", url, "--store", tmp_path / "s.zarr", *HOW)
    asked = []
    error = run(*words)
    assert isinstance(error, StoreTransferError) and "goes on from there" in str(error)
    assert sorted(asked) == ["a.npy", "b/c.npy"] and not (tmp_path / "s.zarr").exists()
    asked, cut = [], False
    run(*words)
    assert asked == ["b/d.npy"]
    assert_imported(tmp_path / "s.zarr")


def test_names_that_lead_out_of_a_folder_are_refused(url, tmp_path, monkeypatch):
    for name in ("../x.npy", "a//b.npy", "c:\\x.npy"):
        monkeypatch.setattr(Bucket, "sizes", lambda self, below="", name=name: {name: 10})
        error = run("store", "import", "--features", url, "--store", tmp_path / "s.zarr", *HOW)
        assert isinstance(error, ConfigError) and "cannot be the name of a file" in str(error)
    assert not list(tmp_path.rglob("*.npy")) or all("files" in p.parts for p in tmp_path.rglob("*.npy"))


def test_no_room_and_no_files(url, tmp_path, monkeypatch):
    monkeypatch.setattr(Bucket, "sizes", lambda self, below="": {"a.npy": 60 << 30})
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1 << 20}))
    error = run("store", "import", "--features", url, "--store", tmp_path / "s.zarr", *HOW)
    assert isinstance(error, OutputError) and "60.0 GiB" in str(error)
    monkeypatch.setattr(Bucket, "sizes", lambda self, below="": {"a.txt": 3})
    error = run("store", "import", "--features", url, "--store", tmp_path / "s.zarr", *HOW)
    assert isinstance(error, ConfigError) and "'a.txt'" in str(error)


def test_features_in_a_bucket(files, tmp_path):
    with running_bucket("features") as wire:
        bucket = Bucket("s3://features/features")
        for path in files.rglob("*.npy"):
            bucket.write(path.relative_to(files).as_posix(), path.read_bytes())
        words = ("store", "import", "--features", bucket.url, "--store", tmp_path / "s.zarr", *HOW)
        wire.cut_after(900)
        assert isinstance(run(*words), StoreTransferError)
        wire.mend()
        assert not (tmp_path / "s.zarr").exists()
        run(*words)
    assert_imported(tmp_path / "s.zarr")
