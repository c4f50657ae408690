"""AFSD's assignment, losses and scores against hand-made cases and plain formulas."""

import math
from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError

from tal.decoders.afsd import AFSD, AFSDConfig
from tal.decoders.afsd import losses as parts
from tal.decoders.afsd.network import exp_distances, points_of_levels, start_end_scores
from tal.decoders.base import Targets
from tal.decoders.padded_targets import PaddedTargets
from tal.errors import ConfigError


def targets(*segments, labels=None):
    labels = list(range(len(segments))) if labels is None else labels
    return Targets(torch.tensor(segments).reshape(-1, 2), torch.tensor(labels, dtype=torch.long))


def padded(*samples):
    return PaddedTargets.collate(samples, torch.device("cpu"))


def ones(batch, length):
    return torch.ones(batch, 1, length, dtype=torch.bool)


def small(**values):
    values = {"channels": 16, "upsample": 2, "regression_ranges": ((0, 4), (2, 10000))} | values
    torch.manual_seed(0)
    return AFSD(AFSDConfig(**values), 16, 3).eval()


def features(batch=1, length=16, seed=0):
    return torch.randn(batch, 16, length, generator=torch.Generator().manual_seed(seed))


def test_default_sizes_are_the_releases():
    config = AFSDConfig()
    decoder = AFSD(config, 512, 200).eval()
    with torch.no_grad():
        out = decoder(torch.zeros(1, 512, 96), ones(1, 96))
    assert out.lengths == (96, 48, 24, 12, 6, 3)
    assert out.coarse.shape == (1, 189, 2)
    assert out.coarse_logits.shape == (1, 189, 2)
    assert out.video_logits.shape == (1, 201)
    assert [part[0].shape[-1] for part in out.boundary] == [768, 96, 96]
    # in frames, at 8 frames a position
    assert [[8 * v for v in pair] for pair in config.regression_ranges[:4]] == [
        [0, 30],
        [15, 60],
        [30, 120],
        [60, 240],
    ]


def test_assignment_by_hand():
    points = points_of_levels((8, 4))
    truth = padded(targets([1.5, 4.5], [0.0, 7.0], labels=[2, 1]))
    result = parts.assign_points(
        points, ((0, 2), (3, 100)), (8, 4), torch.ones(1, 12, dtype=torch.bool), truth
    )
    # level 0 takes farther ends of at most 2: places 3 ± .5 of the short segment; the long one reaches 3.5
    # at least
    assert result.positive[0, :8].tolist() == [False, False, False, True, False, False, False, False]
    assert result.label[0, 3] == 2
    # level 1 (places .5, 2.5, 4.5, 6.5) takes more than 3: only the long segment, its end 7 excluded
    assert result.positive[0, 8:].tolist() == [True, True, True, True]
    assert result.label[0, 8:].tolist() == [1, 1, 1, 1]
    assert result.segment[0, 8].tolist() == [0.0, 7.0]


def test_shortest_segment_wins_and_padding_is_not_assigned():
    points = points_of_levels((6,))
    valid = torch.tensor([[True, True, True, True, False, False]])
    truth = padded(targets([-0.5, 5.5], [0.5, 3.5], labels=[0, 1]))
    result = parts.assign_points(points, ((0, 100),), (6,), valid, truth)
    assert result.positive.tolist() == [[True, True, True, True, False, False]]
    assert result.label[0, :4].tolist() == [0, 1, 1, 1]


def test_softmax_focal_by_the_formula():
    logits = torch.tensor([[0.3, -1.2, 2.0], [1.0, 0.0, -1.0]])
    result = parts.softmax_focal(logits, torch.tensor([2, 0]), alpha=0.75, gamma=2.0)
    for row, (true, weight) in enumerate([(2, 0.75), (0, 0.25)]):
        total = sum(math.exp(v) for v in logits[row].tolist())
        p = math.exp(logits[row, true].item()) / total
        assert result[row].item() == pytest.approx(-weight * (1 - p) ** 2 * math.log(p), rel=1e-5)


