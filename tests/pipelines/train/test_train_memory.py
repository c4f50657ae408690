"""Training through the memory: what is written, what a crash leaves, what a resumed run does."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from featstore import FeatureStore
from pipelines.config import save_resolved
from pipelines.shared.run_folder import validation_predictions
from pipelines.train import saved_config, train
from pipelines.train.loop import TrainingStopped
from pipelines.train.run_log import read_log
from pipelines.train.step import TrainStep
from tal import Detector
from tal.annotations import read_predictions
from tal.errors import CheckpointError, ConfigError
from tests.pipelines.tiny_run import Killed, assert_same_detections, killed_at, losses, tiny_config

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def whole_run(data, tmp_path_factory):
    """An uninterrupted run with everything that is carried from step to step switched on."""
    out = tmp_path_factory.mktemp("whole") / "run"
    train(resumable(data), out)
    return out


def resumable(data, **train_settings):
    return tiny_config(
        data,
        memory={"sampler": "mixture", "ratio": 0.5},
        train={"epochs": 3, "checkpoint_every": 2, "ema_decay": 0.9, **train_settings},
        window={"windows_per_video": 2},
        inference={"suppression": {"max_segments": 1}},
    )


def test_sampled_rows_and_no_others_change_and_carry_their_step(data, tmp_path, monkeypatch):
    written = []
    real = FeatureStore.write

    def noting(self, video, start, rows, step):
        written.append((video, start, len(rows), step))
        real(self, video, start, rows, step=step)

    monkeypatch.setattr(FeatureStore, "write", noting)
    config = tiny_config(data)
    result = train(config, tmp_path / "run")
    assert result.step == 6
    before, after = FeatureStore.open(config.data.store), FeatureStore.open(tmp_path / "run" / "memory.zarr")
    expected = {v: np.zeros(before.video(v).num_rows, int) for v in before.video_ids}
    for video, start, count, step in written:
        expected[video][start : start + count] = step
    assert {step for *_, step in written} == {1, 2, 3, 4, 5, 6}
    for video, steps in expected.items():
        ledger = after.ledger(video, 0, len(steps))
        assert (ledger["step"] == steps).all()
        changed = (before.read(video, 0, len(steps)) != after.read(video, 0, len(steps))).any(1)
        assert (changed == (steps > 0)).all()
        assert (before.ledger(video, 0, len(steps))["step"] == 0).all()  # the extraction is untouched
        assert video < "v06" or not steps.any()  # validation videos are never written
    # 16 rows of a clip grid of 2: a quarter of each window's clips, in whole clips of the window
    assert all(count <= 2 for _, _, count, _ in written)


def test_the_run_folder_holds_what_it_should(whole_run):
    run = whole_run
    assert saved_config(run).train.epochs == 3
    facts = json.loads((run / "provenance.json").read_text())
    assert facts["write_back"] == "augmented" and facts["versions"]["torch"]
    assert json.loads((run / "labels.json").read_text()) == ["down", "up"]
    steps, epochs = read_log(run, "step"), read_log(run, "epoch")
    assert [r["step"] for r in steps] == list(range(1, 19)) and len(epochs) == 3
    for record in epochs:
        assert 0 < record["share_refreshed"] < 1 and record["age_max"] <= record["step"]
        assert -1 <= record["drift_cosine_p05"] <= record["drift_cosine"] <= 1.0001
        assert record["decode_s"] > 0 and record["encode_s"] > 0 and record["wait_s"] >= 0
    assert epochs[-1]["share_never"] < epochs[0]["share_never"]
    assert len(list((run / "checkpoints").glob("step_*"))) == 2
    weights = load_file(run / "model" / "model.safetensors")
    assert {name.split(".")[0] for name in weights} == {"encoder", "localizer"}
    for name in ("config.yaml", "labels.json", "thresholds.json", "provenance.json"):
        assert (run / "model" / name).exists()
    assert read_log(run, "validation")[-1]["step"] == 18
    assert any((run / "tensorboard").iterdir())


@pytest.mark.parametrize("step", [3, 10])
def test_a_killed_run_goes_on_bit_for_bit(data, whole_run, tmp_path, monkeypatch, step):
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        killed_at(patch, step)
        with pytest.raises(Killed):
            train(resumable(data), out)
    result = train(saved_config(out), out, resume=True)
    assert losses(out) == losses(whole_run)
    a, b = (load_file(r / "checkpoints" / "step_00000018" / "model.safetensors") for r in (out, whole_run))
    assert all(torch.equal(a[name], b[name]) for name in b)
    a, b = (load_file(r / "checkpoints" / "step_00000018" / "average.safetensors") for r in (out, whole_run))
    assert all(torch.equal(a[name], b[name]) for name in b)
    with (
        FeatureStore.open(out / "memory.zarr") as mine,
        FeatureStore.open(whole_run / "memory.zarr") as theirs,
    ):
        for video in theirs.video_ids:
            rows = theirs.video(video).num_rows
            assert (mine.read(video, 0, rows) == theirs.read(video, 0, rows)).all()
            assert (mine.ledger(video, 0, rows)["step"] == theirs.ledger(video, 0, rows)["step"]).all()
    assert result.step == 18 and result.best == read_log(whole_run, "validation")[-1]["mAP"]


def test_validation_finds_what_the_model_folder_finds(data, whole_run):
    """The weights' average, encoded videos: detections of the last validation are those of RUN/model."""
    validated = read_predictions(validation_predictions(whole_run, 18))
    detector = Detector.load(whole_run, device="cpu")
    for name in ("v06", "v07"):
        found = detector.predict(data / "videos" / f"{name}.mp4")
        assert_same_detections(validated[validated["video_id"] == name], found)


