"""Training on stored features only, the command line around it, and studies."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from benchmarks.study.matrix import RunResult
from benchmarks.study.table import Yardstick, markdown, mean_sd
from cli import cli
from featstore import FeatureSpec, FeatureStore
from pipelines.config import parse_config, save_resolved
from pipelines.shared.run_folder import validation_predictions
from pipelines.train import train
from pipelines.train.findings import NotReadyError
from pipelines.train.run_log import read_log
from tal import Detector
from tal.annotations import read_predictions
from tal.errors import AnnotationError
from tests.pipelines.tiny_run import assert_same_detections, make_data, make_store, tiny_config


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    """Ten sequences in which a channel says where its class is: learnt in seconds."""
    folder = tmp_path_factory.mktemp("features")
    rng, database = np.random.default_rng(0), {}
    spec = FeatureSpec("made", "up", 6, 4, 4, dtype="float32", fps=8.0)
    with FeatureStore.create(folder / "store.zarr", spec) as store:
        for number in range(10):
            count = 90 + number
            values = rng.normal(0, 0.3, (count, 6)).astype(np.float32)
            segments = []
            for k, begin in enumerate((10, 45)):
                label, length = (number + k) % 2, 12 + number
                values[begin : begin + length, label] += 3
                span = [begin * 0.5, (begin + length) * 0.5]
                segments.append({"label": "ab"[label], "segment": span})
            store.add_video(f"s{number}", count, 8.0, count * 0.5, count * 4)
            store.write(f"s{number}", 0, values, step=0)
            store.complete(f"s{number}")
            subset = "training" if number < 8 else "validation"
            database[f"s{number}"] = {"subset": subset, "duration": count * 0.5, "annotations": segments}
        store.commit()
    text = json.dumps({"version": "1", "taxonomy": [], "database": database})
    (folder / "annotations.json").write_text(text)
    return folder


def config(folder, **sections):
    tree = {
        "data": {"annotations": str(folder / "annotations.json"), "store": str(folder / "store.zarr")},
        "window": {"num_rows": 96},
        "localizer": {
            "decoder": {
                "name": "temporalmaxer",
                "embed_dim": 32,
                "head_dim": 32,
                "levels": 4,
                "initial_normaliser": 20,
            }
        },
        "optim": {"lr": 3e-3, "warmup_epochs": 2},
        "train": {"epochs": 30, "batch_size": 4, "device": "cpu", "validate_from": 20, "validate_every": 5},
    }
    for name, values in sections.items():
        tree[name] = {**tree.get(name, {}), **values}
    return parse_config(tree)


def test_a_localizer_learns_from_stored_features(features, tmp_path):
    torch.set_num_threads(1)
    result = train(config(features, train={"ema_decay": 0.9, "keep_best": 2}), tmp_path / "run")
    assert result.best > 0.8
    run = tmp_path / "run"
    assert not (run / "memory.zarr").exists()
    assert json.loads((run / "model" / "provenance.json").read_text())["features"]["channels"] == 6
    assert set(json.loads((run / "model" / "thresholds.json").read_text())) == {"a", "b"}
    assert 1 <= len(list((run / "models").iterdir())) <= 2
    best = max(r["mAP"] for r in read_log(run, "validation"))
    assert result.best == best
    with FeatureStore.open(features / "store.zarr") as store:
        assert store.staleness(by="row")["writes"].max() == 1  # nothing was written


def test_the_command_trains_refuses_and_resumes(features, tmp_path):
    path = save_resolved(config(features, train={"epochs": 2}), tmp_path, "run.yaml")
    run = ["train", "--config", str(path), "--out", str(tmp_path / "run")]
    first = CliRunner().invoke(cli, [*run, "--set", "train.epochs=1", "--json"])
    assert first.exit_code == 0, first.output
    assert json.loads(first.stdout)["step"] == 2
    again = CliRunner().invoke(cli, [*run, "--set", "train.epochs=1"], standalone_mode=False)
    assert "--resume" in str(again.exception)
    other = CliRunner().invoke(cli, [*run, "--resume"], standalone_mode=False)
    assert "begun with other settings" in str(other.exception)
    done = CliRunner().invoke(cli, ["train", "--resume", "--out", str(tmp_path / "run")])
    assert done.exit_code == 0 and "2 steps done" in done.output
    assert CliRunner().invoke(cli, ["train", "--out", str(tmp_path / "x")]).exit_code == 2
    listed = CliRunner().invoke(cli, ["presets", "--json"])
    assert {"hapt", "gym"} <= {row["name"] for row in json.loads(listed.stdout)}
    shown = CliRunner().invoke(cli, ["presets", "hapt", "--set", "train.epochs=3", "--json"])
    assert json.loads(shown.stdout)["train"]["epochs"] == 3


def test_without_validation_the_last_weights_are_the_model(features, tmp_path):
    chosen = config(features, data={"val_subset": ""}, train={"epochs": 1})
    assert train(chosen, tmp_path / "run").best is None
    assert (tmp_path / "run" / "model" / "model.safetensors").exists()
    assert json.loads((tmp_path / "run" / "model" / "thresholds.json").read_text()) == {}


@pytest.mark.parametrize("case", ["more than max_segments", "unwritten rows", "duration not known"])
def test_validation_finds_what_the_model_folder_finds(features, tmp_path, case):
    """On the same rows, by the same rules: what chooses the model is what the model does."""
    store, most = features / "store.zarr", 200
    if case == "more than max_segments":
        most = 5
    elif case == "unwritten rows":
        store = copied_store(store, tmp_path, unwritten=range(20, 40))
    else:
        store = copied_store(store, tmp_path, timed=False, window_frames=32)
    chosen = config(
        features,
        data={"store": str(store)},
        inference={"min_score": 0.0, "suppression": {"max_segments": most, "min_score": 0.0}},
        train={"epochs": 1},
    )
    result = train(chosen, tmp_path / "run")
    validated = read_predictions(validation_predictions(tmp_path / "run", result.step))
    detector = Detector.load(tmp_path / "run", device="cpu")
    with FeatureStore.open(store) as opened:
        for name in ("s8", "s9"):
            found = detector.predict_store(opened, name)
            assert_same_detections(validated[validated["video_id"] == name], found)
            assert len(found) >= 15  # 20 a minute where that is more than max_segments


def copied_store(source, folder, unwritten=(), timed=True, **spec):
    """The store's videos in a new one, with rows of the validation videos left out, durations or not."""
    path = folder / "other.zarr"
    with FeatureStore.open(source) as old, FeatureStore.create(path, replace(old.spec, **spec)) as new:
        for name in old.video_ids:
            record = old.video(name)
            new.add_video(name, record.num_rows, record.fps, record.duration_s if timed else None)
            rows = old.read(name, 0, record.num_rows)
            left_out = unwritten if name in ("s8", "s9") else ()
            for row in set(range(record.num_rows)) - set(left_out):
                new.write(name, row, rows[row : row + 1], step=0)
            new.complete(name)
        new.commit()
    return path


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"train_subset": "trainig"}, "no subset 'trainig'"),
        ({"annotations": ""}, "data.annotations is empty"),
        ({"store": "nowhere.zarr"}, "no feature store at nowhere.zarr"),
    ],
)
def test_wrong_data_is_one_line(features, tmp_path, data, said):
    with pytest.raises((ValueError, OSError), match=said.replace(".", r"\.")) as caught:
        train(config(features, data=data), tmp_path / "run")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("every", "expected"), [(0, [4, 6]), (2, [4, 6]), (3, [3, 6]), (4, [4, 6])])
