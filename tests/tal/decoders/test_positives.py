"""How many places learn a segment: as `losses` assigns them, and for points as a plain loop counts them."""

import pytest
import torch

from tal.decoders import Targets, build_decoder
from tal.decoders.afsd import decoder as afsd
from tal.decoders.base import as_own_classes
from tal.decoders.daotad import decoder as daotad
from tal.decoders.pyramid.decoder import PyramidDecoder
from tests.tal.decoders.cases import CASES, CHANNELS, FEW, MANY, NOTHING, PYRAMID, batch

# Far shorter than a position, between two and on one; the last is hidden by a shorter one at its only point.
TINY = Targets(
    torch.tensor([[3.2, 3.3], [6.95, 7.05], [12.4, 12.9], [20.0, 20.1], [29.5, 30.5], [29.8, 30.2]]),
    torch.tensor([0, 1, 2, 0, 1, 2]),
)
LENGTHS = [45, 31, 40, 45]
TARGETS = [MANY, FEW, NOTHING, TINY]


def build(name):
    torch.manual_seed(0)
    most = max(len(target.labels) for target in TARGETS)
    return build_decoder(CASES[name], CHANNELS, most).train()


def assigned_in_losses(decoder, monkeypatch):
    """(positive, label) of every place, bool and long [B, P] or a multi-hot [B, P, N], as a step has them."""
    seen = []

    def spied(owner, name):
        real = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *a, **k: seen.append(real(*a, **k)) or seen[-1])

    if isinstance(decoder, PyramidDecoder):
        spied(decoder, "assign")
    elif isinstance(decoder, daotad.DaoTAD):
        spied(daotad, "assign_max_iou")
    else:
        spied(afsd.parts, "assign_points")
    features, mask = batch(LENGTHS)
    decoder.losses(decoder(features, mask), mask, [as_own_classes(target) for target in TARGETS])
    return seen[0]


@pytest.mark.parametrize("name", CASES)
def test_they_are_those_of_the_losses(name, monkeypatch):
    decoder = build(name)
    assigned = assigned_in_losses(decoder, monkeypatch)
    counts = decoder.positives(batch(LENGTHS)[1], TARGETS)
    for index, target in enumerate(TARGETS):
        positive = assigned.positive[index]
        if isinstance(decoder, PyramidDecoder):
            learnt = [
                int((assigned.classes[index][positive][:, n] > 0).sum()) for n in range(len(target.labels))
            ]
        else:
            answers = assigned.target if isinstance(decoder, daotad.DaoTAD) else assigned.label
            learnt = [int((answers[index][positive] == n).sum()) for n in range(len(target.labels))]
        assert counts[index].tolist() == learnt


@pytest.mark.parametrize("name", PYRAMID)
def test_they_are_those_of_a_plain_loop(name):
    decoder, config = build(name), CASES[name]
    counts = decoder.positives(batch(LENGTHS)[1], TARGETS)
    for length, target, found in zip(LENGTHS, TARGETS, counts, strict=True):
        learnt = [0] * len(target.labels)
        segments = target.segments.tolist()
        for stride, (low, high) in zip(config.strides, config.ranges, strict=True):
            for t in range(0, length, stride):
                fits = [
                    n
                    for n, (a, b) in enumerate(segments)
                    if a < t < b
                    and (
                        config.assignment == "inside" or abs(t - (a + b) / 2) < config.center_radius * stride
                    )
                    and low <= max(t - a, b - t) <= high
                ]
                shortest = min((segments[n][1] - segments[n][0] for n in fits), default=0)
                for n in fits:
                    learnt[n] += segments[n][1] - segments[n][0] <= shortest + 1e-3
        assert found.tolist() == learnt
    assert counts[3].tolist()[:1] == [0] and counts[3][4] == 0, "no point lies in these"


def test_a_decoder_with_anchors_has_one_for_every_segment():
    counts = build("daotad").positives(batch(LENGTHS)[1], [NOTHING, NOTHING, NOTHING, TINY])
    assert [len(c) for c in counts] == [0, 0, 0, 6] and counts[3][:4].min() > 0
