"""Costs of a project: what the probe says, and what surrounds a step, added up."""

import json

import numpy as np
import pytest
import torch

from pipelines.budget.estimate import DataSizes, Estimate, Times, _range, estimate, rough_time
from pipelines.budget.probe_process import Probe
from pipelines.budget.tries import time_decoding, time_encoding
from pipelines.config import parse_config
from tal.encoders import EncoderConfig
from tal.errors import ConfigError
from tal.grid import ClipGrid
from tests.pipelines.budget.test_plan import TINY
from tests.pipelines.report.report_data import make_video

CONFIG = parse_config(TINY | {"train": {"batch_size": 4, "accumulate": 2, "epochs": 30, "device": "cpu"}})
SIZES = DataSizes(np.array([20.0] * 10), num_train=8, num_classes=3)


@pytest.fixture
def pieces(monkeypatch):
    """Encoding a clip takes 1 to 2 s, decoding one 3 to 6 s, the one after it 0.5 s."""
    monkeypatch.setattr("pipelines.budget.estimate.time_encoding", lambda *_: (7, (2.0, 1.0)))
    decoding = ([[3.0, 6.0], [3.0, 6.0], [50.0]], [[0.5], [0.5], [0.5]])
    monkeypatch.setattr("pipelines.budget.estimate.time_decoding", lambda *_: decoding)


def test_parts_are_added_up(pieces):
    asked = []

    def measure(clips, micro_batch):
        asked.append((clips, micro_batch))
        return Probe(clips, micro_batch, 5e9, (9.0, 10.0, 8.0))

    cost = estimate(CONFIG, SIZES, "cpu", measure)
    assert asked == [(2, 2)]  # a quarter of 8 clips, two windows at once
    assert cost.num_rows == 10 * 100 and cost.store_bytes == 1000 * (7 * 2 + 32)
    assert cost.memory_bytes == 5_000_000_000 and cost.num_tries == 3
    # 25 clips a video; two micro-batches a step, 8 clips decoded somewhere in a video
    assert cost.best == Times(250 * 1.0, pytest.approx(50 * 1.5), 2 * 8.0, 8 * 3.0, steps=2)
    assert cost.slowest == Times(250 * 2.0, pytest.approx(50 * 2.5), 2 * 10.0, 8 * 6.0, steps=2)
    assert cost.total_s == pytest.approx(250 + 30 * 2 * 40 + 30 * 75)
    text = "\n".join(cost.lines())
    assert (
        "5.00 GB on cpu" in text
        and "a step 16.00 to 20.00 s and 24.00 s to decode for it" in text
        and "82 min to 2.3 h" in text
    )
    shown = json.loads(json.dumps(cost.to_json()))
    assert (
        shown["step_s"] == 16
        and shown["decode_s"] == 24
        and shown["epoch_s"] == 80
        and shown["total_s"] == cost.total_s
    )
    assert shown["slowest"]["step_s"] == 20 and shown["slowest"]["total_s"] > shown["total_s"]


def test_what_does_not_fit_has_no_time(pieces):
    cost = estimate(CONFIG, SIZES, "cpu", lambda clips, micro_batch: Probe(clips, micro_batch, None))
    assert cost.memory_bytes is None and cost.total_s is None and cost.best.extract_s == 250
    assert cost.epochs_within(1e9) == 0
    assert "more than this machine has" in cost.lines()[1]
    assert json.loads(json.dumps(cost.to_json()))["total_s"] is None


def test_epochs_within_counts_validations():
    times = Times(extract_s=100, validation_s=30, step_s=0.75, decode_s=0.25, steps=10)
    cost = Estimate("cpu", 1, 1, 1, times, times, 3, False, epochs=20, validate_every=5)
    assert cost.total_s == 100 + 200 + 4 * 30
    assert cost.epochs_within(1000) == 20
    assert cost.epochs_within(100 + 50 + 30) == 5
    assert cost.epochs_within(100 + 60 + 2 * 30 - 1) == 5  # the last epoch is validated whenever it ends
    assert cost.epochs_within(100 + 60 + 2 * 30) == 6
    assert cost.epochs_within(100) == 0


def test_one_try_has_no_range_and_a_busy_machine_is_said():
    times = Times(100, 30, 1.0, 0.0, steps=10)
    text = "\n".join(Estimate("cpu", 1, 1, 1, times, times, 1, True, 20, 5).lines())
    assert "a step 1.00 s (one try)" in text and "busy" in text
    assert "extraction 100 s, a validation 30 s" in text


def test_ranges_in_words():
    assert _range(180, 240) == "3 to 4 min"
    assert _range(100, 240) == "100 s to 4 min"
    assert _range(30, 30.1) == "30 s"


def test_a_device_that_is_not_there():
    for name in ("tpu", "cuda:1"):
        with pytest.raises(ConfigError, match=f"--device {name}: torch finds cpu"):
            estimate(CONFIG, SIZES, name)


def test_pieces_are_timed(tmp_path):
    settings = EncoderConfig(name="timm:test_efficientnet", clip_frames=4, size=32, crop=32)
    channels, tries = time_encoding(settings, torch.device("cpu"))
    assert channels == 256 and len(tries) >= 1 and min(tries) > 0
    (tmp_path / "broken.mp4").write_bytes(b"no video" * 99)
    videos = [make_video(tmp_path / "v.mp4", duration_s=3), tmp_path / "broken.mp4"]
    middle, following = time_decoding(videos, 5.0, ClipGrid(4, 1), 32, "auto")
    assert [len(tries) for tries in middle] == [len(tries) for tries in following] == [3]
    assert min(middle[0] + following[0]) > 0


@pytest.mark.parametrize(
    ("seconds", "text"), [(42, "42 s"), (720, "12 min"), (3.5 * 3600, "3.5 h"), (2.1 * 86400, "2.1 days")]
)
def test_rough_times(seconds, text):
    assert rough_time(seconds) == text