def test_checkpoints_come_when_asked_for_also_at_an_epochs_end(features, tmp_path, every, expected):
    """Three epochs of two steps; the last two checkpoints stay."""
    train(config(features, train={"epochs": 3, "checkpoint_every": every}), tmp_path / "run")
    assert [int(p.name[5:]) for p in sorted((tmp_path / "run" / "checkpoints").iterdir())] == expected


def test_a_run_that_never_began_can_be_tried_again(features, tmp_path):
    with pytest.raises(OSError, match="no feature store"):
        train(config(features, data={"store": "nowhere.zarr"}), tmp_path / "run")
    assert train(config(features, train={"epochs": 1}), tmp_path / "run").step == 2


def test_annotations_of_other_videos_are_an_error(features, tmp_path):
    text = (features / "annotations.json").read_text().replace('"s', '"other')
    (tmp_path / "a.json").write_text(text.replace('"othere', '"se').replace('"otheru', '"su'))
    with pytest.raises(NotReadyError) as caught:
        train(config(features, data={"annotations": str(tmp_path / "a.json")}), tmp_path / "run")
    kinds = [str(problem).split(" videos of ")[0] for problem in caught.value.problems]
    assert kinds == ["none of the 8 training", "none of the 2 validation"]
    assert all(isinstance(problem, AnnotationError) for problem in caught.value.problems)


def test_a_frozen_encoder_trains_on_the_store_and_goes_into_the_model(tmp_path):
    make_data(tmp_path)
    make_store(tmp_path)
    frozen = tiny_config(tmp_path, memory={"ratio": 0.0}, train={"epochs": 1})
    train(frozen, tmp_path / "run")
    assert not (tmp_path / "run" / "memory.zarr").exists()
    from safetensors.torch import load_file

    from tal.encoders import build_encoder

    weights = load_file(tmp_path / "run" / "model" / "model.safetensors")
    initial = build_encoder(frozen.encoder).state_dict()
    assert all(torch.equal(weights[f"encoder.{name}"], value) for name, value in initial.items())


def test_a_study_table_has_mean_sd_and_yardsticks():
    runs = [
        RunResult("a", s, {"p": v}, {"p": v + 0.1}, 20, 10, 0.5, 100.0 + s, 2_000_000)
        for s, v in enumerate((0.1, 0.2, 0.3))
    ]
    runs.append(RunResult("b", 0, {"p": 0.5}, {"p": 0.5}, 20, 10, 0.1, 50.0, 1_000_000))
    text = markdown(
        runs, [Yardstick("theirs", {"p": 0.42}, "their code, one seed")], "python -m benchmarks.study x"
    )
    assert mean_sd([0.1, 0.2, 0.3]) == pytest.approx((0.2, 0.1))
    assert "| a | 3 | 0.200 ± 0.100 | 0.300 ± 0.100 | 30.0 | 102 | 2.00 M |" in text
    assert "| b | 1 | 0.500 | 0.500 | 6.0 | 50 | 1.00 M |" in text
    assert "| *theirs* | 1 | 0.420 |" in text and "their code, one seed" in text
