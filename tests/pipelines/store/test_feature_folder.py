"""Folders of feature files as extractors leave them: parts, other kinds, numbers that do not fit."""

import pickle

import numpy as np
import pytest

from featstore import FeatureStore
from featstore.errors import StoreValueError
from pipelines.store.feature_folder import find_files
from pipelines.store.features import ImportOptions, import_features
from tal.errors import ConfigError

ROWS = np.arange(24, dtype=np.float32).reshape(8, 3)


def of_video_features(folder):
    """What I3D's extraction of two videos leaves: two streams, and two files that are not features."""
    folder.mkdir()
    for video in ("a_rgb_b", "c"):
        np.save(folder / f"{video}_rgb.npy", ROWS)
        np.save(folder / f"{video}_flow.npy", -ROWS)
        np.save(folder / f"{video}_fps.npy", np.array(25.0))
        np.save(folder / f"{video}_timestamps_ms.npy", np.arange(8) * 40.0)
    return folder


def test_several_files_a_video_are_told_apart_by_their_endings(tmp_path):
    folder = of_video_features(tmp_path / "f")
    with pytest.raises(
        ConfigError, match=r"_rgb, _flow, _fps, _timestamps_ms: .*--suffix _rgb; .*np\.concatenate"
    ):
        find_files(folder)
    files, notes = find_files(folder, suffix="_flow")
    assert [video for video, _ in files] == ["a_rgb_b", "c"]
    assert len(notes) == 1 and "6 files" in notes[0] and "'a_rgb_b_fps.npy'" in notes[0]
    options = ImportOptions("tc", 25.0, 1, suffix="_flow", dtype="float32")
    report = import_features(folder, tmp_path / "s.zarr", options)
    assert report["notes"][0] == notes[0]
    with FeatureStore.open(tmp_path / "s.zarr") as store:
        np.testing.assert_array_equal(store.read("c", 0, 8), -ROWS)


def test_an_ending_of_a_name_alone_is_part_of_the_name(tmp_path):
    for name in ("a_rgb", "b_flow", "c"):
        np.save(tmp_path / f"{name}.npy", ROWS)
    assert [video for video, _ in find_files(tmp_path)[0]] == ["a_rgb", "b_flow", "c"]


def test_names_without_the_prefix_are_shown(tmp_path):
    np.save(tmp_path / "v_abc.npy", ROWS)
    with pytest.raises(
        ConfigError, match=r"named video_ID in .*; there are 'v_abc\.npy': are --prefix and --suffix"
    ):
        find_files(tmp_path, prefix="video_")


def write_csv(path):
    np.savetxt(path, ROWS, delimiter=",")


def write_pickle(path):
    path.write_bytes(pickle.dumps(ROWS))


@pytest.mark.parametrize(
    ("name", "write", "remedy"),
    [
        ("v_abc.csv", write_csv, r"1 \.csv files: save .* as ID\.npy \(np\.save\), read by np\.loadtxt"),
        ("v_abc.PKL", write_pickle, r"1 \.pkl files: .*if you trust"),
        ("all.h5", lambda path: path.write_bytes(b"\x89HDF\r\n"), r"1 \.h5 files: .*h5py\.File"),
    ],
)
def test_features_in_other_files_are_told_with_the_way_from_there(tmp_path, name, write, remedy):
    write(tmp_path / name)
    with pytest.raises(ConfigError, match=remedy):
        find_files(tmp_path)


def test_an_empty_folder_has_nothing_to_say(tmp_path):
    with pytest.raises(ConfigError, match=r"no \.npy, \.npz, \.pt files named ID in .*[a-z0-9]$"):
        find_files(tmp_path)
    with pytest.raises(ConfigError, match="is not a folder"):
        find_files(tmp_path / "none")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda rows: rows * 1e4,
            r"b\.npy: holds numbers up to 2\.3e\+05, float16 ends at 6\.55e\+04.*--dtype float32",
        ),
        (
            lambda rows: np.where(rows == 10, np.nan, rows),
            r"b\.npy: 1 of 8 rows hold NaN .* is row 3: .*--skip-bad",
        ),
        (
            lambda rows: np.where(rows > 20, np.inf, rows),
            r"b\.npy: 1 of 8 rows hold NaN or infinity, .* row 7",
        ),
    ],
)
def test_numbers_that_do_not_fit_name_file_and_remedy(tmp_path, change, said):
    (tmp_path / "f").mkdir()
    np.save(tmp_path / "f" / "a.npy", ROWS)
    np.save(tmp_path / "f" / "b.npy", change(ROWS))
    with pytest.raises(StoreValueError, match=said):
        import_features(tmp_path / "f", tmp_path / "s.zarr", ImportOptions("tc", 25.0, 1))
    assert not (tmp_path / "s.zarr").exists()
    report = import_features(tmp_path / "f", tmp_path / "t.zarr", ImportOptions("tc", 25.0, 1), skip_bad=True)
    assert list(report["failed"]) == ["b"] and report["videos"] == 1


def test_large_numbers_fit_float32(tmp_path):
    (tmp_path / "f").mkdir()
    np.save(tmp_path / "f" / "a.npy", ROWS * 1e4)
    import_features(tmp_path / "f", tmp_path / "s.zarr", ImportOptions("tc", 25.0, 1, dtype="float32"))
    with FeatureStore.open(tmp_path / "s.zarr") as store:
        np.testing.assert_array_equal(store.read("a", 0, 8), ROWS * np.float32(1e4))