def test_boundary_labels_by_hand():
    truth = padded(targets([2.0, 42.0]), targets([5.0, 6.0]))
    start, end = parts.boundary_labels(torch.arange(50.0), 1.0, truth)
    # a twentieth of 40 is 2; the short segment gets the least reach, one cell
    assert start[0].nonzero()[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert end[0].nonzero()[:, 0].tolist() == [40, 41, 42, 43, 44]
    assert start[1].nonzero()[:, 0].tolist() == [4, 5, 6]
    assert end[1].nonzero()[:, 0].tolist() == [5, 6, 7]


def test_masked_bce_is_the_mean_over_valid_positions():
    score, label = (
        torch.tensor([[0.8, 0.3, 0.5], [0.1, 0.9, 0.5]]),
        torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]]),
    )
    mask = torch.tensor([[True, True, False], [True, False, False]])
    expected = ((-math.log(0.8) - math.log(0.7)) / 2 - math.log(0.9)) / 2
    assert parts.masked_bce(score, label, mask).item() == pytest.approx(expected, rel=1e-5)


def test_exponential_never_overflows():
    raw = torch.tensor([0.0, 0.5, 1000.0], requires_grad=True)
    distances = exp_distances(raw, torch.tensor(1.0), 4.0)
    distances.sum().backward()
    assert distances.tolist() == pytest.approx([1.0, math.exp(0.5), 4.0])
    assert raw.grad.tolist() == pytest.approx([1.0, math.exp(0.5), 0.0])


def test_start_end_scores():
    feature = torch.tensor([[[0.0, 1.0], [2.0, 0.0], [0.0, 0.0], [3.0, 1.0]]])
    start, end = start_end_scores(feature)
    assert start[0].tolist() == pytest.approx([math.tanh(2) / 2, math.tanh(1) / 2])
    assert end[0].tolist() == pytest.approx([math.tanh(3) / 2, math.tanh(1) / 2])


def test_losses_by_plain_loops():
    decoder = small(labels="segment", start_end_weight=0, localization_weight=3.0)
    mask = ones(2, 16)
    mask[1, :, 12:] = False
    out = decoder(features(2), mask)
    noise = torch.Generator().manual_seed(1)
    out = replace(
        out,
        **{
            name: getattr(out, name).detach() + 0.5 * torch.randn(getattr(out, name).shape, generator=noise)
            for name in ("coarse_logits", "refined_logits", "shift", "quality")
        },
        coarse=out.coarse.detach() * (0.5 + 2 * torch.rand(out.coarse.shape, generator=noise)),
    )
    truth = [targets([1.2, 6.3], [8.0, 15.5], labels=[2, 0]), targets([3.0, 5.5])]
    losses = decoder.losses(out, mask, truth)

    def iou(a, b):
        inter = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
        return inter / (a[1] - a[0] + b[1] - b[0] - inter)

    def focal(logits, true):
        p = math.exp(logits[true]) / sum(math.exp(v) for v in logits)
        return -(0.75 if true else 0.25) * (1 - p) ** 2 * math.log(p)

    names = ("localization", "refined_localization", "classification", "refined_classification", "quality")
    mean = dict.fromkeys(names, 0.0)
    for b, target in enumerate(truth):
        targets_at = {}
        for n, (place, stride) in enumerate(out.points.tolist()):
            low, high = decoder.config.regression_ranges[int(math.log2(stride))]
            inside = [
                (e - s, s, e, label)
                for (s, e), label in zip(target.segments.tolist(), target.labels.tolist(), strict=True)
                if s < place < e and low < max(place - s, e - place) <= high and out.valid[b, n]
            ]
            if inside:
                targets_at[n] = min(inside)[1:]
        coarse = {
            n: (out.points[n, 0] - out.coarse[b, n, 0], out.points[n, 0] + out.coarse[b, n, 1])
            for n in targets_at
        }
        overlaps = {n: iou([float(v) for v in coarse[n]], targets_at[n][:2]) for n in targets_at}
        refined = {n for n in targets_at if overlaps[n] >= min(0.6, max(overlaps.values()))}
        total = dict.fromkeys(names, 0.0)
        for n, (place, _) in enumerate(out.points.tolist()):
            if not out.valid[b, n]:
                continue
            label = targets_at[n][2] + 1 if n in targets_at else 0
            total["classification"] += focal(out.coarse_logits[b, n].tolist(), label)
            total["refined_classification"] += focal(
                out.refined_logits[b, n].tolist(), label if n in refined else 0
            )
            if n not in targets_at:
                continue
            s, e, _ = targets_at[n]
            left, right = out.coarse[b, n].tolist()
            whole = max(place + right, e) - min(place - left, s)
            hull = (left + right + e - s) - (min(place + right, e) - max(place - left, s))
            total["localization"] += 1 - (overlaps[n] - (whole - hull) / whole)
            half = (left + right) / 2
            a, z = out.shift[b, n].tolist()
            moved = (place - left - half * a, place + right + half * z)
            p, reached = 1 / (1 + math.exp(-out.quality[b, n].item())), iou(moved, (s, e))
            total["quality"] -= reached * math.log(p) + (1 - reached) * math.log(1 - p)
            if n in refined:
                for error in ((place - s - left) / half - a, (e - place - right) / half - z):
                    total["refined_localization"] += 0.5 * error**2 if abs(error) < 1 else abs(error) - 0.5
        for name in names:
            count = len(refined) if name.startswith("refined") else len(targets_at)
            mean[name] += total[name] / max(1, count) / 2
        assert targets_at
    for name in names:
        assert losses[name].item() == pytest.approx(mean[name], rel=1e-3), name
    weighted = 3 * (mean["localization"] + mean["refined_localization"]) + sum(mean[n] for n in names[2:])
    assert losses["loss"].item() == pytest.approx(weighted, rel=1e-3)
    assert set(losses) == {"loss", *names}


