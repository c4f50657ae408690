"""`longtal store` and `longtal staleness`, as commands."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from cli import cli
from featstore import FeatureStore
from featstore.errors import LongtalError


def run(*arguments, code=0):
    result = CliRunner().invoke(
        cli, [str(a) for a in arguments], standalone_mode=False, catch_exceptions=True
    )
    if isinstance(result.exception, LongtalError):
        return result.exception
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert (result.return_value or 0) == code or result.exit_code == code, result.output
    return result.output


@pytest.fixture
def features(tmp_path):
    """Two videos as .npy [T, C], one as .npz, one as .pt."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    folder = tmp_path / "features"
    folder.mkdir()
    values = {name: rng.standard_normal((9, 5)).astype(np.float32) for name in "abcd"}
    np.save(folder / "v_a.npy", values["a"])
    np.save(folder / "v_b.npy", values["b"][None])
    np.savez(folder / "v_c.npz", feats=values["c"])
    torch.save({"x": torch.from_numpy(values["d"])}, folder / "v_d.pt")
    return folder, values


GRID = ("--fps", 50, "--stride", 16, "--window", 64, "--prefix", "v_", "--dtype", "float32")


def test_import_export_and_back(tmp_path, features):
    folder, values = features
    run("store", "import", "--features", folder, "--store", tmp_path / "s.zarr", "--layout", "tc", *GRID)
    with FeatureStore.open(tmp_path / "s.zarr") as store:
        assert store.video_ids == list("abcd")
        for name, rows in values.items():
            np.testing.assert_array_equal(store.read(name, 0, 9, verify=True), rows)
        np.testing.assert_allclose(store.ledger("a")["time_s"], (np.arange(9) * 16 + 32) / 50)
        assert store.spec.window_frames == 64
    run("store", "export", tmp_path / "s.zarr", tmp_path / "out", "--layout", "ct")
    np.testing.assert_array_equal(np.load(tmp_path / "out" / "c.npy"), values["c"].T)
    grid = ("--fps", 50, "--stride", 16, "--dtype", "float32")
    again = ("store", "import", "--features", tmp_path / "out", "--store", tmp_path / "t.zarr")
    run(*again, "--layout", "ct", *grid)
    with FeatureStore.open(tmp_path / "t.zarr") as store:
        np.testing.assert_array_equal(store.read("d", 0, 9), values["d"])


def test_import_resamples_every_video_to_the_same_rows(tmp_path):
    """As ActionFormer does on ActivityNet: linear, and row j is the j-th part of the video."""
    torch = pytest.importorskip("torch")
    (tmp_path / "f").mkdir()
    lengths = {"a": 37, "b": 192, "c": 500, "d": 1}
    values = {
        name: np.random.default_rng(n).standard_normal((n, 5)).astype(np.float32)
        for name, n in lengths.items()
    }
    for name, rows in values.items():
        np.save(tmp_path / "f" / f"{name}.npy", rows)
    start = (
        "store",
        "import",
        "--features",
        tmp_path / "f",
        "--store",
        tmp_path / "s.zarr",
        "--layout",
        "tc",
    )
    start += ("--fps", 15, "--stride", 16, "--dtype", "float32", "--rows", 192)
    assert "side by side" in str(run(*start, "--window", 32))
    run(*start, "--window", 16)
    with FeatureStore.open(tmp_path / "s.zarr") as store:
        for name, rows in values.items():
            source = torch.from_numpy(rows).double().t()[None]
            wanted = torch.nn.functional.interpolate(source, 192, mode="linear", align_corners=False)[0].t()
            np.testing.assert_allclose(store.read(name, 0, 192), wanted.numpy(), atol=1e-5)
            length_s = len(rows) * 16 / 15
            middles = (np.arange(192) + 0.5) * length_s / 192
            np.testing.assert_allclose(store.ledger(name)["time_s"], middles, rtol=1e-6)
            assert store.video(name).num_rows == 192
        assert store.spec.weights.endswith("192 rows")


