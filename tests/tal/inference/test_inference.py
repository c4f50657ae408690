"""Whole videos through windows: covered, bounded, placed in time, equal to one pass where that fits."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tal.annotations import PREDICTION_COLUMNS
from tal.decoders.base import Candidates
from tal.errors import ConfigError
from tal.grid import FeatureGrid
from tal.inference.localize import InferenceConfig, localize, window_starts
from tal.inference.video_scores import VideoScores
from tal.inference.videos import VideoDetector, VideoRows
from tal.localizer import Localizer, LocalizerConfig
from tal.suppression import SuppressionConfig

GRID = FeatureGrid(fps=8.0, stride_frames=4, window_frames=4)
RAW = SuppressionConfig(method="none", max_segments=0, min_score=0.0)


@given(st.integers(1, 500), st.integers(1, 90), st.floats(0, 0.9), st.sampled_from([1, 2, 4]))
@settings(max_examples=200, deadline=None)
def test_windows_cover_every_row_and_start_on_the_decoder_grid(rows, window, overlap, multiple):
    window = -(-window // multiple) * multiple
    starts = window_starts(rows, window, overlap, multiple)
    covered = np.zeros(rows, bool)
    for start in starts:
        assert start % multiple == 0 and 0 <= start < rows
        covered[start : start + window] = True
    assert covered.all() and starts == sorted(set(starts))


class Spikes(torch.nn.Module):
    """A localizer's face: a unit segment around each position whose first channel is 1."""

    in_channels, downsample = 2, 1

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.largest = 0

    def forward(self, features, mask):
        self.largest = max(self.largest, features.numel())
        return features, mask

    def candidates(self, outputs):
        features, mask = outputs
        found = []
        for sample, seen in zip(features, mask[:, 0], strict=True):
            at = torch.nonzero((sample[0] == 1) & seen).squeeze(1).float()
            found.append(
                Candidates(torch.stack([at - 0.5, at + 0.5], 1), 0.5 + at * 0, torch.zeros(len(at)).long())
            )
        return found


def test_positions_become_seconds_and_segments_stay_in_the_video():
    rows = np.zeros((50, 2), np.float32)
    rows[[0, 7, 49], 0] = 1
    found = localize(
        Spikes(), rows, GRID, InferenceConfig(window_rows=16, overlap=0.0, suppression=RAW), 24.9
    )
    # row g covers [g / 2, (g + 1) / 2) s
    spans = sorted(
        {(round(a, 6), round(b, 6)) for a, b in zip(found["start_s"], found["end_s"], strict=True)}
    )
    assert spans == [(0.0, 0.5), (3.5, 4.0), (24.5, 24.9)]
    assert list(found.columns) == ["start_s", "end_s", "label_index", "score"]


def test_an_offset_moves_segments_by_rows_and_not_what_a_row_is():
    rows = np.zeros((50, 2), np.float32)
    rows[[7, 49], 0] = 1
    moved = localize(Spikes(), rows, GRID, InferenceConfig(row_offset=1.5, suppression=RAW), 25.0)
    # a row is half a second: row 7 at [3.5, 4), the last beyond the end
    assert moved[["start_s", "end_s"]].to_numpy().tolist() == [[4.25, 4.75]]


def test_row_scores_are_mixed_in_and_the_order_follows():
    torch.manual_seed(0)
    config = LocalizerConfig(row_loss=1.0, decoder={"name": "actionformer", "embed_dim": 8, "head_dim": 8})
    model = Localizer(config, in_channels=4, num_classes=3)
    torch.nn.init.normal_(model.row_classifier.linear.weight, std=2.0)
    rows = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
    options = {"window_rows": 64, "min_score": 0.0, "suppression": RAW}
    plain = localize(model, rows, GRID, InferenceConfig(**options), 32.0)
    mixed = localize(model, rows, GRID, InferenceConfig(row_weight=0.25, **options), 32.0)
    assert len(plain) == len(mixed) > 20 and mixed["score"].is_monotonic_decreasing
    logits = model.row_classifier.linear(torch.from_numpy(rows).t()[None])[0].detach()
    at = GRID.to_seconds(np.arange(64.0))
    expected = []
    for start, end, label, score in plain.itertuples(index=False):
        inside = (at >= start) & (at <= end)
        if inside.any():
            row = float(torch.sigmoid(logits[label, torch.from_numpy(inside)]).mean())
            expected.append((round(start, 4), round(end, 4), label, score**0.75 * row**0.25))
    found = {(round(s, 4), round(e, 4), c): v for s, e, c, v in mixed.itertuples(index=False)}
    assert len(expected) > 20
    for start, end, label, score in expected:
        assert found[start, end, label] == pytest.approx(score, rel=1e-4)


