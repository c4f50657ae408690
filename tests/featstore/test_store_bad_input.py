"""What a user can get wrong, and what a disk can: a clear error, the store unchanged."""

import errno
import json
import os
import resource
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import PurePosixPath, PureWindowsPath

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featstore import (
    FeatureSpec,
    FeatureStore,
    StoreExistsError,
    StoreFormatError,
    StoreNotFoundError,
    StoreSpecError,
    StoreValueError,
    StoreWriteError,
    UnknownVideoError,
)
from featstore.files import FileOps
from featstore.videos import check_id
from tests.featstore.simulation import SMALL, state


@pytest.fixture
def path(memory):
    with FeatureStore.create(memory / "s.zarr", SMALL, chunk_bytes=4096) as store:
        store.add_video("a", num_rows=10, fps=4.0)
        store.write("a", 0, np.arange(40.0).reshape(10, 4), 0)
        store.complete("a")
        store.commit()
    return memory / "s.zarr"


@pytest.mark.parametrize(
    "rows",
    [
        np.zeros((2, 5)),
        np.zeros(4),
        np.zeros((1, 2, 4)),
        np.array([[1, 2, 3, np.nan]]),
        np.array([[1, 2, -np.inf, 3]]),
        np.full((1, 4), 1e39),  # infinite in float32
        np.array([["a"] * 4]),
        np.zeros((1, 4), complex),
    ],
)
def test_rows_that_cannot_be_stored(path, rows):
    with FeatureStore.open(path, "r+") as store:
        before = state(store)
        with pytest.raises(StoreValueError):
            store.write("a", 0, rows, 1)
        assert state(store) == before
        assert store.uncommitted_rows == 0


def test_halves_overflow_after_the_cast(tmp_path):
    spec = FeatureSpec("e", "w", 4, 4, 1, "float16")
    with FeatureStore.create(tmp_path / "h.zarr", spec) as store:
        store.add_video("a", num_rows=2)
        for value in (70000.0, -70000.0, np.nan, -np.nan):
            with pytest.raises(StoreValueError, match="not finite as float16"):
                store.write("a", 0, np.array([[0, 0, value, 0]], np.float32), 0)
        store.write("a", 0, np.array([[65504, -65504, 6e-8, -0.0]], np.float32), 0)
        np.testing.assert_array_equal(
            store.read("a", 0, 1), np.array([[65504, -65504, 6e-8, -0.0]], np.float16)
        )


@pytest.mark.parametrize(("start", "count"), [(-1, 2), (9, 2), (10, 1), (1000, 1)])
def test_rows_out_of_range(path, start, count):
    with FeatureStore.open(path, "r+") as store, pytest.raises(StoreValueError, match=r"\[0, 10\)"):
        store.write("a", start, np.zeros((count, 4)), 1)


@pytest.mark.parametrize(
    "bad",
    ["", "x" * 300, "a/" + "x" * 300, "a/" * 600 + "a", "../x", "a/../../x", "/a", "/", "a/", "a//b", ".",
     "./a", "a/.", "a/./b", "..", "a/..", "a\\b", "a\\..\\b", "C:a", "c:/a", "nul\0", "line\n", "a/\x7f",
     "\ud800", 7, None],
)  # fmt: skip
def test_hostile_ids(path, bad):
    with FeatureStore.open(path, "r+") as store:
        before = state(store)
        with pytest.raises(StoreValueError):
            store.add_videos([{"id": "fine", "num_rows": 2}, {"id": bad, "num_rows": 2}])
        assert state(store) == before
        with pytest.raises(UnknownVideoError):
            store.read(bad, 0, 1)