def test_import_refuses_what_it_cannot_take(tmp_path, features):
    folder, _ = features
    start = ("store", "import", "--store", tmp_path / "s.zarr")
    assert "is not a folder" in str(run(*start, "--features", tmp_path / "none", "--layout", "tc", *GRID))
    assert "no .npy" in str(
        run(*start, "--features", folder, "--layout", "tc", "--fps", 5, "--stride", 1, "--prefix", "q")
    )
    assert "frame rate" in str(run(*start, "--features", folder, "--layout", "tc", "--stride", 1))
    np.save(folder / "v_e.npy", np.full((4, 5), np.nan, np.float32))
    assert "rows hold NaN" in str(run(*start, "--features", folder, "--layout", "tc", *GRID))
    np.save(folder / "v_e.npy", np.zeros((4, 6), np.float32))
    assert "6 channels" in str(run(*start, "--features", folder, "--layout", "tc", *GRID))
    np.save(folder / "v_e.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    assert "cannot be read" in str(run(*start, "--features", folder, "--layout", "tc", *GRID))
    assert not (tmp_path / "s.zarr").exists()
    output = run(*start, "--features", folder, "--layout", "tc", *GRID, "--skip-bad", "--json", code=1)
    report = json.loads(output)
    assert report["videos"] == 4 and list(report["failed"]) == ["e"]


def test_look_after_a_store(tmp_path, features):
    folder, _ = features
    store, copy = tmp_path / "s.zarr", tmp_path / "c.zarr"
    run("store", "import", "--features", folder, "--store", store, "--layout", "tc", *GRID)
    facts = json.loads(run("store", "info", store, "--json"))
    assert facts["videos"]["complete"] == 4 and facts["rows"] == 36 and facts["generation"] == 1
    assert "4 complete" in run("store", "info", store, "--videos")
    run("store", "copy", store, copy, "--run", "r")
    run("store", "remove", copy, "a")
    run("store", "compact", copy)
    assert json.loads(run("store", "info", copy, "--json"))["rows"] == 27
    assert "sound" in run("store", "verify", store)
    with open(store / "features" / "c" / "0" / "0", "r+b") as file:
        file.write(b"\xff")
    assert json.loads(run("store", "verify", store, "--json", code=1)) == [
        {"video": "a", "start_row": 0, "stop_row": 1}
    ]
    assert "extract --repair" in run("store", "repair", store, code=1)
    run("store", "remove", store, "b", "c", "d")
    run("store", "remove", copy, "b")
    run("store", "merge", store, copy, "--out", tmp_path / "m.zarr")
    assert json.loads(run("store", "info", tmp_path / "m.zarr", "--json"))["videos"]["complete"] == 3
    assert "no feature store" in str(run("store", "info", tmp_path / "none"))


def test_staleness_command(tmp_path, features):
    folder, _ = features
    store = tmp_path / "s.zarr"
    run("store", "import", "--features", folder, "--store", store, "--layout", "tc", *GRID)
    with FeatureStore.open(store, "r+", run="r") as opened:
        opened.write("a", 2, np.ones((3, 5)), 7)
        opened.commit()
    assert "refreshed by run r" in run("staleness", store)
    lines = run("staleness", store, "--format", "csv").splitlines()
    assert lines[0].startswith("video,rows,never,never_refreshed,age_mean") and len(lines) == 5
    table = json.loads(run("staleness", store, "--by", "row", "--json"))
    assert [r["age"] for r in table[:6]] == [7, 7, 0, 0, 0, 7]
    run(
        "staleness",
        store,
        "--by",
        "clip",
        "--format",
        "csv",
        "--out",
        tmp_path / "c.csv",
        "--plot",
        tmp_path / "p.png",
    )
    assert (tmp_path / "p.png").stat().st_size > 5000 and (tmp_path / "c.csv").exists()
    assert "--out" in str(run("staleness", store, "--format", "parquet"))
