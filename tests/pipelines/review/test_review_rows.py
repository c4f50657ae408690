"""`longtal review --next --against-rows`: where the rows come from, and what their classifier says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from cli import cli
from featstore import FeatureStore
from pipelines.review.rows import ask_rows
from pipelines.review.run import ReviewError, predictions_of
from pipelines.train import train
from tal import Detector
from tal.annotations import read_predictions, write_predictions
from tal.review.doubts import Detections
from tests.pipelines.tiny_run import tiny_config

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def runs(data: Path) -> Path:
    """Runs with a row classifier, of a resting encoder and of a learning one, and one without."""
    training = {"epochs": 1, "validate_from": 0}
    for name, ratio, row_loss in (("resting", 0.0, 1.0), ("learning", 0.5, 1.0), ("none", 0.0, 0.0)):
        localizer = {**tiny_config(data).localizer.model_dump(), "row_loss": row_loss}
        train(
            tiny_config(
                data, memory={"ratio": ratio}, localizer=localizer, train=training, optim={"lr": 0.01}
            ),
            data / name,
        )
    return data


def asked(run: Path, files: dict[str, Path], model: Path | None = None) -> pd.DataFrame:
    """What the rows say of all detections of a run: a threshold of 0 shows each, and none is left out."""
    found = Detections(read_predictions(predictions_of(run)), 0.0)
    rival, notes = ask_rows(model or run, found, files)
    assert not notes
    return rival.predictions


@pytest.mark.parametrize("name", ["resting", "learning"])
def test_a_detection_has_the_score_that_rows_alone_give_it(runs: Path, name: str) -> None:
    files = {v: runs / "videos" / f"{v}.mp4" for v in ("v06", "v07")}
    said = asked(runs / name, {} if name == "resting" else files)
    detector = Detector.load(runs / name, device="cpu")
    alone = detector.config.inference.model_copy(update={"row_weight": 1.0})
    detector.config = detector.config.model_copy(update={"inference": alone})
    if name == "resting":
        with FeatureStore.open(runs / "store.zarr") as store:
            whole = pd.concat([detector.predict_store(store, v) for v in files])
    else:
        whole = pd.concat([detector.predict(path) for path in files.values()])
    ordered = [
        f.astype({"video_id": str, "label": str}).sort_values(["video_id", "label", "start_s", "end_s"])
        for f in (said, whole)
    ]
    assert len(said) == len(whole) > 10
    np.testing.assert_allclose(ordered[0]["score"], ordered[1]["score"], rtol=1e-4, atol=1e-6)


def longtal(runs: Path, out: Path, source: Path, *words: object) -> Result:
    named = [str(source), "--videos", str(runs / "videos"), "--out", str(out), *map(str, words)]
    return CliRunner().invoke(cli, ["review", *named, "--next", "2", "--json"])


def test_disagreement_with_the_rows_is_looked_at(runs: Path, tmp_path: Path) -> None:
    found = read_predictions(predictions_of(runs / "resting"))
    high = float(found["score"].quantile(0.98))  # a few that do not cover all
    words = ("--threshold", high, "--against-rows", runs / "resting")
    result = longtal(runs, tmp_path / "c.json", runs / "resting", *words)
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    details = [item["detail"] for item in told["next"] if item["reason"] == "disagreement"]
    assert details and all("alone; at most" in text for text in details) and told["notes"] == []
    plain = json.loads(longtal(runs, tmp_path / "d.json", runs / "resting", "--threshold", high).stdout)
    assert not [item for item in plain["next"] if item["reason"] == "disagreement"]
    # a file of predictions serves, since the model is named
    write_predictions(found, tmp_path / "predictions.json")
    other = longtal(runs, tmp_path / "e.json", tmp_path / "predictions.json", *words)
    assert [i for i in json.loads(other.stdout)["next"]] == told["next"]


def test_without_rows_it_is_said_why(runs: Path, tmp_path: Path) -> None:
    found = Detections(read_predictions(predictions_of(runs / "resting")), 0.0)
    with pytest.raises(ReviewError, match=r"no row classifier: .* --against compares"):
        ask_rows(runs / "none", found, {})
    with pytest.raises(ReviewError, match="2 videos have neither rows nor a file"):
        ask_rows(runs / "learning", found, {})
    broken = tmp_path / "v07.mp4"
    broken.write_bytes(b"nothing")
    files = {"v06": runs / "videos" / "v06.mp4", "v07": broken}
    rival, notes = ask_rows(runs / "learning", found, files)
    assert rival.videos == {"v06"} and len(notes) == 1 and "v07.mp4" in notes[0]
    strange = read_predictions(predictions_of(runs / "resting")).assign(label="fly")
    with pytest.raises(ReviewError, match="does not know 'fly'"):
        ask_rows(runs / "resting", Detections(strange, 0.0), files)
    without = CliRunner().invoke(
        cli,
        f"review --videos {runs / 'videos'} --labels up --next 3 --against-rows {runs / 'none'} "
        f"--out {tmp_path / 'c.json'}".split(),
    )
    assert "no row classifier" in str(without.exception)


def test_a_model_folder_on_its_own_encodes_what_the_store_lacks(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "resting" / "model", tmp_path / "model")
    files = {v: runs / "videos" / f"{v}.mp4" for v in ("v06", "v07")}
    stored = asked(runs / "resting", {}, tmp_path / "model")
    text = (tmp_path / "model" / "config.yaml").read_text().replace("store.zarr", "gone.zarr")
    (tmp_path / "model" / "config.yaml").write_text(text)
    encoded = asked(runs / "resting", files, tmp_path / "model")
    np.testing.assert_allclose(stored["score"], encoded["score"], rtol=1e-4, atol=1e-6)