def test_unusual_ids_survive(tmp_path):
    ids = ["v_日本語", "é" * 127, "a b;c'd\"", "-flag", "$HOME", "%2e%2e", "emoji 🎬", "con.zarr"]
    ids += ["P01/P01_11", "a/b/c.mp4", "...", "a/..b", "12:30", "a/C:b", "é" * 127 + "/" + "x" * 255]
    with FeatureStore.create(tmp_path / "s.zarr", SMALL) as store:
        store.add_videos({"id": i, "num_rows": 1 + k} for k, i in enumerate(ids))
        for i in ids:
            store.complete(i)
        store.commit()
    with FeatureStore.open(tmp_path / "s.zarr") as store:
        assert store.video_ids == ids
        assert [store.video(i).num_rows for i in ids] == list(range(1, len(ids) + 1))


@settings(max_examples=500, deadline=None)
@given(st.text(alphabet="a.C:/\\\0\n\ud800é ", max_size=9) | st.text(max_size=300))
def test_an_accepted_id_never_leaves_the_folder_that_it_is_joined_to(video_id):
    try:
        data = check_id(video_id)
    except StoreValueError:
        return
    assert data.decode() == video_id
    for kind in (PurePosixPath, PureWindowsPath):
        folder = kind("root") / "features"
        parts = (folder / video_id).parts
        assert parts[:2] == folder.parts and ".." not in parts
        # different ids are different files
        assert len(parts) == 3 + video_id.count("/")


def test_videos_twice_and_sizes(path):
    with FeatureStore.open(path, "r+") as store:
        for video in (
            {"id": "a", "num_rows": 3},
            {"id": "b", "num_rows": 0},
            {"id": "b", "num_rows": 2.5},
            {"id": "b", "num_rows": 2, "row_times_s": [0.0]},
            {"id": "b", "num_rows": 2, "fps": -1},
        ):
            with pytest.raises(StoreValueError):
                store.add_videos([video])
        with pytest.raises(StoreValueError, match="twice"):
            store.add_videos([{"id": "c", "num_rows": 1}, {"id": "c", "num_rows": 1}])
        with pytest.raises(StoreValueError, match="10 rows reserved"):
            store.complete("a", 11)


def test_opening_what_is_no_store(tmp_path, path):
    with pytest.raises(FileNotFoundError):
        FeatureStore.open(tmp_path / "none")
    with pytest.raises(StoreNotFoundError, match="longtal extract"):
        FeatureStore.open(tmp_path / "none")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "zarr.json").write_text(
        '{"zarr_format": 3, "node_type": "group", "attributes": {}}'
    )
    (tmp_path / "file").write_text("x")
    for name in ("foreign", "file"):
        with pytest.raises(StoreFormatError, match="not a feature store"):
            FeatureStore.open(tmp_path / name)
    with pytest.raises(FileExistsError):
        FeatureStore.create(path, SMALL)
    with pytest.raises(StoreExistsError):
        FeatureStore.create(tmp_path / "foreign", SMALL)


def test_newer_and_damaged_metadata(path):
    for file, change, message in (
        ("zarr.json", lambda d: d["attributes"]["longtal"].update(format=99), "newer"),
        ("commit.json", lambda d: d.update(format=99), "newer"),
        ("zarr.json", lambda d: d["attributes"]["longtal"]["spec"].update(surprise=1), "surprise"),
    ):
        good = (path / file).read_text()
        document = json.loads(good)
        change(document)
        (path / file).write_text(json.dumps(document))
        with pytest.raises(StoreFormatError, match=message):
            FeatureStore.open(path)
        (path / file).write_text(good)
    (path / "commit.json").write_text('{"format": 1, "gen')
    with pytest.raises(StoreFormatError, match="damaged"):
        FeatureStore.open(path)


