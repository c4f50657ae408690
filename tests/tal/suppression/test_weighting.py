"""Non-maximum weighting: TALLFormer's rule in plain Python, and the values that its released code wrote."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from benchmarks.golden import FOLDER
from tal.suppression import SuppressionConfig, suppress


def iou(a, b, number):
    """In the arithmetic of ``number``: at the threshold a rounding decides."""
    a, b = [number(x) for x in a], [number(x) for x in b]
    inter = max(min(a[1], b[1]) - max(a[0], b[0]), number(0))
    union = (a[1] - a[0]) + (b[1] - b[0]) - inter
    return inter / union if union > 0 else number(0)


def weighting_of_one_class(segments, scores, threshold, min_score, number):
    """(score, start, end) in the order of taking."""
    left = sorted((i for i in range(len(scores)) if scores[i] > min_score), key=lambda i: -scores[i])
    found = []
    while left:
        best, others = left[0], left[1:]
        overlap = {i: iou(segments[best], segments[i], number) for i in others}
        consumed = [i for i in others if overlap[i] >= threshold]
        weight = {best: float(scores[best])} | {i: float(scores[i]) * float(overlap[i]) for i in consumed}
        total = sum(weight.values())
        mean = [sum(w * float(segments[i][edge]) for i, w in weight.items()) / total for edge in (0, 1)]
        found.append((float(scores[best]), *mean))
        left = [i for i in others if i not in consumed]
    return found


def weighting(segments, scores, labels, config, number):
    """(score, start, end, label), best first; equal scores: first taken first, then by class."""
    groups = sorted(set(labels)) if config.multiclass else [None]
    found = []
    for group in groups:
        members = [i for i in range(len(scores)) if group is None or labels[i] == group]
        picks = weighting_of_one_class(
            [segments[i] for i in members],
            [scores[i] for i in members],
            config.iou_threshold,
            config.min_score,
            number,
        )
        found += [(-score, turn, group, start, end) for turn, (score, start, end) in enumerate(picks)]
    found.sort(key=lambda f: f[:3] if config.multiclass else f[:2])
    return [(-s, start, end, g) for s, _, g, start, end in found][: config.max_segments or None]


def candidates(random, count, classes, ties):
    """``ties``: on a grid, with few scores, so that overlaps meet the threshold and scores each other."""
    labels = random.integers(0, classes, count)
    if ties:
        start = random.integers(0, 30, count).astype(float)
        length = random.integers(0, 12, count)  # points too
        scores = random.integers(1, 6, count) / 8
    else:
        start = random.uniform(0, 60, count)
        length = random.uniform(0.01, 15, count)
        scores = random.uniform(0.002, 1, count) ** 2
    return np.stack([start, start + length], 1), scores, labels


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("ties", [False, True])
def test_equals_the_rule(dtype, ties):
    random = np.random.default_rng(int(ties))
    number = np.float32 if dtype == torch.float32 else np.float64
    merged = 0
    for _ in range(150):
        count = int(random.integers(0, 120))
        config = SuppressionConfig(
            method="nmw",
            iou_threshold=float(random.choice([0.3, 0.5, 0.75, 1.0])),
            min_score=float(random.choice([0.0, 0.005, 0.25])),
            max_segments=int(random.choice([0, 0, 1, 7, 40])),
            multiclass=bool(random.random() < 0.8),
        )
        segments, scores, labels = candidates(random, count, int(random.choice([1, 4, 30])), ties)
        # scores go through float32, as decoders give them
        segments, scores = segments.astype(number), scores.astype(np.float32)
        wanted = weighting(segments, scores.astype(number), labels.tolist(), config, number)
        tensors = torch.tensor(segments), torch.tensor(scores), torch.tensor(labels)
        found, found_scores, found_labels = suppress(*tensors, config)
        assert found.dtype == dtype and len(found) == len(wanted)
        assert found_scores.tolist() == [w[0] for w in wanted]
        np.testing.assert_allclose(
            found.numpy(), np.array([w[1:3] for w in wanted]).reshape(-1, 2), rtol=1e-6, atol=1e-6
        )
        if config.multiclass:
            assert found_labels.tolist() == [w[3] for w in wanted]
        merged += not torch.isin(found, tensors[0]).all()
    assert merged > 50, "the cases must merge, not only pick"


def test_whoever_was_consumed_does_not_vote_again():
    segments = torch.tensor([[0.0, 10.0], [4.0, 12.0], [6.0, 13.0]])
    scores = torch.tensor([0.75, 0.5, 0.25])
    labels = torch.zeros(3, dtype=torch.long)
    found = suppress(segments, scores, labels, SuppressionConfig(method="nmw", iou_threshold=0.5))
    # the second overlaps the first by exactly half, and the third by 2/3: it belongs to the first alone
    assert found[0].tolist() == [[1.0, 10.5], [6.0, 13.0]]
    assert found[1].tolist() == [0.75, 0.25]


def test_two_points_stay_two_and_where_they_are():
    config = SuppressionConfig(method="nmw", iou_threshold=0.5)
    for dtype in (torch.float32, torch.float64):
        segments = torch.tensor([[1.0, 1.0], [1.0, 1.0], [0.0, 2.0]], dtype=dtype)
        found = suppress(segments, torch.tensor([0.9, 0.8, 0.7]), torch.zeros(3, dtype=torch.long), config)
        assert torch.equal(found[0], segments)


def test_score_must_be_above_the_least():
    config = SuppressionConfig(method="nmw", min_score=0.5)
    segments = torch.tensor([[0.0, 10.0], [0.0, 8.0]])
    found = suppress(segments, torch.tensor([0.75, 0.5]), torch.zeros(2, dtype=torch.long), config)
    assert found[0].tolist() == [[0.0, 10.0]], "what is dropped does not vote"
    config = SuppressionConfig(method="nmw", min_score=0.0)
    found = suppress(segments, torch.zeros(2), torch.zeros(2, dtype=torch.long), config)
    assert len(found[0]) == 0


@pytest.mark.parametrize("sample", [0, 1])
@pytest.mark.parametrize("name", ["daotad", "daotad_conv"])
def test_equals_the_released_code(name, sample):
    """Candidates of the release in, its detections out, those without length too."""
    tensors = load_file(FOLDER / f"{name}.safetensors")
    segments, scores, wanted_segments, wanted_scores, wanted_labels = (
        tensors[f"out/{sample}/{key}"]
        for key in (
            "candidates/segments",
            "candidates/scores",
            "final/segments",
            "final/scores",
            "final/labels",
        )
    )
    count, classes = scores.shape
    config = SuppressionConfig(method="nmw", iou_threshold=0.5, min_score=0.005, max_segments=1200)
    found = suppress(
        segments.repeat_interleave(classes, 0), scores.flatten(), torch.arange(classes).repeat(count), config
    )
    assert all(a >= b for a, b in pairwise(wanted_scores.tolist()))
    assert torch.equal(found[1], wanted_scores) and torch.equal(found[2], wanted_labels)
    torch.testing.assert_close(found[0], wanted_segments, rtol=1e-4, atol=1e-5)
    assert (wanted_segments.diff(dim=1) <= 0).sum() > 50
