"""Feature files of `store import`: .npy, .npz, .pt of every kind that they can be, and cannot."""

from __future__ import annotations

import io
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from benchmarks.fuzz.attacks import cut, damage, displace, pickle_bomb, several
from benchmarks.fuzz.tally import Attack, Target
from featstore import FeatureStore
from pipelines.store.features import ImportOptions, import_features

ROWS = np.arange(24, dtype=np.float32).reshape(6, 4)
_SHAPES = [
    "(6, 4)", "(1000000000000, 4)", "(-6, 4)", "(-6, -4)", "(0, 4)", "(6, 0)", "()", "(6,)", "(6, 4, 1)",
    "(6L, 4)", "(1, 6, 4)", "(6.0, 4)", "(True, 4)", "6", "None", "(" * 500,
    "(9223372036854775807, 9223372036854775807)", "(6, 4) + (1,)", "__import__('os')", "(1, 1)",
    "(5, 10, 4)", "(10**9,)",
]  # fmt: skip
_TYPES = [
    "'<f4'", "'>f4'", "'<f2'", "'<f8'", "'<f16'", "'<i8'", "'|b1'", "'<c8'", "'|O'", "'<U4'", "'|S4'",
    "'<M8[s]'", "'|V4'", "[('a', '<f4')]", "[('a', '<f4', (1000000000,))]", "[('\u00e9', '<f4')]",
    "'<f99'", "''", "None", "'i4,(2,3)f8'", "('<f4', (10**9,))",
]  # fmt: skip


def npy(shape: str, dtype: str, order: str, version: tuple[int, int], data: bytes) -> bytes:
    """A .npy file that claims what its header says."""
    header = f"{{'descr': {dtype}, 'fortran_order': {order}, 'shape': {shape}, }}\n"
    text = header.encode("utf-8" if version[0] > 2 else "latin1", "replace")
    size = struct.pack("<H" if version[0] == 1 else "<I", min(len(text), 65535))
    return b"\x93NUMPY" + bytes(version) + size + text + data


_npys = st.builds(
    npy,
    st.sampled_from(_SHAPES),
    st.one_of(st.just("'<f4'"), st.sampled_from(_TYPES)),
    st.sampled_from(["False", "True", "None", "1"]),
    st.sampled_from([(1, 0), (2, 0), (3, 0), (4, 0), (0, 0)]),
    st.sampled_from(
        [ROWS.tobytes(), ROWS.tobytes() * 3, b"", b"\0" * 95, b"\xff" * 96, b"\0\0\x80\x7f" * 24]
    ),
)


def _zipped(entries: list[tuple[str, bytes]], packed: bool) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return out.getvalue()


def _claims(content: bytes) -> bytes:
    """The archive with an entry that claims to be 2**32 - 2 bytes long, in the directory."""
    at = content.rfind(b"PK\x01\x02")
    return content[: at + 20] + b"\xfe\xff\xff\xff" * 2 + content[at + 28 :]


_names = st.sampled_from(
    ["a.npy", "../a.npy", "/etc/passwd", "a", "a/../../b.npy", "x" * 300 + ".npy", "a\\b.npy"]
)
_archives = st.builds(_zipped, st.lists(st.tuples(_names, _npys | st.just(b"")), max_size=2), st.booleans())
_bombs = st.sampled_from([1 << 20, 200 << 20]).map(
    lambda size: _zipped([("a.npy", npy(f"({size // 16}, 4)", "'<f4'", "False", (1, 0), b"\0" * size))], True)
)


def _saved(value: Any, legacy: bool = False) -> bytes:
    out = io.BytesIO()
    torch.save(value, out, _use_new_zipfile_serialization=not legacy)
    return out.getvalue()


