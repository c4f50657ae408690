"""predict: files named by users, resume, failures, thresholds, nothing overwritten, overlay."""

import json
import os
import shutil
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from featstore import FeatureStore
from pipelines.commands.predict import command
from pipelines.data.videos import find_videos
from pipelines.demo.synth import SynthConfig, synthesize
from pipelines.predict.overlay import write_overlay
from pipelines.predict.run import predict
from pipelines.shared.files import OutputExistsError
from tal import Detector
from tal.annotations import prediction_frame, read_predictions
from tal.encoders import encode_video, feature_spec
from tal.errors import AnnotationError, OutputError, VideoError
from tal.video.writer import VideoWriter, exact_rate


def _tiny_model(folder, seed=0):
    """A model folder with random weights, written as the trainer does."""
    import torch
    import yaml
    from safetensors.torch import save_file

    from tal.encoders import EncoderConfig, build_encoder
    from tal.localizer import Localizer, LocalizerConfig

    encoder_tree = {"name": "timm:test_efficientnet", "clip_frames": 4, "size": 32, "crop": 32}
    decoder_tree = {"name": "temporalmaxer", "embed_dim": 16, "head_dim": 16, "levels": 2, "min_score": 0.0}
    encoder = build_encoder(EncoderConfig(**encoder_tree), seed=seed)
    torch.manual_seed(seed)
    localizer = Localizer(LocalizerConfig.model_validate({"decoder": decoder_tree}), encoder.channels, 2, 16)
    weights = {f"encoder.{k}": v for k, v in encoder.state_dict().items()}
    weights |= {f"localizer.{k}": v for k, v in localizer.state_dict().items()}
    folder.mkdir(parents=True)
    save_file({k: v.contiguous() for k, v in weights.items()}, folder / "model.safetensors")
    tree = {
        "data": {"fps": 5.0},
        "encoder": encoder_tree,
        "window": {"num_rows": 16},
        "localizer": {"decoder": decoder_tree},
        "inference": {"min_score": 0.0},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(tree))
    for name, value in (("labels", ["jump", "wave"]), ("thresholds", {"jump": 0.005, "wave": 2.0})):
        (folder / f"{name}.json").write_text(json.dumps(value))
    spec = feature_spec(encoder, 5.0).to_dict()
    (folder / "provenance.json").write_text(json.dumps({"features": spec}))
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return _tiny_model(tmp_path_factory.mktemp("model") / "model")


@pytest.fixture(scope="module")
def detector(model):
    return Detector.load(model)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    out = tmp_path_factory.mktemp("videos") / "set"
    synthesize(out, SynthConfig(videos=3, seconds=8.0, size=32, fps=10.0), processes=1)
    return out / "videos"


@pytest.fixture
def videos(source, tmp_path):
    folder = tmp_path / "videos"
    shutil.copytree(source, folder)
    return folder


def invoke(*args):
    return CliRunner().invoke(command, [str(a) for a in args])


# -- which files --


def test_files_folders_and_patterns_name_videos(videos):
    (videos / "notes.txt").write_text("no video")
    (videos / "deep").mkdir()
    shutil.copy(videos / "video_0000.mp4", videos / "deep" / "other.MKV")
    names = {"video_0000", "video_0001", "video_0002"}
    assert set(find_videos([videos])) == names | {"deep/other"}
    assert set(find_videos([str(videos / "*.mp4")])) == names
    assert next(iter(find_videos([videos / "video_0002.mp4", str(videos / "*.mp4")]))) == "video_0002"


def test_files_of_one_name_get_their_folder_before_it(videos, tmp_path):
    (tmp_path / "b").mkdir()
    shutil.copy(videos / "video_0000.mp4", tmp_path / "b" / "video_0000.mp4")
    found = find_videos([videos, tmp_path / "b"])
    assert {"videos/video_0000", "b/video_0000", "video_0001"} <= set(found)
    assert len(found) == 4
    shutil.copy(videos / "video_0000.mp4", tmp_path / "b" / "video_0000.avi")
    assert set(find_videos([tmp_path / "b"])) == {"video_0000.mp4", "video_0000.avi"}


