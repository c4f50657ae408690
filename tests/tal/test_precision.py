"""Precision: what each name means, that stores and models say theirs, and that two never mix unnoticed."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from click.testing import CliRunner

from cli import cli
from featstore import FeatureSpec, FeatureStore, StoreSpecError
from pipelines.config import save_resolved
from pipelines.extract import ExtractOptions, extract
from pipelines.predict.run import load_detector, predict
from pipelines.shared.files import OutputExistsError
from pipelines.shared.run_folder import validation_predictions
from pipelines.train import train
from tal import Detector
from tal.annotations import read_predictions
from tal.device import set_float32
from tal.encoders import EncoderConfig, build_encoder, feature_spec
from tal.encoders.streaming import infer_clips
from tests.pipelines.tiny_run import ENCODER, assert_same_detections, make_data, make_store, tiny_config

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    make_data(folder, train=4, validation=2)
    make_store(folder)
    return folder


@pytest.fixture(autouse=True)
def another_run():
    """accelerate keeps the precision of a process's first run."""
    AcceleratorState._reset_state()
    yield
    AcceleratorState._reset_state()


@pytest.fixture
def flags():
    """torch's flags as they were."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@pytest.mark.usefixtures("flags")
@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16", "fp16"])
def test_float32_is_one_thing_in_convolutions_and_products(precision):
    torch.backends.cudnn.allow_tf32 = True  # torch's default, with False for products
    set_float32(precision)
    assert torch.backends.cudnn.allow_tf32 is torch.backends.cuda.matmul.allow_tf32 is (precision == "tf32")


@pytest.mark.usefixtures("flags", "one_thread")
def test_rows_are_computed_in_the_precision_asked_for():
    encoder = build_encoder(EncoderConfig(**ENCODER)).eval()
    frames = torch.randint(0, 256, (2, *encoder.clip_shape.shape), dtype=torch.uint8)
    torch.backends.cudnn.allow_tf32 = True
    exact = infer_clips(encoder, frames, CPU)
    assert torch.backends.cudnn.allow_tf32 is False
    assert torch.equal(infer_clips(encoder, frames, CPU, "tf32"), exact)  # a CPU has none
    rounded = infer_clips(encoder, frames, CPU, "bf16")
    assert rounded.dtype == torch.float32 and not torch.equal(rounded, exact)
    torch.testing.assert_close(rounded, exact, rtol=0.1, atol=0.1)


def invoke(*arguments):
    done = CliRunner().invoke(cli, [str(word) for word in arguments])
    assert done.exit_code == 0, done.output


def _spec(**extra):
    return FeatureSpec("net", "sha", 4, 4, 2, fps=5.0, size=40, crop=32, reader="pyav", extra=extra)


def test_rows_of_another_precision_are_others():
    fast, exact, unknown = _spec(precision="bf16"), _spec(precision="fp32"), _spec()
    assert fast.differences(exact) == {"precision": ("bf16", "fp32")}
    with pytest.raises(StoreSpecError, match="precision: 'bf16' in the store, 'fp32' needed"):
        fast.require(exact, "the model", then="extract again")
    (remark,) = fast.require(exact, "the model", then="extract again", ignore=("precision",))
    assert "'bf16' here, 'fp32' there" in remark
    # other facts are compared as before
    with pytest.raises(StoreSpecError, match="extra"):
        _spec(precision="fp32", temporal_shift=True).require(exact, "the model", then="extract again")
    # rows of 0.1 do not say theirs: that is said, and nothing is refused
    for one, other in ((unknown, fast), (fast, unknown)):
        for fields in (other, other.to_dict()):
            (remark,) = one.require(fields, "the model", then="extract again")
            assert "unknown" in remark and "'bf16'" in remark
    assert unknown.require(unknown, "the model", then="") == exact.require(exact, "the model", then="") == ()
    assert exact.require({"channels": 4}, "the model", then="") == ()


def _extraction(data, store, precision=None):
    return extract(
        tiny_config(data, data={"store": str(store)}),
        ExtractOptions(device="cpu", workers=0, precision=precision),
    )


def test_an_extraction_goes_on_in_its_own_precision_only(data, tmp_path, said):
    store = tmp_path / "s.zarr"
    _extraction(data, store, precision="bf16")
    with FeatureStore.open(store) as opened:
        assert opened.spec.extra["precision"] == "bf16"
    with pytest.raises(StoreSpecError, match="precision: 'bf16' in the store, 'fp32' needed"):
        _extraction(data, store)
    assert _extraction(data, store, precision="bf16").kept
    run = tiny_config(data, data={"store": str(store)}, train={"precision": "bf16"})
    assert extract(run, ExtractOptions(device="cpu", workers=0)).kept  # the run's own
    assert not any("precision" in line for line in said)


def test_a_store_that_does_not_say_its_precision_is_gone_on_with(data, tmp_path, said):
    store = tmp_path / "old.zarr"
    spec = feature_spec(build_encoder(EncoderConfig(**ENCODER)), 8.0)
    FeatureStore.create(store, replace(spec, extra={})).close()
    assert len(_extraction(data, store).done) == 6
    assert any("precision" in line and "unknown here, 'fp32' there" in line for line in said)


def test_a_run_in_another_precision_than_its_store_says_so(data, tmp_path, said):
    """And what it validates, with the encoder in that precision, is what its model folder finds."""
    config = tiny_config(data, train={"epochs": 1, "precision": "bf16"})
    result = train(config, tmp_path / "run")
    assert any("'fp32' here, 'bf16' there" in line for line in said)
    validated = read_predictions(validation_predictions(tmp_path / "run", result.step))
    detector = Detector.load(tmp_path / "run", device="cpu")
    exact = Detector.load(tmp_path / "run", device="cpu", precision="fp32")
    assert (detector.precision, exact.precision) == ("bf16", "fp32")
    for name in ("v04", "v05"):
        video = data / "videos" / f"{name}.mp4"
        found = detector.predict(video)
        assert_same_detections(validated[validated["video_id"] == name], found)
        assert not np.array_equal(found["score"], exact.predict(video)["score"])


def test_predictions_of_two_precisions_do_not_mix(data, tmp_path):
    train(tiny_config(data, train={"epochs": 1}), tmp_path / "run")
    video, out = {"v04": data / "videos" / "v04.mp4"}, tmp_path / "out"
    predict(load_detector(tmp_path / "run"), video, out)
    other = load_detector(tmp_path / "run", precision="bf16")
    with pytest.raises(OutputExistsError, match="another model or precision"):
        predict(other, video, out)
    run = ["--model", tmp_path / "run", "--precision", "bf16"]
    invoke("predict", video["v04"], *run, "--out", tmp_path / "cli")
    a = read_predictions(tmp_path / "cli" / "predictions.json")
    predict(other, video, tmp_path / "py")
    assert np.array_equal(a["score"], read_predictions(tmp_path / "py" / "predictions.json")["score"])


def test_extract_takes_the_precision_of_the_run(data, tmp_path):
    config = save_resolved(tiny_config(data, train={"precision": "bf16"}), tmp_path, "run.yaml")
    for more, precision in ((), "bf16"), (("--precision", "tf32"), "tf32"):
        store = tmp_path / f"{precision}.zarr"
        where = ["--store", store, "--workers", 0, "--device", "cpu"]
        invoke("extract", "--config", config, *where, *more)
        with FeatureStore.open(store) as opened:
            assert opened.spec.extra["precision"] == precision
