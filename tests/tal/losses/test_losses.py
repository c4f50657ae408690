"""Losses against the formulas written out in plain Python, and against torchvision's where it has them."""

import math

import pytest
import torch
import torchvision.ops
from hypothesis import given
from hypothesis import strategies as st

from tal.losses import (
    diou,
    diou_offsets,
    giou,
    giou_offsets,
    iou,
    quality_focal,
    sigmoid_focal,
    smooth_labels,
    varifocal,
)

logit = st.floats(-20, 20)
unit = st.one_of(st.just(0.0), st.floats(1e-6, 1))  # float32 has no smaller positive values to speak of


def cross_entropy(x, y):
    log_p = -math.log1p(math.exp(-x)) if x > 0 else x - math.log1p(math.exp(x))
    log_q = log_p - x
    return -(y * log_p + (1 - y) * log_q)


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def one(function, x, y, *args):
    return float(function(torch.tensor([x]), torch.tensor([y]), *args))


@given(logit, unit)
def test_focal(x, y):
    p = sigmoid(x)
    missed = 1 - (p * y + (1 - p) * (1 - y))
    expected = cross_entropy(x, y) * missed**2 * (0.25 * y + 0.75 * (1 - y))
    assert one(sigmoid_focal, x, y) == pytest.approx(expected, rel=1e-3, abs=1e-6)


def test_focal_is_torchvisions():
    x, y = torch.randn(50, 7), (torch.rand(50, 7) > 0.8).float()
    expected = torchvision.ops.sigmoid_focal_loss(x, y, alpha=0.3, gamma=1.5)
    torch.testing.assert_close(sigmoid_focal(x, y, 0.3, 1.5), expected)


@given(logit, unit)
def test_varifocal(x, y):
    weight = y if y > 0 else 0.75 * sigmoid(x) ** 2
    assert one(varifocal, x, y) == pytest.approx(weight * cross_entropy(x, y), rel=1e-3, abs=1e-6)


def test_varifocal_weight_without_and_with_gradient():
    for detach in (True, False):
        x = torch.tensor([0.7], dtype=torch.float64, requires_grad=True)
        varifocal(x, torch.zeros(1), detach=detach).backward()
        p = sigmoid(0.7)
        expected = 0.75 * p**2 * p  # d CE / dx at target 0 is p
        if not detach:
            expected += 0.75 * 2 * p * p * (1 - p) * cross_entropy(0.7, 0.0)
        assert float(x.grad) == pytest.approx(expected, rel=1e-5)


@given(logit, unit)
def test_quality_focal(x, y):
    expected = abs(y - sigmoid(x)) ** 2 * cross_entropy(x, y)
    assert one(quality_focal, x, y) == pytest.approx(expected, rel=1e-3, abs=1e-6)


def test_smoothing():
    y = torch.tensor([[1.0, 0.0, 0.0]])
    assert smooth_labels(y, 0.1, 3).tolist()[0] == pytest.approx([0.925, 0.025, 0.025])
    assert smooth_labels(y, 0.0, 3) is y


segment = st.tuples(st.floats(-50, 50), st.floats(0.01, 50)).map(lambda p: (p[0], p[0] + p[1]))


@given(segment, segment)
def test_overlaps(a, b):
    inter = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
    union = (a[1] - a[0]) + (b[1] - b[0]) - inter
    hull = max(a[1], b[1]) - min(a[0], b[0])
    centre = abs(sum(a) - sum(b)) / 2
    x, y = torch.tensor([a]), torch.tensor([b])
    assert float(iou(x, y)) == pytest.approx(inter / union, abs=1e-4)
    assert float(giou(x, y)) == pytest.approx(1 - inter / union + (hull - union) / hull, abs=1e-4)
    assert float(diou(x, y)) == pytest.approx(1 - inter / union + (centre / hull) ** 2, abs=1e-4)


def test_two_dimensional_losses_agree_on_boxes_of_height_one():
    a = torch.sort(torch.rand(40, 2) * 9, dim=1).values
    b = torch.sort(torch.rand(40, 2) * 9, dim=1).values

    def boxes(s):
        return torch.stack((s[:, 0], torch.zeros(40), s[:, 1], torch.ones(40)), 1)

    torch.testing.assert_close(
        giou(a, b), torchvision.ops.generalized_box_iou_loss(boxes(a), boxes(b)), atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize(("on_offsets", "on_segments"), [(giou_offsets, giou), (diou_offsets, diou)])
def test_offsets_are_segments_around_a_point(on_offsets, on_segments):
    a, b = torch.rand(30, 2) * 5, torch.rand(30, 2) * 5
    point = torch.randn(30, 1) * 3

    def segments(o):
        return torch.cat((point - o[:, :1], point + o[:, 1:]), 1)

    torch.testing.assert_close(on_offsets(a, b), on_segments(segments(a), segments(b)), atol=1e-5, rtol=1e-4)


def test_empty_and_degenerate_segments_stay_finite():
    a = torch.zeros(2, 2, requires_grad=True)
    for function in (iou, giou, diou):
        value = function(a, torch.zeros(2, 2))
        assert value.isfinite().all()
        (gradient,) = torch.autograd.grad(value.sum(), a)
        assert gradient.isfinite().all()
        assert function(torch.zeros(0, 2), torch.zeros(0, 2)).shape == (0,)