def test_a_name_that_is_no_utf8_gets_an_id_that_is(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/bad\xff.mp4"))
    try:
        path.write_bytes(b"")
    except OSError:
        pytest.skip("this file system wants UTF-8")
    assert find_videos([tmp_path]) == {"bad\ufffd": path}


def test_wrong_paths_say_what_is_wrong(tmp_path):
    (tmp_path / "empty").mkdir()
    for path, words in (
        (tmp_path / "nothing.mp4", "no such file"),
        (tmp_path / "empty", "no video in this folder"),
        (tmp_path / "*.mp4", "no video matches"),
    ):
        with pytest.raises(VideoError, match=words):
            find_videos([str(path)])


# -- results --


def test_results_equal_the_detector_and_cover_every_video(detector, videos, tmp_path):
    report = predict(detector, find_videos([videos]), tmp_path / "out", ["json", "csv", "srt"])
    saved = read_predictions(tmp_path / "out" / "predictions.json")
    assert saved.attrs["videos"] == ["video_0000", "video_0001", "video_0002"]
    for name in saved.attrs["videos"]:
        mine = saved[saved["video_id"] == name].sort_values(["start_s", "end_s", "label", "score"])
        direct = detector.predict(videos / f"{name}.mp4").sort_values(["start_s", "end_s", "label", "score"])
        assert np.allclose(mine[["start_s", "end_s", "score"]], direct[["start_s", "end_s", "score"]])
    confident = read_predictions(tmp_path / "out" / "predictions.csv")
    assert 0 < len(confident) < len(saved)
    assert set(confident["label"]) == {"jump"}  # no score reaches the threshold of "wave"
    assert confident["score"].min() >= 0.005
    assert (tmp_path / "out" / "video_0001.srt").exists()
    assert report.failed == {}


def test_a_given_threshold_cuts_everything(detector, videos, tmp_path):
    one = find_videos([videos / "video_0000.mp4"])
    cut = float(detector.predict(videos / "video_0000.mp4")["score"].median())
    predict(detector, one, tmp_path / "out", ["json", "csv"], threshold=cut)
    both = [read_predictions(tmp_path / "out" / f"predictions.{s}") for s in ("json", "csv")]
    assert len(both[0]) == len(both[1]) > 0
    assert both[0]["score"].min() >= cut


def test_finished_videos_are_reused_and_stay_in_the_results(detector, videos, tmp_path, monkeypatch):
    out = tmp_path / "out"
    predict(detector, find_videos([videos / "video_0000.mp4"]), out)
    seen = []
    original = Detector.predict_videos

    def looking(self, videos, *rest):
        seen.extend(videos)
        return original(self, videos, *rest)

    monkeypatch.setattr(Detector, "predict_videos", looking)
    report = predict(detector, find_videos([videos / "video_0000.mp4", videos / "video_0001.mp4"]), out)
    assert seen == ["video_0001"]
    assert report.reused == ["video_0000"]
    report = predict(detector, find_videos([videos / "video_0002.mp4"]), out)
    names = ["video_0000", "video_0001", "video_0002"]
    assert sorted(read_predictions(out / "predictions.json").attrs["videos"]) == names
    # a file that changed is looked at again
    shutil.copy(videos / "video_0001.mp4", videos / "video_0000.mp4")
    seen.clear()
    predict(detector, find_videos([videos / "video_0000.mp4"]), out)
    assert seen == ["video_0000"]


def test_an_interruption_keeps_finished_videos(detector, videos, tmp_path, monkeypatch):
    original = Detector._rows_of

    def interrupted(self, video):
        if video.key == "video_0001":
            raise KeyboardInterrupt
        return original(self, video)

    monkeypatch.setattr(Detector, "_rows_of", interrupted)
    with pytest.raises(KeyboardInterrupt):
        predict(detector, find_videos([videos]), tmp_path / "out")
    monkeypatch.setattr(Detector, "_rows_of", original)
    report = predict(detector, find_videos([videos]), tmp_path / "out")
    assert report.reused == ["video_0000"]
    assert report.done == ["video_0001", "video_0002"]


def test_failures_are_reported_and_the_rest_goes_on(model, videos, tmp_path):
    (videos / "broken.mp4").write_bytes(b"\0" * 100)
    result = invoke(videos, "--model", model, "--out", tmp_path / "out")
    assert result.exit_code == 1, result.output
    assert "failed: broken:" in result.output
    assert len(read_predictions(tmp_path / "out" / "predictions.json").attrs["videos"]) == 3


def test_another_model_and_changed_files_are_refused(detector, videos, tmp_path):
    out, one = tmp_path / "out", find_videos([videos / "video_0000.mp4"])
    predict(detector, one, out, ["json", "srt"])
    other = Detector.load(_tiny_model(tmp_path / "other", seed=1))
    with pytest.raises(OutputExistsError, match="another model"):
        predict(other, one, out)
    (out / "video_0000.srt").write_text("edited by hand")
    with pytest.raises(OutputExistsError, match=r"video_0000\.srt was changed"):
        predict(detector, one, out, ["srt"])
    assert (out / "video_0000.srt").read_text() == "edited by hand"
    predict(other, one, out, overwrite=True)
    assert read_predictions(out / "predictions.json").attrs["videos"] == ["video_0000"]


def test_foreign_results_and_unknown_formats_are_refused(detector, videos, tmp_path):
    one = find_videos([videos / "video_0000.mp4"])
    (tmp_path / "predictions.json").write_text("mine")
    with pytest.raises(OutputExistsError, match="exists already"):
        predict(detector, one, tmp_path)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "video_0000.srt").write_text("mine")
    with pytest.raises(OutputExistsError, match="exists already"):
        predict(detector, one, tmp_path / "b", ["srt"])
    assert (tmp_path / "b" / "video_0000.srt").read_text() == "mine"
    with pytest.raises(AnnotationError, match="unknown format 'docx'"):
        predict(detector, one, tmp_path / "c", ["docx"])
    assert not (tmp_path / "c").exists()