def test_another_spec_is_named(path):
    other = FeatureSpec("test", "none", 4, 4, 1, "float32", fps=5.0)
    with FeatureStore.open(path) as store:
        assert store.spec.differences(other) == {"fps": (4.0, 5.0)}
        with pytest.raises(StoreSpecError) as refused:
            store.spec.require(other, "the model", then="extract again", store=path)
        assert str(refused.value) == (
            f"the rows of {path} are not those that the model needs "
            "(fps: 4.0 in the store, 5.0 needed): extract again"
        )
        store.spec.require(other, "the model", then="extract again", ignore=("fps",))
        store.spec.require({"channels": 4, "std": []}, "the model", then="extract again")  # all that is known
        with pytest.raises(StoreSpecError, match=r"size: 0 .*, 77 needed; colour: None in the store"):
            store.spec.require({"size": 77, "colour": 1}, "the model", then="extract again")
    for wrong in ({"dtype": "int8"}, {"channels": 0}, {"frame_stride": 3}):
        with pytest.raises(StoreSpecError):
            FeatureSpec(**{**SMALL.to_dict(), **wrong})
    assert FeatureSpec.from_dict(json.loads(json.dumps(SMALL.to_dict()))) == SMALL
    assert hash(SMALL) == hash(FeatureSpec.from_dict(SMALL.to_dict()))


def test_rows_of_another_reader_are_others(path):
    spec = FeatureSpec("e", "w", 4, 4, 1, fps=4.0, size=32, crop=32, reader="decord")
    with pytest.raises(StoreSpecError, match="reader: 'decord' in the store, 'pyav' needed"):
        spec.require(replace(spec, reader="pyav"), "the model", then="extract again")


def test_0_1_named_no_reader(path):
    """It read videos with PyAV; imported rows, which have no pictures' size, had none."""
    made = FeatureSpec("e", "w", 4, 4, 1, fps=4.0, size=32, crop=32, reader="pyav")
    imported = FeatureSpec("e", "w", 4, 4, 4, fps=4.0)
    for spec in (made, imported):
        old = {name: value for name, value in spec.to_dict().items() if name != "reader"}
        assert FeatureSpec.from_dict(old) == spec
        spec.require(old, "a model of 0.1", then="extract again")
        with pytest.raises(StoreSpecError, match="reader"):
            replace(spec, reader="decord").require(old, "a model of 0.1", then="extract again")


def test_truncated_chunk_is_an_error_then_mended(path):
    chunk = path / "features" / "c" / "0" / "0"
    with open(chunk, "r+b") as file:
        file.truncate(100)
    with FeatureStore.open(path) as store:
        with pytest.raises(StoreFormatError, match="100 bytes"):
            store.read("a", 0, 2)
        assert len(store.verify()) == 10
    with FeatureStore.open(path, "r+") as store:
        assert store.mend_chunks() == [str(chunk)]
        assert store.damaged_rows().to_dict("records") == [{"video": "a", "start_row": 6, "stop_row": 10}]
        store.write("a", 6, np.arange(24.0, 40.0).reshape(4, 4), 0)
        store.commit()
        assert not len(store.verify())
        np.testing.assert_array_equal(store.read("a", 0, 10), np.arange(40.0).reshape(10, 4))


def test_a_flipped_bit_is_found(path):
    with open(path / "features" / "c" / "0" / "0", "r+b") as file:
        file.seek(16 * 3 + 5)
        file.write(b"\x55")
    with FeatureStore.open(path) as store:
        assert store.verify().to_dict("records") == [{"video": "a", "row": 3, "problem": "checksum"}]
        store.read("a", 0, 10)
        with pytest.raises(StoreFormatError, match="row 3"):
            store.read("a", 0, 10, verify=True)


class FailingDisk(FileOps):
    """Fails the n-th change from when it is armed."""

    countdown, error = -1, errno.ENOSPC

    def _maybe(self):
        self.countdown -= 1
        if self.countdown == 0:
            raise OSError(self.error, os.strerror(self.error))

    def pwrite(self, fd, data, offset):
        self._maybe()
        super().pwrite(fd, data, offset)

    def sync(self, fd):
        self._maybe()
        super().sync(fd)

    def replace(self, source, target):
        self._maybe()
        super().replace(source, target)

    def sync_dir(self, path):
        self._maybe()
        super().sync_dir(path)

    def allocate(self, fd, offset, length):
        self._maybe()
        super().allocate(fd, offset, length)