def test_row_scores_need_a_row_classifier():
    model = Localizer(LocalizerConfig(), in_channels=4, num_classes=3)
    with pytest.raises(ConfigError, match=r"localizer\.row_loss"):
        localize(model, np.zeros((8, 4), np.float32), GRID, InferenceConfig(row_weight=0.5), 4.0)


def test_rows_marked_invalid_are_not_seen_and_memory_is_bounded():
    rows = np.ones((5000, 2), np.float32)
    valid = np.zeros(5000, bool)
    valid[100:110] = True
    model = Spikes()
    config = InferenceConfig(window_rows=64, overlap=0.25, batch_windows=3, suppression=RAW)
    found = localize(model, rows, GRID, config, 2500.0, valid=valid)
    assert found["start_s"].min() == 50.0 and found["end_s"].max() == 55.0
    assert model.largest == 3 * 2 * 64


@pytest.mark.parametrize("downsample", [1, 2])
def test_windows_of_a_local_model_find_what_one_pass_finds(downsample):
    """With overlaps wider than the model sees, the middle of each window is that of the whole."""
    torch.manual_seed(0)
    decoder = {"name": "temporalmaxer", "embed_dim": 16, "head_dim": 16, "levels": 2, "min_score": 0.0}
    model = Localizer(LocalizerConfig(decoder=decoder, downsample=downsample, width=16), 6, 3, 256).eval()
    rows = torch.randn(256, 6).numpy()

    def best(window_rows):
        config = InferenceConfig(
            window_rows=window_rows, overlap=0.75, min_score=0.0, max_candidates=10**6, suppression=RAW
        )
        found = localize(model, rows, GRID, config, 128.0)
        inner = found[(found["start_s"] > 40) & (found["end_s"] < 88)]
        keys = ["start_s", "end_s", "label_index", "score"]
        return set(map(tuple, inner[keys].round(3).drop_duplicates().to_numpy().tolist()))

    whole, windows = best(0), best(128)
    assert whole <= windows and len(whole) > 100


def test_detections_have_names_and_a_long_video_may_have_more():
    rows = np.zeros((400, 2), np.float32)
    rows[::2, 0] = 1
    config = InferenceConfig(suppression=SuppressionConfig(method="none", max_segments=5))
    long, short = VideoRows("v", rows, GRID, 200.0), VideoRows("v", rows[:20], GRID, 10.0)
    detector = VideoDetector(Spikes(), config, ["jump", "wave"])
    found = detector.detect(long)
    assert len(found) == 67  # 200 s at 20 a minute
    assert tuple(found.columns) == PREDICTION_COLUMNS
    assert set(found["video_id"]) == {"v"} and set(found["label"]) == {"jump"}
    assert len(detector.detect(short)) == 5
    seen = np.arange(400) < 10
    assert detector.detect(replace(long, valid=seen))["end_s"].max() == 4.5
    scores = VideoScores({"v": np.array([0.2, 0.8])})
    named = replace(detector, video_scores=scores).detect(short)
    assert named["label"].tolist() == ["wave"] * 5 + ["jump"] * 5
    assert named["score"].tolist() == pytest.approx([0.4] * 5 + [0.1] * 5)


def test_the_training_window_stands_in_where_none_is_given():
    assert InferenceConfig().with_window(96).window_rows == 96
    assert InferenceConfig(window_rows=32).with_window(96).window_rows == 32


def test_an_empty_result_has_the_columns():
    found = localize(Spikes(), np.zeros((4, 2), np.float32), GRID, InferenceConfig(), 2.0)
    assert len(found) == 0 and list(found.columns) == ["start_s", "end_s", "label_index", "score"]
