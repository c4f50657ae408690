"""Features that come later: a model trained on one import predicts on the next."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from cli import cli
from featstore import FeatureSpec, FeatureStore
from pipelines.config import parse_config
from pipelines.train import train

SETTINGS = {
    "window": {"num_rows": 32},
    "localizer": {"decoder": {"name": "temporalmaxer", "embed_dim": 8, "head_dim": 8, "levels": 2}},
    "train": {"epochs": 1, "batch_size": 2, "device": "cpu"},
    "inference": {"min_score": 0.0},
}


def features(folder, names, seconds=20.0):
    """Files of five rows a second, and annotations of their videos."""
    folder.mkdir()
    rng = np.random.default_rng(len(names))
    database = {}
    for number, name in enumerate(names):
        np.save(folder / f"{name}.npy", rng.normal(size=(round(5 * seconds), 6)).astype(np.float32))
        database[name] = {
            "subset": "validation" if number == 0 else "training",
            "duration": seconds,
            "fps": 30,
            "annotations": [{"label": "jump", "segment": [2, 9]}],
        }
    path = folder.parent / f"{folder.name}.json"
    path.write_text(json.dumps({"database": database}))
    return path


def run(*arguments):
    return CliRunner().invoke(cli, [str(a) for a in arguments], standalone_mode=False)


def unfolded(result):
    """What a command logged, as one line."""
    return " ".join(result.stderr.split())


def imported(folder, store, *more):
    start = ("store", "import", "--features", folder, "--store", store, "--layout", "tc", "--stride", 6)
    result = run(*start, "--encoder", "i3d", *more)
    assert result.exception is None and result.return_value is None, result.output
    return store


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A model trained on an import with annotations, and features of a new video."""
    folder = tmp_path_factory.mktemp("imports")
    annotations = features(folder / "known", "abc")
    features(folder / "new", ["later"])
    store = imported(folder / "known", folder / "known.zarr", "--annotations", annotations)
    data = {"annotations": str(annotations), "store": str(store)}
    train(parse_config({"data": data, **SETTINGS}), folder / "run")
    return folder


def predicted(world, store, out, *more):
    return run("predict", "--from-store", store, "--model", world / "run", "--out", out, "--json", *more)


def test_a_second_import_of_the_same_features_is_predicted_from(world, tmp_path):
    """New videos have no annotations: their rate is given, that of training came from each video."""
    store = imported(world / "new", tmp_path / "new.zarr", "--fps", 30)
    result = predicted(world, store, tmp_path / "out")
    assert result.exception is None, result.exception
    found = json.loads(result.stdout)
    assert list(found["videos"]) == ["later"] and not found["failed"]


@pytest.mark.parametrize("more", [("--fps", 30, "--window", 64), ("--fps", 30, "--encoder", "tsp")])
def test_features_of_something_else_are_refused_once_for_all(world, tmp_path, more):
    store = imported(world / "new", tmp_path / "new.zarr", *more)
    result = predicted(world, store, tmp_path / "out")
    said = str(result.exception)
    assert "are not those that the model" in said and "--encoder, --fps, --stride and --window" in said
    assert not (tmp_path / "out").exists()


def old_store(path, digest, source):
    """A store as 0.1 imported it: with a digest of its files."""
    with FeatureStore.open(source) as new:
        spec = FeatureSpec.from_dict(new.spec.to_dict() | {"weights": f"imported:{digest}"})
        with FeatureStore.create(path, spec) as store:
            for name in new.video_ids:
                record = new.video(name)
                store.add_video(name, record.num_rows, record.fps, record.duration_s)
                store.write(name, 0, new.read(name, 0, record.num_rows), step=0)
                store.complete(name)
            store.commit()
    return path


def test_stores_and_models_of_0_1_go_on_with_each_other_and_with_new_ones(world, tmp_path):
    fresh = imported(world / "new", tmp_path / "new.zarr", "--fps", 30)
    one = old_store(tmp_path / "one.zarr", "4f471f30a9d2c5e8", world / "known.zarr")
    two = old_store(tmp_path / "two.zarr", "34420011223344ff", fresh)
    data = {"annotations": str(world / "known.json"), "store": str(one)}
    train(parse_config({"data": data, **SETTINGS}), tmp_path / "run")
    for number, store in enumerate((two, fresh)):
        result = predicted(tmp_path, store, tmp_path / f"out{number}")
        assert result.exception is None and list(json.loads(result.stdout)["videos"]) == ["later"]
        assert (number == 0) == ("imported from other files" in unfolded(result))
    assert predicted(world, two, tmp_path / "out2").exception is None
    merged = run("store", "merge", one, two, "--out", tmp_path / "all.zarr")
    assert "4 videos of 2 stores" in merged.output
    assert "two.zarr, compared with" in unfolded(merged) and "imported from other files" in unfolded(merged)