def test_an_output_that_cannot_be_is_refused_before_the_work(detector, videos, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    monkeypatch.setattr(type(detector), "predict", None)
    for out in ("file", "file/inside/found"):
        with pytest.raises(OutputError, match="is a file"):
            predict(detector, find_videos([videos]), tmp_path / out)


def test_from_store_needs_no_video(detector, model, videos, tmp_path):
    store = tmp_path / "s.zarr"
    with FeatureStore.create(store, feature_spec(detector.encoder, 5.0)) as made:
        rows = np.concatenate(
            [r for _, r, _ in encode_video(detector.encoder, videos / "video_0000.mp4", 5.0)]
        )
        made.add_video(
            "video_0000", num_rows=len(rows), fps=5.0, duration_s=len(rows) / 5, num_frames=len(rows)
        )
        made.write("video_0000", 0, rows, step=0)
        made.complete("video_0000")
        made.commit()
    result = invoke("--from-store", store, "--model", model, "--out", tmp_path / "out", "--json")
    assert result.exit_code == 0, result.output
    assert list(json.loads(result.stdout)["videos"]) == ["video_0000"]
    direct = detector.predict(videos / "video_0000.mp4")
    saved = read_predictions(tmp_path / "out" / "predictions.json")
    assert len(saved) == len(direct)
    result = invoke("nobody", "--from-store", store, "--model", model, "--out", tmp_path / "out")
    assert "no complete video 'nobody'" in str(result.exception)


# -- command and overlay --


def test_command_prints_a_table_json_and_usage(model, videos, tmp_path):
    args = [videos / "video_0000.mp4", "--model", model, "--out", tmp_path / "out", "--format", "json,vtt"]
    result = invoke(*args)
    assert result.exit_code == 0, result.output
    assert "detections above the model's thresholds in 1 videos" in result.output
    assert "jump" in result.output
    result = invoke(*args, "--json")
    report = json.loads(result.stdout)
    assert report["reused"] == ["video_0000"]
    assert {"start_s", "end_s", "label", "score"} == set(report["videos"]["video_0000"][0])
    assert invoke("--model", model, "--out", tmp_path / "o").exit_code == 2
    result = invoke(videos, "--model", model, "--out", tmp_path / "o", "--overlay", tmp_path / "o.mp4")
    assert result.exit_code == 2
    assert "not with 3" in result.output


def test_overlay_keeps_time_and_shows_names_while_they_last(videos, tmp_path):
    found = prediction_frame(["v"] * 2, [1.0, 2.0], [3.0, 4.0], ["wave", "jump"], [0.9, 0.8])
    out = write_overlay(videos / "video_0000.mp4", found, tmp_path / "o.mp4")
    with av.open(str(videos / "video_0000.mp4")) as plain, av.open(str(out)) as drawn:
        rate = drawn.streams.video[0].average_rate
        before = [f.to_ndarray(format="rgb24") for f in plain.decode(video=0)]
        after = [f.to_ndarray(format="rgb24") for f in drawn.decode(video=0)]
    assert rate == 10
    assert len(after) == len(before)
    assert after[0].shape[1] >= 480
    assert after[0].shape[0] > after[0].shape[1]  # the strip below a square picture
    white = [(picture[8:30, 8:140].min(axis=-1) > 180).sum() for picture in after]
    assert white[20] > 50 > white[0] + 20  # a name stands there at 2 s, none at 0 s
    with pytest.raises(OutputExistsError):
        write_overlay(videos / "video_0000.mp4", found, out)


def test_overlay_command_and_empty_detections(model, videos, tmp_path):
    target = tmp_path / "o.mp4"
    args = [videos / "video_0001.mp4", "--model", model, "--out", tmp_path / "out", "--overlay", target]
    result = invoke(*args, "--threshold", "1")
    assert result.exit_code == 0, result.output
    assert "0 detections above score 1" in result.output
    assert target.stat().st_size > 1000


def _write_and_stop(path):
    with VideoWriter(path, 5.0) as writer:
        writer.add(np.zeros((32, 32, 3), np.uint8))
        raise ZeroDivisionError


def test_writer_rates_and_half_written_files(tmp_path):
    assert str(exact_rate(29.97002997)) == "30000/1001"
    assert str(exact_rate(25)) == "25"
    assert float(exact_rate(12.345)) == pytest.approx(12.345, abs=1e-3)
    with pytest.raises(ZeroDivisionError):
        _write_and_stop(tmp_path / "v.mp4")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(VideoError, match="cannot be written"):
        _write_and_stop(tmp_path / "file" / "v.mp4")


def test_frames_are_typed_alike_when_there_is_nothing(detector, videos, tmp_path):
    (videos / "x.mp4").write_bytes(b"nothing")
    report = predict(detector, {"x": videos / "x.mp4"}, tmp_path / "out")
    assert list(report.failed) == ["x"]
    assert isinstance(report.confident, pd.DataFrame) and len(report.confident) == 0
