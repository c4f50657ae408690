"""A store from elsewhere: a writer changes and removes nothing outside it, numbers ask for no memory."""

import json
import os
import shutil

import numpy as np
import pytest

from featstore import FeatureStore, StoreFormatError
from tests.featstore.simulation import SMALL


@pytest.fixture
def path(memory):
    with FeatureStore.create(memory / "s.zarr", SMALL, chunk_bytes=256) as store:
        store.add_video("a", num_rows=20, fps=4.0)
        store.write("a", 0, np.arange(80.0).reshape(20, 4), 0)
        store.complete("a")
        store.commit()
    return memory / "s.zarr"


def change(path, **values):
    document = json.loads((path / "commit.json").read_text())
    (path / "commit.json").write_text(json.dumps(document | values))


@pytest.mark.parametrize("mode", ["r", "r+"])
def test_a_commit_names_logs_of_its_own_alone(path, mode):
    """The next writer removes the logs that a commit names: here a file beside the store."""
    precious = path.parent / "precious.txt"
    precious.write_text("mine")
    name = "../precious.txt"
    entry = {"writer": 0, "rows_file": name, "slots": 0, "journal_file": name, "journal_bytes": 0}
    change(path, applied=False, logs=[entry])
    with pytest.raises(StoreFormatError, match="not a name of a log"):
        FeatureStore.open(path, mode)
    assert precious.read_text() == "mine"


@pytest.mark.parametrize("mode", ["r", "r+"])
@pytest.mark.parametrize("folder", ["log", "features", "features/c", "ledger/step", "videos"])
def test_a_folder_of_a_store_is_not_a_link(path, mode, folder):
    """A writer removes what it finds in log/ and what ends in .tmp: here in a folder beside the store."""
    away = path.parent / "away"
    shutil.move(path / folder, away)
    (away / "precious.tmp").write_text("mine")
    (path / folder).symlink_to(away)
    before = sorted(os.listdir(away))
    with pytest.raises(StoreFormatError, match="is a link"):
        FeatureStore.open(path, mode)
    assert sorted(os.listdir(away)) == before


def test_left_over_files_behind_a_link_stay(path):
    away = path.parent / "away"
    away.mkdir()
    (away / "precious.tmp").write_text("mine")
    (path / "more").symlink_to(away)
    (path / "ledger" / "left.tmp").write_text("of a killed run")
    FeatureStore.open(path, "r+").close()
    assert (away / "precious.tmp").exists() and not (path / "ledger" / "left.tmp").exists()


@pytest.mark.parametrize("chunk", ["features/c/0/0", "features/c/0", "ledger/step/c/0"])
def test_a_write_does_not_go_through_a_link(path, chunk):
    away = path.parent / "away"
    shutil.move(path / chunk, away)
    (path / chunk).symlink_to(away)
    file = away / "0" if away.is_dir() else away
    before = file.read_bytes()
    with pytest.raises(Exception, match="link"), FeatureStore.open(path, "r+") as store:  # noqa: PT012
        store.write("a", 0, np.zeros((20, 4)), 1)
        store.commit()
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    "values",
    [
        {"num_rows": 1 << 50, "rows_before": 1 << 50},
        {"num_rows": 1 << 80, "rows_before": 20},
        {"num_videos": 1 << 40, "videos_before": 1 << 40},
        {"num_rows": -1},
        {"num_rows": True},
        {"num_rows": 1e308},
        {"generation": float("nan")},
        {"num_rows": 5, "rows_before": 5},
        {"run_id": 7},
        {"committed_at": "now"},
        {"logs": 5},
        {"logs": [5]},
    ],
)
@pytest.mark.parametrize("mode", ["r", "r+"])
def test_numbers_are_held_against_the_files(path, values, mode):
    change(path, **values)
    with pytest.raises(StoreFormatError):
        FeatureStore.open(path, mode)


@pytest.mark.parametrize(
    "video_id", ["../../aaaaaaa", "/etc/passwd_", "a\0aaaaaaaaaa", "a\naaaaaaaaaa", "c:\\aaaaaaaaa"]
)
def test_an_id_that_leads_out_is_refused_at_opening(memory, video_id):
    """An export would write ../../aaaaaaa.npy."""
    with FeatureStore.create(memory / "s.zarr", SMALL, chunk_bytes=256) as store:
        store.add_video("x" * len(video_id), num_rows=2, fps=4.0)
        store.commit()
    text = memory / "s.zarr" / "videos" / "text" / "c" / "0"
    with text.open("r+b") as file:
        file.write(video_id.encode())
    with pytest.raises(StoreFormatError, match="not to be trusted"):
        FeatureStore.open(memory / "s.zarr")


def test_repair_does_not_blow_files_up(path):
    """The size of a chunk is that of the array's own metadata too."""
    header = json.loads((path / "zarr.json").read_text())
    header["attributes"]["longtal"]["chunks"]["features"] = 1 << 30
    (path / "zarr.json").write_text(json.dumps(header))
    chunk = path / "features" / "c" / "0" / "0"
    size = chunk.stat().st_size
    with FeatureStore.open(path, "r+") as store, pytest.raises(StoreFormatError, match="has chunks of"):
        store.mend_chunks()
    assert chunk.stat().st_size == size


def test_a_pipe_keeps_nobody_waiting(path):
    (path / "commit.json").unlink()
    os.mkfifo(path / "commit.json")
    with pytest.raises(StoreFormatError, match="not a regular file"):
        FeatureStore.open(path)


def test_a_link_to_itself_is_no_commit(path):
    (path / "commit.json").unlink()
    (path / "commit.json").symlink_to("commit.json")
    with pytest.raises(StoreFormatError, match="link"):
        FeatureStore.open(path)