def _tensors() -> list[Any]:
    rows = torch.from_numpy(ROWS.copy())
    return [
        rows, {"a": rows}, {"a": rows, "b": rows}, {1: rows}, [rows], "text", None, {},
        rows.to(torch.bfloat16), rows.to(torch.complex64), rows.bool(), rows.to_sparse(), rows.to("meta"),
        rows.T, rows[0], rows[:0], torch.zeros(1).expand(1 << 40, 4),
        torch.tensor(float("nan")).expand(6, 4), rows.double() * 1e300, torch.nn.Parameter(rows),
        torch.quantize_per_tensor(rows, 0.1, 0, torch.quint8), {"a": {"b": rows}},
    ]  # fmt: skip


_saves = st.builds(_saved, st.sampled_from(_tensors()), st.booleans())


def _put(suffix: str) -> Callable[[bytes], Attack]:
    def make(content: bytes) -> Attack:
        return Attack(f"a{suffix} {content!r:.300}", lambda folder: _write(folder / f"a{suffix}", content))

    return make


def _write(path: Path, content: bytes) -> None:
    for other in path.parent.iterdir():
        other.unlink()
    path.write_bytes(content)


def _pickles() -> SearchStrategy[Attack]:
    """Pickles under every name: loading one makes a file."""

    def make(suffix: str) -> Attack:
        def do(folder: Path) -> None:
            bomb = pickle_bomb(folder.parent / "ran")
            objects = npy("(1,)", "'|O'", "False", (1, 0), bomb)
            kinds = {
                ".npy": objects,
                ".npz": _zipped([("a.npy", objects)], False),
                ".pt": _zipped([("archive/data.pkl", bomb), ("archive/version", b"3")], False),
            }
            _write(folder / f"a{suffix}", kinds.get(suffix[-4:].lstrip("_"), bomb))

        return Attack(f"pickle as a{suffix}", do)

    return st.sampled_from([".npy", ".npz", ".pt", "b_.npy", "_.npz", "raw_.pt"]).map(make)


def _raw_pickles() -> SearchStrategy[Attack]:
    def make(suffix: str) -> Attack:
        return Attack(
            f"bare pickle as a{suffix}",
            lambda folder: _write(folder / f"a{suffix}", pickle_bomb(folder.parent / "ran")),
        )

    return st.sampled_from([".npy", ".npz", ".pt"]).map(make)


def make(folder: Path) -> None:
    np.save(folder / "a.npy", ROWS)
    np.savez(folder / "b.npz", a=ROWS)
    torch.save(torch.from_numpy(ROWS.copy()), folder / "c.pt")
    torch.save({"a": torch.from_numpy(ROWS.copy())}, folder / "d.pt", _use_new_zipfile_serialization=False)


def attempt(folder: Path) -> None:
    store = folder.parent / "work" / "store.zarr"
    try:
        import_features(folder, store, ImportOptions("tc", fps=8.0, stride=4, dtype="float32"))
        with FeatureStore.open(store) as opened:
            for video_id in opened.video_ids:
                rows = opened.read(video_id, 0, opened.video(video_id).num_rows)
                assert rows.size and np.isfinite(rows).all()
    finally:
        shutil.rmtree(store, ignore_errors=True)


FILES = ["a.npy", "b.npz", "c.pt", "d.pt"]
TARGETS = [
    Target(
        "features: .npy",
        make,
        st.one_of(_npys.map(_put(".npy")), damage("a.npy"), cut("a.npy"), displace(["a.npy"], links=False)),
        attempt,
    ),
    Target(
        "features: .npz",
        make,
        st.one_of(
            _archives.map(_put(".npz")),
            _archives.map(_claims).map(_put(".npz")),
            _bombs.map(_put(".npz")),
            damage("b.npz"),
            cut("b.npz"),
        ),
        attempt,
    ),
    Target(
        "features: .pt",
        make,
        st.one_of(
            _saves.map(_put(".pt")),
            damage("c.pt"),
            cut("c.pt"),
            damage("d.pt"),
            cut("d.pt"),
            several(damage("d.pt")),
        ),
        attempt,
    ),
    Target("features: pickles", make, st.one_of(_pickles(), _raw_pickles()), attempt),
]
