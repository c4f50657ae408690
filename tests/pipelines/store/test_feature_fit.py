"""Feature files that do not fit their videos, and axes that are not what they seem."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from cli import cli
from featstore import FeatureStore
from featstore.errors import StoreValueError
from pipelines.shared.row_fit import VideoRows, check_rows
from pipelines.store.features import ImportOptions, import_features
from tal.errors import ConfigError


def folder_of(path, **files):
    """A folder of .npy files: name -> shape."""
    path.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for name, shape in files.items():
        np.save(path / f"{name}.npy", rng.normal(size=shape).astype(np.float32))
    return path


def facts_of(durations, fps=5.0):
    return {name: {"fps": fps, "duration_s": seconds} for name, seconds in durations.items()}


def grid(layout="tc", stride=1, fps=0.0, **more):
    return ImportOptions(layout, fps, stride, encoder="net", **more)


# -- rows against their video --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "options", "said"),
    [
        ((2048, 192), grid(), r"409\.60 s in a video of 38\.40 s.*layout tc.*axes swapped \(--layout ct\)"),
        ((192, 2048), grid("ct"), r"409\.60 s.*layout ct.*axes swapped \(--layout tc\)"),
        ((192, 16), grid(stride=4), r"153\.60 s.*stride 4.*5 frames a second.*a stride of 1 would fit"),
        ((192, 16), grid(fps=1.0), r"192\.00 s.*1 frames a second.*5 frames a second would fit"),
        ((192, 16), grid(fps=25.0), r"7\.68 s in a video of 38\.40 s"),
    ],
)
def test_rows_that_end_elsewhere_than_their_video_are_refused(tmp_path, shape, options, said):
    features = folder_of(tmp_path / "f", a=shape, b=shape)
    with pytest.raises(ConfigError, match=said):
        import_features(features, tmp_path / "s.zarr", options, facts_of({"a": 38.4, "b": 38.4}))
    assert not (tmp_path / "s.zarr").exists()


def test_the_right_grid_is_taken_for_each_wrong_one(tmp_path):
    facts = facts_of({"a": 38.4, "b": 38.4})
    features = folder_of(tmp_path / "f", a=(2048, 192), b=(2048, 192))
    assert import_features(features, tmp_path / "s.zarr", grid("ct"), facts)["notes"] == []
    with FeatureStore.open(tmp_path / "s.zarr") as store:
        np.testing.assert_allclose(store.read("a", 0, 192), np.load(features / "a.npy").T, atol=4e-3)


@pytest.mark.parametrize("rows", [183, 188, 189, 190, 191, 192, 195, 200])
def test_files_may_end_windows_short_or_be_padded(tmp_path, rows):
    """96 s at 30 frames a second, 16 of them every 15: 191 rows end with the video."""
    features = folder_of(tmp_path / "f", a=(rows, 8))
    report = import_features(
        features, tmp_path / "s.zarr", grid(stride=15, window=16), facts_of({"a": 96.0}, 30.0)
    )
    assert report["videos"] == 1
    assert bool(report["notes"]) == (abs(rows - 191) > 4)


def test_single_files_that_are_off_are_said_and_not_refused(tmp_path):
    """Durations of single videos are wrong in every large data set."""
    shapes = {f"v{n:02d}": (100, 4) for n in range(40)}
    features = folder_of(tmp_path / "f", **(shapes | {"v07": (300, 4)}))
    report = import_features(features, tmp_path / "s.zarr", grid(), facts_of(dict.fromkeys(shapes, 20.0)))
    assert report["videos"] == 40
    assert "1 of 40 videos: rows end at 60.00 s in a video of 20.00 s ('v07'" in report["notes"][0]
    few = {name: shape for name, shape in shapes.items() if name < "v10"}
    features = folder_of(tmp_path / "few", **(few | {"v07": (300, 4)}))
    with pytest.raises(ConfigError, match="1 of 10 videos"):
        import_features(features, tmp_path / "t.zarr", grid(), facts_of(dict.fromkeys(few, 20.0)))


def test_files_resampled_to_one_length_are_told_of_rows(tmp_path):
    features = folder_of(tmp_path / "f", a=(100, 4), b=(100, 4), c=(100, 4))
    facts = facts_of({"a": 40.0, "b": 120.0, "c": 300.0}, 30.0)
    with pytest.raises(ConfigError, match=r"every file has 100 rows.*--rows"):
        import_features(features, tmp_path / "s.zarr", grid(stride=16), facts)
    report = import_features(features, tmp_path / "s.zarr", grid(stride=16, rows=100), facts)
    assert report["videos"] == 3 and report["notes"] == []


def test_check_compares_a_store_with_annotations_with_itself_and_says_what_it_cannot(tmp_path):
    features = folder_of(tmp_path / "f", a=(192, 16), b=(192, 16))
    import_features(features, tmp_path / "s.zarr", grid(stride=4, fps=5.0))
    video = {"subset": "training", "annotations": [{"label": "jump", "segment": [0, 1]}]}
    for seconds, code, said in (
        (
            {"duration": 38.4},
            1,
            "rows end at 153.60 s in a video of 38.40 s: [192 rows, 16 channels], stride 4",
        ),
        ({"duration": 153.0}, 0, "0 errors, 0 warnings"),
        ({}, 0, "of 2 of 2 videos is not known"),
    ):
        annotations = tmp_path / "a.json"
        annotations.write_text(json.dumps({"database": {name: video | seconds for name in "ab"}}))
        result = CliRunner().invoke(
            cli, ["check", "--annotations", str(annotations), "--store", str(tmp_path / "s.zarr")]
        )
        assert result.exit_code == code and said in result.output, result.output
    alone = CliRunner().invoke(cli, ["check", "--store", str(tmp_path / "s.zarr")])
    assert alone.exit_code == 0 and "not known" in alone.output


def test_a_slight_difference_is_a_warning_and_a_short_video_may_be_one_window():
    slight = VideoRows("a", 1000, 4, 24.0, 1, 1, 40.0)  # 41.67 s
    found = check_rows([slight])
    assert found.slight == (slight,) and found.warning and not found.error and not found.wrong
    assert VideoRows("a", 1, 4, 25.0, 16, 64, 1.0).fits  # a padded window of 2.56 s
    assert VideoRows("a", 12, 4, 4.0, 4, 4, 3.0).wrong
    assert not check_rows([VideoRows("a", 100, 4, 5.0, 1, 1, 20.0)]).warning


# -- axes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layout", "shapes", "rows"),
    [
        ("tc", {"a": (30, 1, 1, 64), "b": (1, 1, 1, 64), "c": (30, 1, 64, 1, 1)}, [30, 1, 30]),
        ("tc", {"a": (64,), "b": (30, 64)}, [1, 30]),
        ("tc", {"a": (1, 10, 64), "b": (1, 31, 64)}, [10, 31]),
        ("ct", {"a": (1, 64, 30), "b": (64, 1), "c": (1, 64, 1)}, [30, 1, 1]),
        ("tc", {"a": (30, 1), "b": (7, 1, 1), "c": (5,)}, [30, 7, 5]),
        ("ct", {"a": (1, 64, 10)}, [10]),
    ],
)
def test_axes_of_length_one_go(tmp_path, layout, shapes, rows):
    features = folder_of(tmp_path / "f", **shapes)
    import_features(features, tmp_path / "s.zarr", grid(layout, fps=5.0, dtype="float32"))
    with FeatureStore.open(tmp_path / "s.zarr") as store:
        assert [store.video(name).num_rows for name in sorted(shapes)] == rows
        for name in shapes:
            values = np.load(features / f"{name}.npy")
            values = values.reshape(-1, store.spec.channels) if layout == "tc" else values
            values = values.reshape(store.spec.channels, -1).T if layout == "ct" else values
            np.testing.assert_array_equal(store.read(name, 0, len(values)), values)


@pytest.mark.parametrize(
    ("layout", "shapes", "said"),
    [
        ("tc", {"a": (1, 10, 64)}, r"a\.npy holds \[1, 10, 64\]: ten crops of one clip, or 10 rows"),
        ("tc", {"a": (1, 10, 64), "b": (1, 10, 64)}, r"\[1, 10, 64\]: ten crops"),
        ("tc", {"b": (1, 5, 64), "c": (40, 64)}, r"\[1, 5, 64\]: five crops"),
        ("ct", {"a": (64, 10, 1)}, r"\[64, 10, 1\]: ten crops"),
        ("tc", {"a": (30, 10, 64)}, r"\[30, 10, 64\].*ten crops\? average them"),
        ("tc", {"a": (30, 3, 4, 64)}, r"\[30, 3, 4, 64\], not rows and channels"),
        ("tc", {"a": (1, 64, 1)}, r"\[1, 64, 1\]: one row of 64 channels, or 64 rows of one"),
        ("ct", {"a": (1, 1, 64)}, r"\[1, 1, 64\]: one row of 64 channels"),
        ("tc", {"a": (0, 64)}, r"\[0, 64\]: nothing"),
    ],
)
def test_axes_that_could_be_either_are_refused_with_their_shape(tmp_path, layout, shapes, said):
    features = folder_of(tmp_path / "f", **shapes)
    with pytest.raises(StoreValueError, match=said):
        import_features(features, tmp_path / "s.zarr", grid(layout, fps=5.0))
    report = None
    if len(shapes) > 1 and "c" in shapes:
        report = import_features(features, tmp_path / "s.zarr", grid(layout, fps=5.0), skip_bad=True)
        assert report["videos"] == 1 and list(report["failed"]) == ["b"]


def test_the_duration_tells_ten_rows_from_ten_crops(tmp_path):
    features = folder_of(tmp_path / "f", a=(1, 10, 64))
    options = grid(stride=15)
    with pytest.raises(StoreValueError, match="ten crops"):
        import_features(features, tmp_path / "s.zarr", options, facts_of({"a": 3.0}))
    import_features(features, tmp_path / "s.zarr", options, facts_of({"a": 30.0}))
    with FeatureStore.open(tmp_path / "s.zarr") as store:
        assert store.video("a").num_rows == 10


@pytest.mark.parametrize("suffix", ["npz", "pt"])
def test_other_files_are_looked_at_the_same_way(tmp_path, suffix):
    torch = pytest.importorskip("torch")
    (tmp_path / "f").mkdir()
    values = np.random.default_rng(0).normal(size=(1, 20, 6)).astype(np.float32)
    path = tmp_path / "f" / f"a.{suffix}"
    if suffix == "npz":
        np.savez_compressed(path, feats=values)
    else:
        torch.save(torch.from_numpy(values), path)
    import_features(tmp_path / "f", tmp_path / "s.zarr", grid(fps=5.0, dtype="float32"))
    with FeatureStore.open(tmp_path / "s.zarr") as store:
        np.testing.assert_array_equal(store.read("a", 0, 20), values[0])
    if suffix == "npz":
        path.write_bytes(path.read_bytes()[:120])
        with pytest.raises(StoreValueError, match="cannot be read"):
            import_features(tmp_path / "f", tmp_path / "t.zarr", grid(fps=5.0))


# -- names ---------------------------------------------------------------------------------------------------


def test_ids_of_both_sides_are_named_where_they_do_not_meet(tmp_path):
    features = folder_of(tmp_path / "f", v_abc=(60, 16), v_def=(60, 16))
    facts = facts_of({"abc": 30.0, "def": 30.0}, 30.0)
    report = import_features(features, tmp_path / "s.zarr", grid(stride=15), facts)
    assert report["notes"] == [
        "2 feature files matched with 'v_' taken off: 'v_abc' as 'abc', 'v_def' as 'def'"
    ]
    other = facts_of({"P01/P01_11": 30.0}, 30.0)
    with pytest.raises(ConfigError, match=r"'v_abc' \(.*v_abc\.npy\): no frame rate.*\('P01/P01_11'\)"):
        import_features(features, tmp_path / "t.zarr", grid(stride=15), other)
    report = import_features(features, tmp_path / "t.zarr", grid(stride=15, fps=30.0), other)
    assert any(
        "match no annotated id: 'v_abc', 'v_def'; annotated ids are 'P01" in n for n in report["notes"]
    )
    with pytest.raises(ConfigError, match="the annotations of 'abc' have none"):
        import_features(features, tmp_path / "u.zarr", grid(stride=15), {"abc": {}, "def": {}})
    sub = folder_of(tmp_path / "g" / "P01", P01_11=(60, 16)).parent
    assert import_features(sub, tmp_path / "v.zarr", grid(stride=15), other)["notes"] == []
    inside = import_features(sub / "P01", tmp_path / "w.zarr", grid(stride=15), other)
    assert "'P01_11' as 'P01/P01_11'" in inside["notes"][0]
