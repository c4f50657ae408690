"""Suppression against plain Python loops that follow the releases' semantics step by step; non-maximum
weighting is in `test_weighting`.
"""

import math

import numpy as np
import pytest
import torch

from tal.suppression import SuppressionConfig, fuse_video_scores, suppress


def overlap(a, b):
    inter = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
    return inter / ((a[1] - a[0] + 1e-6) + (b[1] - b[0] + 1e-6) - inter)


def plain_soft_nms(segments, scores, sigma, min_score):
    """Index and score of each pick of one class, best first."""
    left = {i: s for i, s in enumerate(scores)}
    picks = []
    while left:
        best = max(left, key=lambda i: left[i])
        picks.append((best, left.pop(best)))
        for i in list(left):
            left[i] *= math.exp(-(overlap(segments[best], segments[i]) ** 2) / sigma)
            if left[i] < min_score:
                del left[i]
    return picks


def plain_nms(segments, scores, threshold, min_score):
    order = sorted((i for i, s in enumerate(scores) if s > min_score), key=lambda i: -scores[i])
    picks = []
    while order:
        best = order.pop(0)
        picks.append((best, scores[best]))
        order = [i for i in order if overlap(segments[best], segments[i]) < threshold]
    return picks


def weighted_mean(segment, segments, scores, threshold, with_iou):
    total, mean = 0.0, [0.0, 0.0]
    for other, score in zip(segments, scores, strict=True):
        inter = max(0.0, min(segment[1], other[1]) - max(segment[0], other[0]))
        iou = inter / ((segment[1] - segment[0]) + (other[1] - other[0]) - inter)
        if iou >= threshold:
            weight = score * (iou if with_iou else 1.0)
            total += weight
            mean = [m + weight * o for m, o in zip(mean, other, strict=True)]
    return [m / total for m in mean]


def plain(segments, scores, labels, config):
    groups = sorted(set(labels)) if config.multiclass else [None]
    found = []
    for group in groups:
        members = [i for i in range(len(scores)) if group is None or labels[i] == group]
        part, part_scores = [segments[i] for i in members], [scores[i] for i in members]
        if config.method == "soft_nms":
            picks = plain_soft_nms(part, part_scores, config.sigma, config.min_score)
        else:
            picks = plain_nms(part, part_scores, config.iou_threshold, config.min_score)
        for index, score in picks:
            place = part[index]
            if config.voting_threshold and (config.voting_per_class or not config.multiclass):
                with_iou = config.voting_weight == "score_iou"
                place = weighted_mean(place, part, part_scores, config.voting_threshold, with_iou)
            found.append((score, labels[members[index]], tuple(place)))
    found.sort(key=lambda f: -f[0])
    return found[: config.max_segments or None]


def candidates(count, classes, seed):
    random = np.random.default_rng(seed)
    start = random.uniform(0, 60, count)
    segments = np.stack([start, start + random.uniform(0.5, 15, count)], 1)
    return segments, random.uniform(0.002, 1, count) ** 2, random.integers(0, classes, count)


CONFIGS = [
    SuppressionConfig(),
    SuppressionConfig(max_segments=25),
    SuppressionConfig(max_segments=0, sigma=0.4, min_score=0.05),
    SuppressionConfig(multiclass=False, max_segments=40),
    SuppressionConfig(multiclass=False, max_segments=30, voting_threshold=0.7),
    SuppressionConfig(multiclass=False, voting_threshold=0.5, voting_weight="score_iou"),
    SuppressionConfig(voting_threshold=0.5),
    SuppressionConfig(voting_threshold=0.5, voting_per_class=True),
    SuppressionConfig(method="nms", iou_threshold=0.4),
    SuppressionConfig(method="nms", iou_threshold=0.1, max_segments=7, min_score=0.2),
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"{c.method}-{c.max_segments}-{c.multiclass}")
@pytest.mark.parametrize("seed", [0, 1])
def test_equals_plain_loops(config, seed):
    segments, scores, labels = candidates(250, 4, seed)
    wanted = plain(segments.tolist(), scores.tolist(), labels.tolist(), config)
    got = suppress(torch.tensor(segments), torch.tensor(scores), torch.tensor(labels), config)
    # scores go through float32, as decoders give them
    np.testing.assert_allclose(got[1], [w[0] for w in wanted], rtol=2e-5)
    assert got[2].tolist() == [w[1] for w in wanted]
    np.testing.assert_allclose(got[0], [w[2] for w in wanted], rtol=1e-5)


def test_float32_equals_float64():
    segments, scores, labels = (torch.tensor(x) for x in candidates(800, 5, 3))
    config = SuppressionConfig(max_segments=200)
    a = suppress(segments.float(), scores.float(), labels, config)
    b = suppress(segments, scores.float(), labels, config)
    assert a[0].dtype == torch.float32 and b[0].dtype == torch.float64
    torch.testing.assert_close(a[1], b[1].float(), rtol=1e-4, atol=1e-6)


def test_stopping_early_changes_nothing():
    segments, scores, labels = (torch.tensor(x) for x in candidates(1500, 6, 4))
    everything = suppress(segments, scores, labels, SuppressionConfig(max_segments=0))
    best = suppress(segments, scores, labels, SuppressionConfig(max_segments=60))
    for a, b in zip(everything, best, strict=True):
        torch.testing.assert_close(a[:60], b)


@pytest.mark.parametrize("method", ["soft_nms", "nms", "nmw", "none"])
def test_nothing_and_one(method):
    config = SuppressionConfig(method=method)
    empty = suppress(torch.zeros(0, 2), torch.zeros(0), torch.zeros(0, dtype=torch.long), config)
    assert [len(x) for x in empty] == [0, 0, 0]
    one = suppress(torch.tensor([[1.0, 2.0]]), torch.tensor([0.5]), torch.tensor([3]), config)
    assert one[0].tolist() == [[1.0, 2.0]] and one[2].tolist() == [3]


def test_zero_length_candidates_stay_finite():
    segments = torch.tensor([[1.0, 1.0], [1.0, 1.0], [0.0, 2.0]])
    for method in ("soft_nms", "nms", "nmw"):
        config = SuppressionConfig(method=method, multiclass=False, voting_threshold=0.5)
        found = suppress(segments, torch.tensor([0.9, 0.8, 0.7]), torch.zeros(3, dtype=torch.long), config)
        assert found[0].isfinite().all()


def test_none_sorts_and_cuts():
    config = SuppressionConfig(method="none", max_segments=2)
    found = suppress(torch.rand(3, 2), torch.tensor([0.1, 0.9, 0.5]), torch.tensor([0, 1, 2]), config)
    assert found[2].tolist() == [1, 2]


@pytest.mark.parametrize(("rule", "power"), [("sqrt", 1), ("product", 2)])
def test_video_scores_name_proposals(rule, power):
    segments, scores = torch.tensor([[0.0, 1.0], [2.0, 3.0]]), torch.tensor([0.64, 0.25])
    found = fuse_video_scores(segments, scores, torch.tensor([0.01, 0.81, 0.36]), topk=2, rule=rule)
    assert found[2].tolist() == [1, 1, 2, 2]
    assert found[1].tolist() == pytest.approx([s**power for s in (0.72, 0.45, 0.48, 0.3)])
    assert found[0].tolist() == segments.tolist() * 2