def fail_each_change(folder, error, start, stride):
    """Fail the n-th change of a life of changes and commits, n = start, start + stride, ...; then go on."""
    messages, reached, number = [], True, start
    template = folder / "template.zarr"
    FeatureStore.create(template, SMALL, chunk_bytes=4096).close()
    while reached:
        path = folder / "s.zarr"
        shutil.copytree(template, path)
        disk = FailingDisk()
        disk.error = error
        with FeatureStore.open(path, "r+", files=disk) as store:
            states = {0: state(store)}
            disk.countdown = number
            try:
                for part in range(2):
                    store.add_video(f"v{part}", num_rows=6, fps=4.0)
                    store.write(f"v{part}", 0, np.full((6, 4), part), 1)
                    store.write("v0", 1, np.full((3, 4), 7 + part), 2)
                    store.complete(f"v{part}")
                    states[store.generation + 1] = state(store)
                    store.commit()
            except StoreWriteError as caught:
                messages.append((caught.errno, "committed is intact" in str(caught)))
            reached = disk.countdown <= 0
            disk.countdown = -1
            store.rollback()
            assert state(store) == states[store.generation], number
            store.add_video("after", num_rows=2)  # the process lives and the store works
            store.write("after", 0, np.ones((2, 4)), 3)
            generation = store.commit()
            last = state(store)
        with FeatureStore.open(path) as store:
            assert (store.generation, state(store)) == (generation, last)
            assert not len(store.verify())
        shutil.rmtree(path)
        number += stride
    assert set(messages) == {(error, True)}
    return len(messages)


@pytest.mark.parametrize(("error", "start"), [(errno.ENOSPC, 1), (errno.EIO, 7)])
def test_a_failing_disk_leaves_a_committed_state(memory, error, start):
    assert fail_each_change(memory, error, start, 13) > 5


@pytest.mark.slow
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
def test_every_failing_change_leaves_a_committed_state(memory, error):
    assert fail_each_change(memory, error, 1, 1) > 100


def test_works_with_few_file_descriptors(memory):
    code = (
        "import resource, sys, numpy as np\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))\n"
        "from featstore import FeatureStore\n"
        "from tests.featstore.simulation import SMALL\n"
        "s = FeatureStore.create(sys.argv[1], SMALL, chunk_bytes=64)\n"
        "s.add_videos({'id': f'v{i}', 'num_rows': 4} for i in range(400))\n"
        "for i in range(400): s.write(f'v{i}', 0, np.full((4, 4), i), 0); s.complete(f'v{i}')\n"
        "s.commit()\n"
        "r = FeatureStore.open(sys.argv[1])\n"
        "assert all(s.read(f'v{i}', 0, 4)[0, 0] == i == r.read(f'v{i}', 0, 4)[0, 0] for i in range(400))\n"
        "assert len(s.staleness()) == 400 and not len(r.verify())\n"
    )
    subprocess.run([sys.executable, "-c", code, str(memory / "s.zarr")], check=True)
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] != 256


def test_closed_and_read_only_use(path):
    with FeatureStore.open(path) as store:
        for call in (
            lambda: store.write("a", 0, np.zeros((1, 4)), 1),
            lambda: store.add_video("b", num_rows=1),
            lambda: store.complete("a"),
            store.commit,
            store.rollback,
        ):
            with pytest.raises(Exception, match=r"mode='r\+'"):
                call()
    with pytest.raises(Exception, match="closed"):
        store.read("a", 0, 1)


def test_a_folder_that_cannot_be_written(path, monkeypatch):
    real = os.open

    def refuse(name, flags, *rest, **named):
        if flags & (os.O_RDWR | os.O_WRONLY | os.O_CREAT):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(name))
        return real(name, flags, *rest, **named)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(Exception, match="mode='r'"):
        FeatureStore.open(path, "r+")
    with FeatureStore.open(path) as store:
        assert store.read("a", 1, 2)[0, 0] == 4
