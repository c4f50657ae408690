"""Timelines: what is judged right, what is drawn, what is refused."""

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image

from pipelines.commands.plot import command
from pipelines.plot.run import choose_video, write_timeline
from pipelines.shared.files import OutputExistsError
from tal.annotations import (
    AnnotationSet,
    Segment,
    VideoAnnotation,
    prediction_frame,
    write_annotations,
    write_predictions,
)
from tal.errors import EvaluationError
from tal.metrics import Evaluation
from tal.metrics.judge import judge

TRUTH = (Segment(1.0, 3.0, "wave"), Segment(5.0, 9.0, "jump"), Segment(10.0, 12.0, "wave"))


def frame(*rows):
    return prediction_frame(*zip(*[("v", *row) for row in rows], strict=True))


def test_judging_agrees_with_the_evaluator():
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(60):
        start = rng.uniform(0, 12)
        label = str(rng.choice(["wave", "jump"]))
        rows.append((start, start + rng.uniform(0.5, 5), label, float(rng.random())))
    rows += [(s.start_s + 0.1, s.end_s, s.label, 0.5) for s in TRUTH]
    found = frame(*rows)
    truth = AnnotationSet({"v": VideoAnnotation("v", "test", TRUTH)}, ("jump", "wave"))
    evaluation = Evaluation(truth, found, [0.5])
    expected = int((evaluation.matched_at(0.5) >= 0).sum())
    assert judge(found, TRUTH, 0.5)["right"].sum() == expected > 0


def test_an_instance_is_found_once_and_labels_must_agree():
    found = frame((1.0, 3.0, "wave", 0.9), (1.0, 3.1, "wave", 0.8), (5.0, 9.0, "wave", 0.7))
    assert judge(found, TRUTH, 0.5)["right"].tolist() == [True, False, False]
    assert judge(found, None, 0.5)["right"].tolist() == [None, None, None]


def test_the_picture_has_a_lane_for_every_label(tmp_path):
    heights = []
    for i, labels in enumerate((["a"], ["a", "b", "c", "d", "e", "f", "g", "h"])):
        found = frame(*[(k, k + 1.0, name, 0.5) for k, name in enumerate(labels)])
        path = write_timeline(tmp_path / f"{i}.png", found, TRUTH, 14.0, "a title")
        with Image.open(path) as picture:
            heights.append(picture.height)
            assert picture.width > 1000
            assert len(np.unique(np.asarray(picture.convert("L")))) > 10
    assert heights[1] > heights[0]


def test_of_two_numbers_in_one_place_the_better_is_drawn(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    drawn = []
    monkeypatch.setattr(
        Figure, "savefig", lambda self, path: drawn.extend(t.get_text() for t in self.axes[0].texts)
    )
    found = frame(
        (1.0, 5.0, "wave", 0.6), (1.2, 5.0, "wave", 0.9), (9.0, 12.0, "wave", 0.5), (1.0, 5.0, "jump", 0.7)
    )
    write_timeline(tmp_path / "t.png", found, None, 14.0)
    assert sorted(drawn) == ["0.50", "0.70", "0.90"]


@pytest.mark.parametrize("truth", [None, (), TRUTH])
def test_no_detection_and_no_truth_can_be_drawn(tmp_path, truth):
    empty = prediction_frame([], [], [], [], [])
    assert (
        write_timeline(tmp_path / "t.png", empty, truth, 4000.0 if truth is None else None).stat().st_size
        > 1000
    )


def test_nothing_is_overwritten_unasked(tmp_path):
    found = frame((1.0, 3.0, "wave", 0.9))
    path = write_timeline(tmp_path / "t.png", found)
    with pytest.raises(OutputExistsError):
        write_timeline(path, found)
    write_timeline(path, found, overwrite=True)


def test_choosing_a_video_lists_what_there_is():
    found = pd.DataFrame({"video_id": ["a", "b"]})
    assert choose_video(found, "b") == "b"
    assert choose_video(found.head(1), None) == "a"
    with pytest.raises(EvaluationError, match="--video: the predictions have a, b"):
        choose_video(found, None)
    with pytest.raises(EvaluationError, match="no video 'z'"):
        choose_video(found, "z")


def test_command(tmp_path):
    write_predictions(frame((1.0, 3.0, "wave", 0.9), (5.0, 6.0, "wave", 0.1)), tmp_path / "p.json")
    truth = AnnotationSet({"v": VideoAnnotation("v", "test", TRUTH, 13.0)}, ("jump", "wave"))
    write_annotations(truth, tmp_path / "a.json")
    args = ["--predictions", str(tmp_path / "p.json"), "--annotations", str(tmp_path / "a.json")]
    result = CliRunner().invoke(command, [*args, "--out", str(tmp_path / "t.svg")])
    assert result.exit_code == 0, result.output
    assert "1 of 2 detections drawn" in result.output
    assert (tmp_path / "t.svg").read_text().lstrip().startswith("<?xml")
    result = CliRunner().invoke(command, [*args, "--out", str(tmp_path / "t.txt")])
    assert result.exit_code == 2
    assert ".png, .svg or .pdf" in result.output


def test_a_figure_for_python_users():
    from tal import plot

    figure = plot.timeline(frame((1.0, 3.0, "wave", 0.9)), TRUTH, 13.0, title="v")
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["truth", "wave", "jump"]
    assert judge(prediction_frame([], [], [], [], []), TRUTH, 0.5)["right"].tolist() == []
    assert judge(frame((1.0, 3.0, "sit", 0.9)), TRUTH, 0.5)["right"].tolist() == [False]
