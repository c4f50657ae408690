"""The door to the disk: what takes a name takes it whole, and nothing goes around the door."""

import ast
from pathlib import Path

import pytest

import featstore
from featstore import StoreExistsError
from featstore.files import FileOps, put_in_place, write_atomically
from featstore.transfer import building


def contents(folder):
    return {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("failing", ["open", "truncate", "pwrite", "sync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_alone(tmp_path, monkeypatch, failing):
    write_atomically(FileOps(), tmp_path / "a.json", b"old")

    def refuse(*_, **__):
        raise OSError(5, "no")

    monkeypatch.setattr(FileOps, failing, refuse)
    with pytest.raises(OSError, match="no"):
        write_atomically(FileOps(), tmp_path / "a.json", b"new")
    assert contents(tmp_path) == {"a.json": "old"}


def swap(path, beside, error=None):
    with put_in_place(FileOps(), path, beside, exchange=True):
        (beside / "inner").mkdir(parents=True)
        (beside / "inner" / "b").write_text("new")
        if error is not None:
            raise error


@pytest.mark.parametrize("in_one_step", [True, False])
def test_a_folder_takes_the_place_of_another(tmp_path, monkeypatch, in_one_step):
    if not in_one_step:
        monkeypatch.setattr("featstore.files.ctypes.CDLL", lambda *_, **__: object())
    old, new = tmp_path / "s", tmp_path / ".s.new"
    old.mkdir()
    (old / "a").write_text("old")
    with pytest.raises(KeyboardInterrupt):
        swap(old, new, KeyboardInterrupt())
    assert contents(tmp_path) == {"s/a": "old"}
    swap(old, new)
    assert contents(tmp_path) == {"s/inner/b": "new"}


def test_a_swap_in_three_steps_is_undone_when_its_second_fails(tmp_path, monkeypatch):
    monkeypatch.setattr("featstore.files.ctypes.CDLL", lambda *_, **__: object())
    (tmp_path / "s").write_text("old")
    with pytest.raises(FileNotFoundError):
        FileOps().exchange(tmp_path / "not there", tmp_path / "s")
    assert contents(tmp_path) == {"s": "old"}


def build(path, error=None):
    with building(path) as folder:
        folder.mkdir()
        (folder / "a").write_text("1")
        assert not path.exists()
        if error is not None:
            raise error


def test_building_refuses_what_exists_and_removes_what_the_dead_left(tmp_path):
    (tmp_path / ".s.building-999999999").mkdir()  # above any process id
    build(tmp_path / "s")
    assert contents(tmp_path) == {"s/a": "1"} and len(list(tmp_path.iterdir())) == 1
    with pytest.raises(StoreExistsError):
        build(tmp_path / "s")
    with pytest.raises(ValueError, match="stop"):
        build(tmp_path / "t", ValueError("stop"))
    assert contents(tmp_path) == {"s/a": "1"}


# Calls that change the disk, by module or method.
DIRECT = {
    "os": {"replace", "rename", "unlink", "remove", "fsync", "fdatasync", "pwrite", "ftruncate", "makedirs"},
    "shutil": {"rmtree", "copyfile", "copy", "copy2", "copytree", "move"},
    "": {"write_text", "write_bytes"},
}


def changes_of_the_disk(source: str) -> set[str]:
    """Calls in a module that change the disk without `FileOps`."""
    calls = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = ast.unparse(node.func.value)
            if node.func.attr in DIRECT.get(owner, DIRECT[""]):
                calls.add(ast.unparse(node.func))
    return calls


def test_nothing_goes_around_the_door():
    around = {}
    for path in Path(featstore.__file__).parent.glob("*.py"):
        if path.name not in ("files.py", "locking.py") and (calls := changes_of_the_disk(path.read_text())):
            around[path.name] = calls
    assert not around
    assert changes_of_the_disk("import os\nos.rename(a, b)\np.write_text(c)") == {"os.rename", "p.write_text"}
