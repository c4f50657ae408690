"""What earlier versions left on disk is read, predicted with and gone on with (tests/data/README.md)."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from featstore import FeatureStore, StoreSpecError
from pipelines.train import saved_config, train
from pipelines.train.run_log import read_log
from tal import Detector
from tests.data.make import detections, store_facts

pytestmark = pytest.mark.usefixtures("one_thread")

FOLDERS = sorted(path.parent for path in Path(__file__).with_name("data").glob("*/expected.json"))


@pytest.fixture(params=FOLDERS, ids=lambda folder: folder.name)
def expected(request, tmp_path, monkeypatch):
    """What the version noted; the test stands in a copy of its folder, where the paths of its run lead."""
    shutil.copytree(request.param, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return json.loads(Path("expected.json").read_text())


def differences(noted, found, where=""):
    """Places where ``found`` is not what was noted; a later version may tell more."""
    if isinstance(noted, dict) and isinstance(found, dict):
        missing = [f"{where}/{key} is missing" for key in noted.keys() - found.keys()]
        common = noted.keys() & found.keys()
        return missing + [d for key in common for d in differences(noted[key], found[key], f"{where}/{key}")]
    if isinstance(noted, list) and isinstance(found, list | tuple) and len(noted) == len(found):
        pairs = enumerate(zip(noted, found, strict=True))
        return [d for k, (a, b) in pairs for d in differences(a, b, f"{where}/{k}")]
    return [] if noted == found else [f"{where}: {found}, noted {noted}"]


def test_a_folder_of_every_version_is_there():
    assert "0.1" in [folder.name for folder in FOLDERS]


@pytest.mark.parametrize(("name", "path"), [("store", "store.zarr"), ("memory", "run/memory.zarr")])
def test_a_store_reads_as_it_did(expected, name, path):
    assert differences(expected[name], store_facts(path)) == []
    with FeatureStore.open(path) as store:
        assert store.verify().empty


def test_a_store_is_written_on(expected):
    with FeatureStore.open("store.zarr", mode="r+", run="later") as store:
        rows = np.full((2, store.spec.channels), 0.5)
        store.write("holes", 6, rows, step=9)
        store.add_video("more", 3, 8.0)
        store.write("more", 0, rows, step=0)
        store.complete("more")
        assert store.commit() == expected["store"]["generation"] + 1
    noted = expected["store"]["videos"]
    found = store_facts("store.zarr")
    untouched = {name: noted[name] for name in noted.keys() - {"holes"}}
    assert differences(untouched, found["videos"]) == []
    assert found["videos"]["more"]["valid"] == [1, 1, 0]
    with FeatureStore.open("store.zarr") as store:
        values, valid = store.read("holes", 0, 24, return_valid=True)
        assert (values[6:8] == 0.5).all() and valid.sum() == sum(noted["holes"]["valid"]) + 2
        assert store.ledger("holes", 5, 8)["step"].tolist() == [0, 9, 9]
        assert store.verify().empty and store.run_id == "later"


def test_a_model_folder_predicts_as_it_did(expected):
    found = detections()
    for source, noted in expected["detections"].items():
        assert len(noted) == len(found[source]) > 0
        for a, b in zip(noted, found[source], strict=True):
            assert a["label"] == b["label"]
            for column in ("start_s", "end_s", "score"):
                assert b[column] == pytest.approx(a[column], abs=1e-5), source


def test_videos_were_read_with_pyav_where_no_reader_is_named(expected):
    detector = Detector.load("model", device="cpu")
    assert detector.config.reader == saved_config("run").data.reader == "auto"
    features = detector.folder.provenance["features"]
    for path in ("store.zarr", "run/memory.zarr"):
        with FeatureStore.open(path) as store:
            assert store.spec.reader == "pyav"
            store.spec.require(features, "the model", then="extract again")
            with pytest.raises(StoreSpecError, match="reader: 'decord' in the store, 'pyav' needed"):
                replace(store.spec, reader="decord").require(features, "the model", then="extract again")


def test_a_run_goes_on_where_it_was_killed(expected):
    train(saved_config("run"), "run", resume=True)
    noted = expected["steps"]
    done = read_log("run", "step")
    assert [r["step"] for r in done] == list(range(1, noted[-1][0] + 1))
    after = done[noted[0][0] - 1 :]
    assert [r["loss"] for r in after] == pytest.approx([loss for _, loss, _ in noted], rel=1e-5)
    # sums of many squares: processors agree less
    assert [r["grad_norm"] for r in after] == pytest.approx([norm for *_, norm in noted], rel=1e-3)
    with FeatureStore.open("run/memory.zarr") as memory:
        assert memory.verify().empty and memory.uncommitted_rows == 0
        assert memory.staleness(by="row")["step"].max() == noted[-1][0]
    assert Detector.load("run", device="cpu").folder.provenance["step"] == noted[-1][0]
