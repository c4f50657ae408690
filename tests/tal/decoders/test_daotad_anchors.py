"""DaoTAD's anchors, offsets and assignment against hand-made cases and a plain reference."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tal.decoders.base import Targets
from tal.decoders.daotad.anchors import decode, encode, pyramid_anchors
from tal.decoders.daotad.assign import assign_max_iou
from tal.decoders.padded_targets import PaddedTargets, clamp_to_valid, pairwise_iou


def padded(*samples):
    targets = [
        Targets(torch.tensor(segments, dtype=torch.float32).reshape(-1, 2), torch.arange(len(segments)))
        for segments in samples
    ]
    return PaddedTargets.collate(targets, torch.device("cpu"))


def test_thumos_anchors_have_the_releases_number_and_lengths():
    anchors = pyramid_anchors([60, 30, 15, 8, 4], 2.0, 5, middle=False)
    assert anchors.shape == (585, 2)
    frames = (anchors[:, 1] - anchors[:, 0]) * 8
    assert frames[:5].tolist() == pytest.approx([16 * 2 ** (i / 5) for i in range(5)], rel=1e-5)
    assert frames[-5:].tolist() == pytest.approx([256.0, 294.07, 337.79, 388.02, 445.72], rel=1e-4)
    centres = anchors.mean(1)
    assert centres[:11:5].tolist() == [0.0, 1.0, 2.0]
    assert centres[300:311:5].tolist() == [0.0, 2.0, 4.0]  # level 1, stride 2, left edge of the cell


def test_middle_anchors_stand_in_the_middle_of_their_cell():
    anchors = pyramid_anchors([4, 2, 1], 2.0, 1, middle=True)
    assert anchors.mean(1).tolist() == [0.0, 1.0, 2.0, 3.0, 0.5, 2.5, 1.5]


def test_offsets_by_hand():
    anchor, segment = torch.tensor([[4.0, 8.0]]), torch.tensor([[6.0, 14.0]])
    offsets = encode(anchor, segment)
    assert offsets.tolist()[0] == pytest.approx([1.0, math.log(2)])
    assert decode(anchor, offsets, 1.0).tolist()[0] == pytest.approx([6.0, 14.0])
    # three times as long is more than e^1 as long
    far = decode(anchor, encode(anchor, torch.tensor([[0.0, 12.0]])), 1.0)
    assert (far[0, 1] - far[0, 0]).item() == pytest.approx(4 * math.e)


@given(st.floats(-50, 50), st.floats(0.5, 20), st.floats(-50, 50), st.floats(0.5, 20))
@settings(max_examples=50, deadline=None)
def test_decode_inverts_encode(anchor_start, anchor_length, start, length):
    anchor = torch.tensor([[anchor_start, anchor_start + anchor_length]], dtype=torch.float64)
    segment = torch.tensor([[start, start + length]], dtype=torch.float64)
    torch.testing.assert_close(decode(anchor, encode(anchor, segment), 10.0), segment)


def test_assignment_by_hand():
    anchors = torch.tensor([[0.0, 10.0], [2.0, 12.0], [5.0, 15.0], [30.0, 40.0], [50.0, 60.0]])
    truth = padded([[0.0, 10.0], [33.0, 63.0]])
    result = assign_max_iou(anchors, torch.ones(1, 5, dtype=torch.bool), truth, 0.6, 0.4)
    # IoU with the first: 1, 8/12, 5/15; with the second: anchor 3 has 7/33, anchor 4 has 10/30 and is its
    # best
    assert result.positive.tolist() == [[True, True, False, False, True]]
    assert result.negative.tolist() == [[False, False, True, True, False]]
    assert result.target[0, [0, 1, 4]].tolist() == [0, 0, 1]


def test_overlap_between_the_thresholds_is_ignored():
    anchors = torch.tensor([[0.0, 10.0], [5.0, 10.0]])
    result = assign_max_iou(anchors, torch.ones(1, 2, dtype=torch.bool), padded([[0.0, 10.0]]), 0.6, 0.4)
    assert result.positive.tolist() == [[True, False]]
    assert result.negative.tolist() == [[False, False]]  # IoU .5


def test_every_anchor_that_ties_for_the_best_is_claimed():
    anchors = torch.tensor([[0.0, 2.0], [8.0, 10.0], [3.0, 3.5]])
    result = assign_max_iou(anchors, torch.ones(1, 3, dtype=torch.bool), padded([[0.0, 10.0]]), 0.6, 0.4)
    assert result.positive.tolist() == [[True, True, False]]


def test_segment_without_any_overlap_claims_nothing():
    anchors = torch.tensor([[0.0, 2.0], [8.0, 10.0]])
    result = assign_max_iou(anchors, torch.ones(1, 2, dtype=torch.bool), padded([[20.0, 30.0]]), 0.6, 0.4)
    assert not result.positive.any()
    assert result.negative.all()


def test_padding_is_neither_positive_nor_negative_and_empty_samples_are_all_negative():
    anchors = torch.tensor([[0.0, 10.0], [10.0, 20.0]])
    valid = torch.tensor([[True, False], [True, True]])
    result = assign_max_iou(anchors, valid, padded([[10.0, 20.0]], []), 0.6, 0.4)
    assert result.positive.tolist() == [[False, False], [False, False]]
    assert result.negative.tolist() == [[True, False], [True, True]]


def reference_assignment(anchors, segments, positive_iou, negative_iou):
    """One anchor and one segment at a time: (index, +1 / 0 / -1)."""

    def iou(a, b):
        inter = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
        return inter / (a[1] - a[0] + b[1] - b[0] - inter)

    table = [[iou(a, s) for s in segments] for a in anchors]
    best_of_segment = [max(row[g] for row in table) for g in range(len(segments))]
    answer = []
    for row in table:
        claims = [g for g in range(len(segments)) if row[g] == best_of_segment[g] > 0]
        if claims:
            answer.append((max(claims, key=lambda g: row[g]), 1))
            continue
        index = max(range(len(segments)), key=lambda g: row[g])
        state = 1 if row[index] >= positive_iou else -1 if row[index] < negative_iou else 0
        answer.append((index, state))
    return answer


def test_assignment_equals_the_plain_reference():
    generator = torch.Generator().manual_seed(0)
    anchors = pyramid_anchors([32, 16, 8, 4, 2], 2.0, 5, middle=False)
    samples = []
    for count in (1, 7, 3):
        start = torch.rand(count, generator=generator) * 28
        samples.append(
            torch.stack([start, start + 0.5 + torch.rand(count, generator=generator) * 12], 1).tolist()
        )
    truth = padded(*samples)
    valid = torch.ones(3, len(anchors), dtype=torch.bool)
    result = assign_max_iou(anchors.double(), valid, truth, 0.6, 0.4)
    state = result.positive.long() - result.negative.long()
    for sample in range(3):
        segments = truth.segments[sample, : len(samples[sample])].tolist()
        expected = reference_assignment(anchors.double().tolist(), segments, 0.6, 0.4)
        assert state[sample].tolist() == [sign for _, sign in expected]
        chosen = result.positive[sample].nonzero()[:, 0].tolist()
        assert [result.target[sample, i].item() for i in chosen] == [expected[i][0] for i in chosen]
    assert result.positive.any()


def test_pairwise_iou_and_extent():
    iou = pairwise_iou(torch.tensor([[0.0, 4.0], [1.0, 1.0]]), torch.tensor([[2.0, 6.0], [1.0, 1.0]]))
    assert iou.tolist() == [[pytest.approx(2 / 6), 0.0], [0.0, 0.0]]
    mask = torch.tensor([[[False, True, True, False]], [[False, False, False, False]]])
    segments = torch.tensor([[[-9.0, 9.0]], [[-9.0, 9.0]]])
    assert clamp_to_valid(segments, mask).tolist() == [[[0.0, 3.0]], [[-1.0, 1.0]]]
