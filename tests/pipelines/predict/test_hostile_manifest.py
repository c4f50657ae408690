"""The manifest of a folder of predictions comes from elsewhere: none of its names leads out of the folder."""

import hashlib
import json
import os

import pytest

from benchmarks.fuzz.models import make
from featstore import FeatureStore
from pipelines.predict.run import predict
from pipelines.shared.files import OutputExistsError
from tal.inference.detector import Detector


@pytest.fixture
def once(tmp_path):
    """Predict from a store into a folder; called again, it goes on there."""
    make(tmp_path)
    detector = Detector.load(tmp_path / "model", device="cpu")

    def go_on(**options):
        with FeatureStore.open(tmp_path / "s.zarr") as store:
            return predict(detector, {"v": tmp_path / "v.mp4"}, tmp_path / "out", store=store, **options)

    go_on()
    return go_on


def change(folder, **values):
    path = folder / "out" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_it_goes_on_in_its_own_folder(once):
    assert once().reused == ["v"]


@pytest.mark.parametrize(
    "name", ["../predictions.json", "{folder}/predictions.json", "finished/../../predictions.json"]
)
def test_no_file_outside_is_written_anew(tmp_path, once, name):
    """What a call wrote before is removed when it is written anew: here a file beside the folder."""
    precious = tmp_path / "predictions.json"
    precious.write_text("mine")
    digests = json.loads((tmp_path / "out" / "manifest.json").read_text())["files"]
    mine = hashlib.sha256(b"mine").hexdigest()
    change(tmp_path, files=digests | {name.format(folder=tmp_path): mine})
    with pytest.raises(OutputExistsError, match="another model"):
        once()
    once(overwrite=True)
    assert precious.read_text() == "mine"


@pytest.mark.parametrize(
    "values",
    [
        {"videos": {"w": {"path": "w.mp4", "part": "../secret.json", "stamp": {}}}},
        {"videos": {"w": {"path": 5, "part": "a", "stamp": {}}}},
        {"videos": {"w": {}}},
        {"videos": {"w": 5}},
        {"videos": []},
        {"files": [5]},
        {"files": None},
    ],
)
def test_what_is_no_manifest_is_another_programs(tmp_path, once, values):
    change(tmp_path, **values)
    with pytest.raises(OutputExistsError, match="another model"):
        once()


def test_a_pipe_in_its_place_keeps_nobody_waiting(tmp_path, once):
    path = tmp_path / "out" / "manifest.json"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(OutputExistsError, match="another model"):
        once()