def test_start_end_supervision_is_a_switch():
    truth, mask = [targets([2.0, 9.0])], ones(1, 16)
    on, off = small(), small(start_end_weight=0)
    off.load_state_dict(on.state_dict())
    with_it, without = (d.losses(d(features(), mask), mask, truth) for d in (on, off))
    assert "start_end" in with_it and "start_end" not in without
    assert with_it["loss"].item() == pytest.approx(
        without["loss"].item() + with_it["start_end"].item(), rel=1e-5
    )


def test_video_label_given_first_segments_or_background():
    decoder, mask = small(), ones(3, 16)
    logits = torch.randn(3, 4, generator=torch.Generator().manual_seed(2))
    out = replace(decoder(features(3), mask), video_logits=logits)
    truth = [
        Targets(torch.tensor([[2.0, 9.0]]), torch.tensor([0]), video_label=2),
        targets([2.0, 9.0], labels=[1]),
        targets(),
    ]
    log_p = logits.log_softmax(-1)
    expected = -(log_p[0, 3] + log_p[1, 2] + log_p[2, 0]) / 3
    assert decoder.losses(out, mask, truth)["video"].item() == pytest.approx(expected.item(), rel=1e-5)
    focal = small(video_loss="focal")
    p = log_p.exp()
    expected = -sum(
        a * (1 - p[i, k]) ** 2 * log_p[i, k] for i, (k, a) in enumerate([(3, 0.75), (2, 0.75), (0, 0.25)])
    )
    assert focal.losses(out, mask, truth)["video"].item() == pytest.approx(expected.item() / 3, rel=1e-5)


def test_background_is_never_a_label():
    """The released code let class index 0 into the best two and turned it into the last class."""
    decoder, mask = small(top_labels=2, min_score=0.0), ones(1, 16)
    out = decoder(features(), mask)
    out = replace(out, video_logits=torch.tensor([[5.0, 1.0, 3.0, 2.0]]))
    candidates = decoder.candidates(out, mask)[0]
    assert set(candidates.labels.tolist()) == {1, 2}
    p = torch.tensor([5.0, 1.0, 3.0, 2.0]).softmax(0)
    first, second = candidates.scores[candidates.labels == 1], candidates.scores[candidates.labels == 2]
    torch.testing.assert_close(first / second, torch.full_like(first, (p[2] / p[3]).item()))


