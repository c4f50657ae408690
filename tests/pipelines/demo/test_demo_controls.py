"""Slow: the demo learns what it should. Minutes each."""

import pytest

from pipelines.demo.options import DemoOptions
from pipelines.demo.run import run_demo
from pipelines.demo.synth import shuffle_frames
from pipelines.demo.synth.actions import LABELS
from pipelines.predict.run import predict
from tal import Detector
from tal.annotations import read_annotations
from tal.metrics import evaluate

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo") / "demo"
    return out, run_demo(out)


def test_actions_of_people_never_seen_are_found(made):
    assert made[1]["mAP@0.5"] >= 0.80
    assert made[1]["average_mAP"] >= made[1]["frozen"]["average_mAP"] + 0.05


def test_shuffled_labels_leave_chance(tmp_path):
    summary = run_demo(tmp_path / "demo", DemoOptions(shuffled_labels=True))
    assert summary["mAP@0.5"] < 1.3 / len(LABELS), "a right segment with a class by chance"


def test_without_order_in_time_little_is_found(made, tmp_path):
    out, summary = made
    truth = read_annotations(out / "annotations.json").subset("test")
    videos = {}
    for name in truth.videos:
        videos[name] = tmp_path / f"{name}.mp4"
        shuffle_frames(out / "data" / "videos" / f"{name}.mp4", videos[name], seed=0)
    report = predict(Detector.load(out / "run"), videos, tmp_path / "found")
    assert evaluate(truth, report.all, [0.5]).average_mAP < 0.3 * summary["mAP@0.5"]