def test_workers_change_nothing(data, whole_run, tmp_path):
    train(resumable(data, workers=2), tmp_path / "run")
    assert losses(tmp_path / "run") == losses(whole_run)


def test_a_crash_between_checkpoint_and_commit_is_made_up_for(data, whole_run, tmp_path, monkeypatch):
    out = tmp_path / "run"
    real = FeatureStore.commit
    with monkeypatch.context() as patch:

        def dying(self, *args, **kwargs):
            if self.generation >= 4:
                raise Killed
            return real(self, *args, **kwargs)

        patch.setattr(FeatureStore, "commit", dying)
        with pytest.raises(Killed):
            train(resumable(data), out)
    ahead = sorted(out.glob("checkpoints/step_*"))[-1]
    with FeatureStore.open(out / "memory.zarr") as memory:
        assert json.loads((ahead / "state.json").read_text())["generation"] == memory.generation + 1
    step = json.loads((ahead / "state.json").read_text())["step"]
    with monkeypatch.context() as patch:
        killed_at(patch, step + 1)  # the step that it goes on with
        with pytest.raises(Killed):
            train(saved_config(out), out, resume=True)
    train(saved_config(out), out, resume=True)
    assert losses(out) == losses(whole_run)


def test_weights_and_memory_of_different_moments_are_refused(data, whole_run, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(whole_run, out)
    shutil.rmtree(out / "memory.zarr")
    facts = json.loads((out / "provenance.json").read_text())
    with FeatureStore.open(data / "store.zarr") as pristine:
        pristine.copy_to(out / "memory.zarr", run_id=facts["run_id"])
    with pytest.raises(CheckpointError, match=r"generation 1, but .*step_00000018 \(generation"):
        train(saved_config(out), out, resume=True)


def test_a_step_that_is_no_number_moves_neither_weights_nor_memory(data, tmp_path, monkeypatch):
    config = tiny_config(data, train={"max_nonfinite": 1})
    step, unmoved = TrainStep.run, {}

    def poisoned(self, number, batches, meanwhile):
        network = self.plain
        if number == 3:  # the loss is no number
            hook = network.encoder.register_forward_hook(lambda module, args, rows: rows * float("nan"))
        elif number == 5:  # the loss is one, a gradient is not
            weight = network.localizer.decoder.class_head.parameters()
            hook = next(weight).register_hook(lambda gradient: gradient * float("inf"))
        else:
            return step(self, number, batches, meanwhile)
        before = {k: v.clone() for k, v in network.state_dict().items()}
        record = step(self, number, batches, meanwhile)
        hook.remove()
        assert not record.finite
        unmoved[number] = all(torch.equal(before[k], v) for k, v in network.state_dict().items())
        return record

    monkeypatch.setattr(TrainStep, "run", poisoned)
    with pytest.raises(TrainingStopped, match="2 steps had a loss or gradient"):
        train(config, tmp_path / "run")
    assert unmoved == {3: True, 5: True}
    kept = [r for r in read_log(tmp_path / "run", "step") if r["finite"]]
    assert [r["step"] for r in kept] == [1, 2, 4]
    # the epoch's end committed what steps 1 and 2 wrote, and nothing of step 3
    with FeatureStore.open(tmp_path / "run" / "memory.zarr") as memory:
        steps = [memory.ledger(v, 0, memory.video(v).num_rows)["step"] for v in memory.video_ids]
    assert set(np.concatenate(steps).tolist()) == {0, 1, 2}


def test_in_place_refreshes_the_store_itself_and_only_when_asked(data, tmp_path):
    shutil.copytree(data / "store.zarr", tmp_path / "store.zarr")
    config = tiny_config(data, data={"store": str(tmp_path / "store.zarr")}, memory={"in_place": True})
    train(config, tmp_path / "run")
    assert not (tmp_path / "run" / "memory.zarr").exists()
    with FeatureStore.open(tmp_path / "store.zarr") as store:
        assert store.run_id is not None and store.staleness(by="video")["writes"].max() > 1


@pytest.mark.parametrize(
    "memory",
    [
        {"ratio": 1.0},
        {"ratio": 0.5, "write_back": "canonical"},
        {"ratio": 0.5, "warmup_epochs": 1},
        {"ratio": 0.5, "baseline": "stochastic_backprop"},
        {"ratio": 0.5, "baseline": "fresh_only"},
    ],
)
def test_every_way_of_using_the_memory_trains(data, tmp_path, memory):
    config = tiny_config(data, memory=memory, train={"epochs": 1}, localizer={"age_embedding": True})
    assert train(config, tmp_path / "run").step == 3
    changed = (tmp_path / "run" / "memory.zarr").exists()
    assert changed == ("baseline" not in memory)


def test_whole_windows_end_to_end_need_no_store_when_all_is_fresh(data, tmp_path):
    config = tiny_config(data, data={"store": ""}, memory={"ratio": 1.0}, train={"epochs": 1})
    assert train(config, tmp_path / "run").step == 3
    with pytest.raises(ConfigError, match="longtal extract"):
        train(tiny_config(data, data={"store": ""}), tmp_path / "other")


def test_a_store_of_another_encoder_is_refused(data, tmp_path):
    config = tiny_config(data, encoder={"crop": 24})
    with pytest.raises(ValueError, match="crop: 32 in the store, 24 needed"):
        train(config, tmp_path / "run")


def test_a_folder_with_a_run_is_not_overwritten(data, whole_run, tmp_path):
    with pytest.raises(ConfigError, match="--resume"):
        train(resumable(data), whole_run)
    save_resolved(resumable(data), tmp_path)
    with pytest.raises(ConfigError, match="holds no run"):
        saved_config(tmp_path / "nothing")


def test_a_video_that_cannot_be_decoded_stops_with_its_name(data, tmp_path):
    folder = tmp_path / "data"
    shutil.copytree(data, folder)
    for name in ("v00", "v01", "v02"):
        path = folder / "videos" / f"{name}.mp4"
        path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(OSError, match=r"v0[012]\.mp4"):
        train(tiny_config(folder), tmp_path / "run")


def test_an_encoder_that_does_not_learn_takes_the_frozen_runs_steps(data, tmp_path):
    """Windows, clips, shift, mixing, write-back and validation of both ways of training are the same."""
    frozen = {"memory": {"ratio": 0}}
    at_rest = {"memory": {"ratio": 0.5}, "augment": {"crop": False, "flip": 0.0, "photometric": 0.0}}
    logs = []
    for name, sections in (("frozen", frozen), ("memory", at_rest)):
        optim = {"encoder_lr_multiplier": 0.0, "clip_norm": 0.0, "lr": 1e-3}
        config = tiny_config(data, **sections, optim=optim, train={"epochs": 2, "validate_from": 2})
        train(config, tmp_path / name)
        logs.append((losses(tmp_path / name), read_log(tmp_path / name, "validation")))
    (one, valued), (two, also) = logs
    assert [loss for _, loss, _ in two] == pytest.approx([loss for _, loss, _ in one], rel=1e-4)
    assert also[-1]["mAP"] == pytest.approx(valued[-1]["mAP"], abs=1e-6)
