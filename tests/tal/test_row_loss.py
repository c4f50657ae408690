"""The loss of single rows: labels and value against plain loops, gradient through fresh rows alone."""

import torch

from tal.decoders.base import Targets
from tal.losses import sigmoid_focal
from tal.memory.row_loss import RowClassifier, row_labels

TARGETS = [
    Targets(torch.tensor([[0.5, 2.0], [1.5, 3.0]]), torch.tensor([1, 0])),
    Targets(torch.zeros(0, 2), torch.zeros(0, dtype=torch.long)),
    Targets(torch.tensor([[0.0, 1.0], [0.5, 1.25]]), torch.tensor([2, 2])),  # one class, overlapping
]


def test_rows_inside_a_segment_carry_its_label():
    for stride in (1, 2):
        found = row_labels(TARGETS, torch.zeros(3, 3, 8), stride)
        for b, target in enumerate(TARGETS):
            for c in range(3):
                for t in range(8):
                    inside = any(
                        int(label) == c and float(s) * stride <= t <= float(e) * stride
                        for (s, e), label in zip(target.segments, target.labels, strict=True)
                    )
                    assert found[b, c, t] == float(inside), (stride, b, c, t)


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
        wanted = row_labels([target], torch.zeros(1, 3, length), 1)
        focal = sigmoid_focal(rows.linear(features[b : b + 1, :, :length]), wanted).sum()
        expected.append(focal / max(1.0, float(wanted.sum())))
    torch.testing.assert_close(whole, sum(expected) / 3)
    parts = [rows(features[b : b + 1], mask[b : b + 1], [TARGETS[b]], 1) for b in range(3)]
    torch.testing.assert_close(whole, sum(parts) / 3)
    changed = features.clone()
    changed[0, :, 6:] = 1e3
    assert torch.equal(rows(changed, mask, TARGETS, 1), whole)
