"""The row classifier: labels, loss and segment scores against plain loops."""

import numpy as np
import pytest
import torch

from tal.decoders.base import Targets
from tal.localizer.row_classifier import RowClassifier, row_labels, segment_means
from tal.losses import sigmoid_focal

TARGETS = [
    Targets(torch.tensor([[0.5, 2.0], [1.5, 3.0]]), torch.tensor([1, 0])),
    Targets(torch.zeros(0, 2), torch.zeros(0, dtype=torch.long)),
    Targets(torch.tensor([[0.0, 1.0], [0.5, 1.25]]), torch.tensor([2, 2])),  # one class, overlapping
]


def test_rows_inside_a_segment_carry_its_label():
    for stride in (1, 2):
        labels = row_labels(TARGETS, torch.zeros(3, 3, 8), stride)
        for b, target in enumerate(TARGETS):
            for c in range(3):
                for t in range(8):
                    inside = any(
                        int(label) == c and float(s) * stride <= t <= float(e) * stride
                        for (s, e), label in zip(target.segments, target.labels, strict=True)
                    )
                    assert labels[b, c, t] == float(inside), (stride, b, c, t)


def test_loss_is_the_mean_over_samples_and_padding_has_no_part():
    torch.manual_seed(0)
    rows = RowClassifier(4, 3)
    features = torch.randn(3, 4, 8)
    mask = torch.ones(3, 1, 8, dtype=torch.bool)
    mask[0, :, 6:] = False
    whole = rows(features, mask, TARGETS, 1)
    expected = []
    for b, target in enumerate(TARGETS):
        length = int(mask[b].sum())
        target_rows = row_labels([target], torch.zeros(1, 3, length), 1)
        focal = sigmoid_focal(rows.linear(features[b : b + 1, :, :length]), target_rows).sum()
        expected.append(focal / max(1.0, float(target_rows.sum())))
    torch.testing.assert_close(whole, sum(expected) / 3)
    parts = [rows(features[b : b + 1], mask[b : b + 1], [TARGETS[b]], 1) for b in range(3)]
    torch.testing.assert_close(whole, sum(parts) / 3)
    changed = features.clone()
    changed[0, :, 6:] = 1e3
    assert torch.equal(rows(changed, mask, TARGETS, 1), whole)


@pytest.mark.parametrize("block", [3, 4096])
def test_a_segment_scores_the_mean_of_its_rows(monkeypatch, block):
    monkeypatch.setattr("tal.localizer.row_classifier._BLOCK_ROWS", block)
    torch.manual_seed(0)
    classifier = RowClassifier(4, 3)
    torch.nn.init.normal_(classifier.linear.weight)
    rows = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    valid = np.ones(20, bool)
    valid[[6, 19]] = False
    segments = np.array([[2.0, 8.9], [0.3, 0.6], [5.8, 6.2], [-3.0, 40.0], [4.6, 4.9]])
    labels = np.array([1, 0, 2, 1, 2])
    found = np.zeros((20, 3), np.float32)
    classifier.probabilities(rows, found)
    scores = segment_means(found, segments, labels, valid)
    logits = classifier.linear(torch.from_numpy(rows).t()[None])[0].t()
    probabilities = torch.sigmoid(logits).detach().numpy()
    for value, (start, end), label in zip(scores, segments, labels, strict=True):
        inside = [t for t in range(20) if start <= t <= end]
        if not inside:
            inside = [round((start + end) / 2)]
        inside = [t for t in inside if valid[t]]
        expected = np.mean(probabilities[inside, label]) if inside else 0.0
        assert value == pytest.approx(expected, abs=1e-6)
    assert scores[2] == 0.0


@pytest.mark.parametrize("stride", [1, 2])
def test_rows_of_which_nobody_knows_teach_nothing(stride):
    torch.manual_seed(0)
    rows = RowClassifier(4, 3)
    features = torch.randn(3, 4, 8)
    mask = torch.ones(3, 1, 8, dtype=torch.bool)
    known = torch.rand(3, 3, -(-8 // stride)) < 0.5
    targets = [Targets(t.segments, t.labels, known=k) for t, k in zip(TARGETS, known, strict=True)]
    logits = rows.linear(features).detach().requires_grad_()
    rows.linear = torch.nn.Identity()  # its rows are the logits
    loss = rows(logits, mask, targets, stride)
    loss.backward()
    labels = row_labels(TARGETS, logits, stride)
    focal = sigmoid_focal(logits.detach(), labels)
    expected = torch.zeros(3)
    for b in range(3):
        for c in range(3):
            for t in range(8):
                counts = bool(known[b, c, t // stride]) or labels[b, c, t] > 0
                assert (float(logits.grad[b, c, t]) != 0) == bool(counts)
                expected[b] += focal[b, c, t] * float(counts)
        expected[b] /= max(1.0, float(labels[b].sum()))
    torch.testing.assert_close(loss.detach(), expected.mean())