def test_one_class_gives_one_label():
    decoder = AFSD(AFSDConfig(channels=16, upsample=2, min_score=0.0), 16, 1).eval()
    candidates = decoder.candidates(decoder(features(), ones(1, 16)), ones(1, 16))[0]
    assert len(candidates.labels) > 0 and not candidates.labels.any()


def test_candidates_by_hand():
    decoder, mask = small(labels="segment"), ones(1, 16)
    out = decoder(features(), mask)
    floor = torch.full_like(out.coarse_logits, -30.0)
    floor[..., 0] = 30.0
    coarse, refined = floor.clone(), floor.clone()
    coarse[0, 5] = torch.tensor([0.1, 0.2, 0.4, 0.3]).log()
    refined[0, 5] = torch.tensor([0.3, 0.0, 0.6, 0.1]).log()
    distances, shift = torch.ones_like(out.coarse), torch.zeros_like(out.shift)
    distances[0, 5], shift[0, 5] = torch.tensor([2.0, 4.0]), torch.tensor([0.5, -0.5])
    quality = torch.full_like(out.quality, math.log(4))  # .8
    out = replace(
        out, coarse=distances, coarse_logits=coarse, refined_logits=refined, shift=shift, quality=quality
    )
    candidates = decoder.candidates(out, mask)[0]
    # half the coarse length is 3: the start moves out by 1.5, the end in by 1.5
    assert candidates.segments.tolist() == [pytest.approx([1.5, 7.5])] * 3
    assert candidates.labels.tolist() == [0, 1, 2]
    assert candidates.scores.tolist() == pytest.approx([0.1 * 0.8, 0.5 * 0.8, 0.2 * 0.8])


def test_video_classifier_reads_the_encoders_features_when_asked():
    decoder, mask = small(video_channels=24, video_dropout=0.0), ones(2, 16)
    encoder = torch.randn(2, 24, 64)
    encoder_mask = ones(2, 64)
    encoder_mask[1, :, 40:] = False
    out = decoder(features(2), mask, video_features=encoder, video_mask=encoder_mask)
    linear = decoder.video[1]
    torch.testing.assert_close(out.video_logits[1], linear(encoder[1, :, :40].mean(-1)), rtol=1e-4, atol=1e-5)
    with pytest.raises(ConfigError, match="video_channels"):
        decoder(features(2), mask)
    with pytest.raises(ConfigError, match="16 channels"):
        decoder(features(2), mask, video_features=features(2), video_mask=mask)


def test_dropout_of_the_classifier_is_half():
    assert AFSD(AFSDConfig(), 32, 3).video[0].p == 0.5


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"regression_ranges": ((4, 2),)}, "regression_ranges"),
        ({"labels": "segment", "video_channels": 9}, "video_channels"),
        ({"channels": 33}, "channels"),
        ({"labels": "both"}, "labels"),
    ],
)
def test_wrong_settings_are_named(values, word):
    with pytest.raises(ValidationError, match=word):
        AFSDConfig(**values)


@pytest.mark.parametrize("labels", ["segment", "video"])
def test_a_prior_makes_locations_start_as_background(labels):
    plain, expecting = (small(labels=labels, prior=prior) for prior in (0.0, 0.01))
    x, mask = features(length=64), ones(1, 64)
    with torch.no_grad():
        before, after = plain(x, mask), expecting(x, mask)
    for logits in (after.coarse_logits, after.refined_logits):
        action = logits.softmax(-1)[..., 1:].sum(-1)
        torch.testing.assert_close(action, torch.full_like(action, 0.01), rtol=0.2, atol=0)
    # as published every class begins alike, and each background location has its share in the loss
    classes = before.coarse_logits.shape[-1]
    per_location = 0.25 * (1 - 1 / classes) ** 2 * math.log(classes)
    nothing = [Targets(torch.zeros(0, 2), torch.zeros(0, dtype=torch.long))]
    for name in ("classification", "refined_classification"):
        loss = plain.losses(before, mask, nothing)[name]
        assert loss.item() == pytest.approx(len(before.points) * per_location, rel=5e-2)
        assert expecting.losses(after, mask, nothing)[name] < 1e-3 * loss
