"""Naming segments by video-level scores from a file."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from tal.decoders.base import Targets
from tal.errors import AnnotationError, ConfigError
from tal.inference.localize import InferenceConfig
from tal.inference.video_scores import VideoScores
from tal.localizer import Localizer, LocalizerConfig

LABELS = ["jump", "run", "swim"]
FOUND = pd.DataFrame({"start_s": [0.0, 5.0], "end_s": [2.0, 9.0], "label_index": [0, 0], "score": [0.8, 0.5]})


def write(tmp_path, tree):
    path = tmp_path / "scores.json"
    path.write_text(json.dumps(tree))
    return path


@pytest.mark.parametrize(
    "tree",
    [
        {"results": {"a": {"run": 0.9, "jump": 0.5, "unknown": 0.7}}},
        {"a": {"run": 0.9, "jump": 0.5}},
        {"class": ["run", "swim", "jump"], "results": {"a": [0.9, 0.0, 0.5]}},
    ],
)
def test_product_by_hand(tmp_path, tree):
    scores = VideoScores.read(write(tmp_path, tree), LABELS)
    named = scores.name(FOUND, "v_a", top=2, rule="product")
    assert named["score"].tolist() == [0.9 * 0.8, 0.9 * 0.5, 0.5 * 0.8, 0.5 * 0.5]
    assert named["label_index"].tolist() == [1, 1, 0, 0]
    assert named["start_s"].tolist() == [0.0, 5.0, 0.0, 5.0]
    assert named["end_s"].tolist() == [2.0, 9.0, 2.0, 9.0]


def test_square_root_and_more_classes_than_there_are():
    scores = VideoScores({"a": np.array([0.25, 0.0, 0.0])})
    named = scores.name(FOUND, "a", top=9, rule="sqrt")
    assert len(named) == 6
    assert named["score"].iloc[0] == pytest.approx(np.sqrt(0.8 * 0.25))
    assert scores.name(FOUND[:0], "a", top=2, rule="sqrt").empty


@pytest.mark.parametrize(
    ("tree", "word"),
    [
        ([1], "object"),
        ({"results": [1]}, "results"),
        ({"a": [0.1]}, "class"),
        ({"a": {"fly": 0.5}}, "none of the labels"),
        ({"a": {"run": 1.5}}, "from 0 to 1"),
        ({"a": {"run": "much"}}, "from 0 to 1"),
    ],
)
def test_wrong_files_are_named(tmp_path, tree, word):
    with pytest.raises(AnnotationError, match=word):
        VideoScores.read(write(tmp_path, tree), LABELS)


def test_missing_file_and_video(tmp_path):
    with pytest.raises(AnnotationError, match="nothing"):
        VideoScores.read(tmp_path / "nothing.json", LABELS)
    with pytest.raises(AnnotationError, match="'b'"):
        VideoScores({"a": np.zeros(3)}).name(FOUND, "b", 1, "product")


def test_scores_of_other_spellings_are_found_unless_they_could_be_several_videos_scores():
    scores = VideoScores({k: np.full(3, v) for k, v in (("a", 0.1), ("b", 0.2), ("P/c", 0.3), ("Q/c", 0.4))})
    paired, notes = scores.for_videos(["v_a", "P/b", "Q/b", "c"])
    assert paired.scores.keys() == {"v_a"}
    assert "1 video id matched with 'v_' taken off" in notes[0]
    assert "'P/b' could be 'b', and so could 'Q/b'" in notes[1] and "'c' could be 'P/c', 'Q/c'" in notes[1]
    assert paired.name(FOUND, "v_a", 1, "product")["score"].max() == pytest.approx(0.08)
    for video_id in ("P/b", "c"):
        with pytest.raises(AnnotationError, match=video_id):
            paired.name(FOUND, video_id, 1, "product")
    with pytest.raises(AnnotationError, match="the id could be 'P/c', 'Q/c'"):
        scores.name(FOUND, "c", 1, "product")


def test_one_class_localizer_needs_scores_for_several_labels():
    inference = InferenceConfig()
    assert inference.read_video_scores(["action"], one_class=True) is None
    with pytest.raises(ConfigError, match=r"inference\.video_scores"):
        inference.read_video_scores(LABELS, one_class=True)


@pytest.mark.parametrize("name", ["daotad", "afsd", "actionformer"])
def test_one_class_localizer_learns_any_label_as_its_only_one(name):
    torch.manual_seed(0)
    decoder = {"name": name} | ({"labels": "segment"} if name == "afsd" else {})
    localizer = Localizer(
        LocalizerConfig.model_validate({"decoder": decoder, "one_class": True}), 16, 3
    ).eval()
    assert localizer.decoder.num_classes == 1
    features, mask = torch.randn(1, 16, 32), torch.ones(1, 1, 32, dtype=torch.bool)
    outputs = localizer(features, mask)
    segments = torch.tensor([[3.0, 9.0], [12.0, 25.0]])
    by_label = [
        float(localizer.losses(outputs, [Targets(segments, torch.tensor(labels))])["loss"].detach())
        for labels in ([0, 0], [2, 1])
    ]
    assert by_label[0] == pytest.approx(by_label[1], rel=1e-6)
    assert not localizer.candidates(outputs)[0].labels.any()
