"""Attention, spectral filter, trident decoding and assignment against brute force."""

import math

import numpy as np
import pytest
import torch

from tal.decoders.actionformer.attention import full_attention, local_attention
from tal.decoders.cltdr_gmg.cross_layer import CrossLevelFusion, Decoupling
from tal.decoders.cltdr_gmg.refine import refined_distances, refined_logits
from tal.decoders.cltdr_gmg.spectral import SpectralMixer
from tal.decoders.layers.masks import max_pool
from tal.decoders.layers.positions import sinusoids
from tal.decoders.pyramid.assign import Points, assign_by_center, assign_sim_ota
from tal.decoders.trident.distances import trident_distances
from tal.losses import diou_offsets, sigmoid_focal


def naive_attention(query, key, value, mask, reach, bias=None):
    length = query.shape[2]
    logits = query @ key.transpose(2, 3) / math.sqrt(query.shape[3])
    step = torch.arange(length) - torch.arange(length)[:, None]
    if bias is not None:
        logits = logits + bias[:, (step + reach).clamp(0, 2 * reach)]
    visible = (step.abs() <= reach) & mask[:, :, None]
    return logits.masked_fill(~visible, -torch.inf).softmax(-1) @ value


@pytest.mark.parametrize("length", [1, 7, 32, 33, 100])
@pytest.mark.parametrize("reach", [1, 9, 40])
@pytest.mark.parametrize("with_bias", [False, True])
def test_local_attention_is_masked_attention(length, reach, with_bias):
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 3, length, 4) for _ in range(3))
    mask = torch.arange(length) < torch.tensor([length, max(1, length // 2)])[:, None]
    mask = mask[:, None]
    bias = torch.randn(3, 2 * reach + 1) if with_bias else None
    got = local_attention(query, key, value, mask, reach, bias)
    expected = naive_attention(query, key, value, mask, reach, bias)
    valid = mask[:, :, :, None].expand_as(got)
    torch.testing.assert_close(got[valid], expected[valid], atol=1e-5, rtol=1e-4)
    assert got.isfinite().all()


def test_full_attention_is_masked_attention():
    query, key, value = (torch.randn(2, 2, 20, 4) for _ in range(3))
    mask = torch.arange(20) < torch.tensor([20, 11])[:, None]
    got = full_attention(query, key, value, mask[:, None])
    torch.testing.assert_close(
        got, naive_attention(query, key, value, mask[:, None], 99), atol=1e-5, rtol=1e-4
    )


def plain_filter(u, mixer):
    """The formula in numpy's complex numbers, one sample [D, T]."""
    spectrum = np.fft.rfft(u, norm="ortho")
    w1, b1, w2, b2 = (
        (p[0] + 1j * p[1])[:, None] for p in (x.detach().double().numpy() for x in mixer.parameters())
    )
    hidden = w1 * spectrum + b1
    hidden = np.maximum(hidden.real, 0) + 1j * np.maximum(hidden.imag, 0)
    gain = w2 * hidden + b2

    def shrink(x):
        return np.sign(x) * np.maximum(np.abs(x) - 0.001, 0)

    gain = shrink(gain.real) + 1j * shrink(gain.imag)
    return np.fft.irfft(gain * spectrum, n=u.shape[-1], norm="ortho")


def test_spectral_filter_by_valid_length():
    torch.manual_seed(0)
    mixer = SpectralMixer(5)
    u = torch.randn(4, 5, 30)
    lengths = [30, 17, 0, 17]
    for sample, length in enumerate(lengths):
        u[sample, :, length:] = 0
    got = mixer(u, lengths)
    for sample, length in enumerate(lengths):
        assert (got[sample, :, length:] == 0).all()
        if length:
            expected = plain_filter(u[sample, :, :length].double().numpy(), mixer)
            np.testing.assert_allclose(got[sample, :, :length].detach(), expected, atol=1e-5)
    whole = mixer(u, None)
    np.testing.assert_allclose(whole[1].detach(), plain_filter(u[1].double().numpy(), mixer), atol=1e-5)


@pytest.mark.parametrize("masked", [False, True])
def test_trident_by_brute_force(masked):
    torch.manual_seed(0)
    bins, length, valid = 3, 9, 6
    start, end = torch.randn(2, 4, length), torch.randn(2, 4, length)
    centre = torch.randn(2, 2 * (bins + 1), length).abs()
    mask = (torch.arange(length) < valid).expand(2, 1, length)
    for sample in range(2):
        for position in range(valid):
            for label in range(4):
                left, right = [], []
                for b in range(bins + 1):
                    t = position - bins + b
                    inside = t >= 0
                    logit = float(start[sample, label, t]) if inside else 0.0
                    weight = math.exp(logit + float(centre[sample, b, position]))
                    left.append((0.0 if masked and not inside else weight, bins - b))
                    t = position + b
                    inside = t < (valid if masked else length)
                    logit = float(end[sample, label, t]) if inside else 0.0
                    weight = math.exp(logit + float(centre[sample, bins + 1 + b, position]))
                    right.append((0.0 if masked and not inside else weight, b))
                expected = [sum(w * d for w, d in side) / sum(w for w, _ in side) for side in (left, right)]
                where = tuple(torch.tensor([i]) for i in (sample, position, label))
                got = trident_distances(start, end, centre, mask if masked else None, where)
                assert got[0].tolist() == pytest.approx(expected, abs=1e-5)


LENGTHS, STRIDES, RANGES = (16, 8, 4), (1, 2, 4), ((0, 4), (4, 8), (8, 1e4))


def points():
    return Points.build(LENGTHS, STRIDES, RANGES, torch.device("cpu"))


def brute_assignment(segments, labels, radius):
    """Classes and offsets of every point, by the rule's words."""
    rows = []
    for length, stride, (low, high) in zip(LENGTHS, STRIDES, RANGES, strict=True):
        for j in range(length):
            t = j * stride
            candidates = []
            for (start, end), label in zip(segments, labels, strict=True):
                centre = (start + end) / 2
                inside = (
                    start < t < end
                    if radius is None
                    else (max(start, centre - radius * stride) < t < min(end, centre + radius * stride))
                )
                if inside and low <= max(t - start, end - t) <= high:
                    candidates.append((end - start, label, ((t - start) / stride, (end - t) / stride)))
            if candidates:
                shortest = min(c[0] for c in candidates)
                tied = [c for c in candidates if c[0] <= shortest + 1e-3]
                first = next(c for c in candidates if c[0] == shortest)
                rows.append(({c[1] for c in tied}, first[2]))
            else:
                rows.append((set(), None))
    return rows


@pytest.mark.parametrize("radius", [1.5, None])
@pytest.mark.parametrize("seed", range(6))
def test_centre_sampling_by_brute_force(radius, seed):
    random = np.random.default_rng(seed)
    start = random.uniform(0, 12, 5).round(1)
    segments = np.stack([start, start + random.uniform(0.5, 15, 5).round(1)], 1).astype(np.float32)
    segments[1] = segments[0]  # two classes at once
    labels = [0, 1, 2, 0, 1]
    got = assign_by_center(points(), torch.tensor(segments), torch.tensor(labels), 3, radius)
    for row, (classes, offsets) in enumerate(brute_assignment(segments.tolist(), labels, radius)):
        assert set(torch.nonzero(got.classes[row]).flatten().tolist()) == classes
        if offsets:
            assert got.offsets[row].tolist() == pytest.approx(offsets, abs=1e-4)


@pytest.mark.parametrize(("keep", "confused"), [(1.0, 0.0), (0.5, 0.25)])
def test_sim_ota_by_brute_force(keep, confused):
    torch.manual_seed(3)
    where = points()
    count = len(where.time)
    segments = torch.tensor([[1.0, 9.0], [2.0, 6.0], [0.5, 15.5]])
    labels = torch.tensor([0, 2, 1])
    logits, predicted = torch.randn(count, 3), torch.rand(count, 2) * 4
    valid = where.time < 14
    got = assign_sim_ota(
        where, segments, labels, logits, predicted, valid, keep_share=keep, confused_weight=confused
    )
    centre = assign_by_center(where, segments, labels, 3)
    assert torch.equal(got.classes[valid], centre.classes[valid])

    cost = torch.full((count, 3), torch.inf)
    for p in range(count):
        for n, (start, end) in enumerate(segments.tolist()):
            t, stride = float(where.time[p]), float(where.stride[p])
            expected = torch.tensor([(t - start) / stride, (end - t) / stride])
            if valid[p] and (expected >= 0).all():
                one_hot = torch.zeros(3)
                one_hot[labels[n]] = 1
                cost[p, n] = sigmoid_focal(logits[p], one_hot).sum() + 2 * diou_offsets(
                    predicted[p], expected
                )
    inside = cost < torch.inf
    weight = torch.where(inside.any(1), confused, 1.0)
    for n in range(3):
        best = torch.argsort(cost[:, n])[: int(int(inside[:, n].sum()) * keep)]
        weight[best] = 1.0
    positive = (got.classes.sum(1) > 0) & valid
    assert positive.any()
    torch.testing.assert_close(got.weight[positive], weight[positive])
    for p in torch.nonzero(positive).flatten().tolist():
        start, end = segments[int(cost[p].argmin())].tolist()
        t, stride = float(where.time[p]), float(where.stride[p])
        assert got.offsets[p].tolist() == pytest.approx([(t - start) / stride, (end - t) / stride], abs=1e-4)


def test_no_actions_assign_nothing():
    none = torch.zeros(0, 2), torch.zeros(0, dtype=torch.long)
    count = len(points().time)
    assert assign_by_center(points(), *none, 3).classes.sum() == 0
    assigned = assign_sim_ota(
        points(), *none, torch.zeros(count, 3), torch.zeros(count, 2), torch.ones(count, dtype=torch.bool)
    )
    assert assigned.classes.shape == (count, 3) and assigned.classes.sum() == 0


def test_points_have_no_half_cell_offset():
    assert points().time[:3].tolist() == [0, 1, 2] and points().time[16:19].tolist() == [0, 2, 4]


def test_max_pool_ignores_what_lies_outside():
    x = torch.tensor([[[-3.0, -2.0, -5.0, 9.0]]])
    mask = torch.tensor([[[True, True, True, False]]])
    assert max_pool(x, mask, 2, strict=True).tolist() == [[[-2.0, -2.0]]]
    assert max_pool(x, mask, 2, strict=False).tolist() == [[[-2.0, 9.0]]]


def test_sinusoids():
    table = sinusoids(50, 6)
    for t in (0, 1, 17):
        for i in range(6):
            angle = t / 10000 ** (2 * (i // 2) / 6)
            expected = (math.sin(angle) if i % 2 == 0 else math.cos(angle)) / math.sqrt(6)
            assert float(table[i, t]) == pytest.approx(expected, abs=1e-6)


def test_refined_scores_and_distances():
    a, r = torch.tensor([-3.0, 2.0, 40.0]), torch.tensor([-1.0, 0.5, 40.0])
    product = refined_logits(a, r, "product").sigmoid()
    torch.testing.assert_close(product[:2], (a.sigmoid() * r.sigmoid())[:2])
    assert product.isfinite().all() and refined_logits(a, r, "product").isfinite().all()
    assert refined_logits(a, r, "residual").tolist() == [-4.0, 2.5, 80.0]
    assert refined_logits(a, r, "product_logits").tolist() == [3.0, 1.0, 1600.0]
    moved = refined_distances(
        torch.tensor([[2.0, 3.0], [0.5, 1.0]]), torch.tensor([1.0, 1.0]), torch.tensor([0.5, -9.0]), 0.5
    )
    assert moved.tolist() == [[1.5, 3.25], [0.0, 0.0]]


def test_decoupling_looks_where_it_should():
    """Which levels an output depends on, by gradient; ends of the pyramid keep their own map."""
    width, lengths = 8, (16, 8, 4)
    masks = [torch.ones(1, 1, n, dtype=torch.bool) for n in lengths]

    def depends(module):
        maps = [torch.randn(1, width, n, requires_grad=True) for n in lengths]
        levels_seen = []
        for output in module(maps, masks):
            gradients = torch.autograd.grad(output.square().sum(), maps, retain_graph=True, allow_unused=True)
            levels_seen.append(
                [level for level, g in enumerate(gradients) if g is not None and g.abs().sum() > 0]
            )
        return levels_seen

    for fusion in ("attention", "addition", "concat"):
        assert depends(Decoupling(width, "coarser", fusion, True)) == [[0, 1], [1, 2], [2]]
        assert depends(Decoupling(width, "finer", fusion, True)) == [[0], [0, 1], [1, 2]]
        assert depends(Decoupling(width, "both", fusion, True)) == [[0, 1], [0, 1, 2], [1, 2]]
    assert depends(Decoupling(width, "none", "attention", True)) == [[0], [1], [2]]
    assert depends(CrossLevelFusion(width, True)) == [[0, 1], [0, 1, 2], [1, 2]]
