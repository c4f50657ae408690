"""Files and folders appear whole under their names, or not at all."""

import os
from pathlib import Path

import pytest

from tal.errors import OutputError
from tal.shared.files import put_in_place


def names(folder):
    return sorted(path.name for path in folder.rglob("*"))


@pytest.mark.parametrize("sync", [False, True])
def test_a_file_takes_its_place_and_replaces_the_old_one(tmp_path, sync):
    path = tmp_path / "new" / "file.txt"
    for text in ("one", "two"):
        with put_in_place(path, sync=sync) as beside:
            beside.write_text(text)
            assert not path.exists() or path.read_text() == "one"
        assert path.read_text() == text and names(tmp_path) == ["file.txt", "new"]
    assert path.stat().st_mode & 0o777 == 0o666 & ~current_umask()


def current_umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize("sync", [False, True])
def test_a_folder_takes_its_place_and_replaces_the_old_one(tmp_path, sync):
    path = tmp_path / "model"
    for name in ("a", "b"):
        with put_in_place(path, sync=sync) as beside:
            (beside / "part").mkdir(parents=True)
            (beside / "part" / name).write_text(name)
        assert names(path) == [name, "part"] and names(tmp_path) == [name, "model", "part"]


def interrupted(path):
    with put_in_place(path) as beside:
        beside.mkdir()
        (beside / "half").write_text("x")
        raise KeyboardInterrupt


def test_an_error_leaves_the_old_one_and_nothing_beside_it(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "old").write_text("kept")
    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path / "model")
    assert names(tmp_path) == ["model", "old"]
    with pytest.raises(FileNotFoundError), put_in_place(tmp_path / "nothing was made"):
        pass
    assert names(tmp_path) == ["model", "old"]


def test_a_file_never_replaces_a_folder(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "precious").write_text("kept")
    with pytest.raises(OSError), put_in_place(tmp_path / "folder") as beside:
        beside.write_text("text")
    assert names(tmp_path) == ["folder", "precious"]


def test_a_sole_writer_clears_up_after_a_killed_one(tmp_path):
    with put_in_place(tmp_path / "checkpoint", sole_writer=True) as beside:
        left = beside
        beside.mkdir()
    left.mkdir()
    (left / "half").write_text("x")
    with put_in_place(tmp_path / "checkpoint", sole_writer=True) as beside:
        assert beside == left and not beside.exists()
        beside.mkdir()
    assert names(tmp_path) == ["checkpoint"]


def test_two_writers_do_not_meet(tmp_path):
    path = tmp_path / "file"
    with put_in_place(path) as one, put_in_place(path) as two:
        assert one != two
        one.write_text("one")
        two.write_text("two")
    assert path.read_text() == "one" and names(tmp_path) == ["file"]


def test_a_device_or_a_pipe_is_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for place in (pipe, Path("/dev/null"), Path("/dev/stdout")):
        with pytest.raises(OutputError, match="device or a pipe"), put_in_place(place) as beside:
            beside.write_text("x")
    assert pipe.is_fifo() and not Path("/dev/null").is_file()
