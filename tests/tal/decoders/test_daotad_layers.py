"""Norms, pyramids and losses of DaoTAD against torch's own layers and plain formulas."""

import math
import os
import socket

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from tal.decoders.base import Targets
from tal.decoders.daotad import DaoTAD, DaoTADConfig
from tal.decoders.daotad.attention_pyramid import AttentionPyramid, LocalAttention, sinusoidal_encoding
from tal.decoders.layers.conv_pyramid import FPN, ConvPyramid
from tal.decoders.layers.norms import GroupNorm, MaskedBatchNorm


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def ones(batch, length):
    return torch.ones(batch, 1, length, dtype=torch.bool)


def test_group_norm_is_torchs_on_the_valid_part():
    norm, plain = GroupNorm(64, 32), nn.GroupNorm(32, 64)
    norm.load_state_dict({"weight": randn(64, seed=1), "bias": randn(64, seed=2)})
    plain.load_state_dict(norm.state_dict())
    x, mask = randn(2, 64, 12) * 3 + 5, ones(2, 12)
    mask[1, :, 7:] = False
    result = norm(x, mask)
    torch.testing.assert_close(result[:1], plain(x[:1]), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(result[1:, :, :7], plain(x[1:, :, :7]), rtol=1e-5, atol=1e-5)
    assert not result[1, :, 7:].any()


@pytest.mark.parametrize("affine", [True, False])
def test_group_norm_over_all_positions_is_torchs(affine):
    norm, plain = GroupNorm(12, 4, strict=False, affine=affine), nn.GroupNorm(4, 12, affine=affine)
    assert set(norm.state_dict()) == set(plain.state_dict())
    x, mask = randn(2, 12, 9) * 2 - 1, ones(2, 9)
    mask[1, :, 5:] = False
    torch.testing.assert_close(norm(x, mask), plain(x), rtol=1e-5, atol=1e-5)


def test_group_norm_without_scale_is_torchs_on_the_valid_part():
    norm, x, mask = GroupNorm(12, 4, affine=False), randn(2, 12, 9), ones(2, 9)
    mask[1, :, 5:] = False
    result = norm(x, mask)
    torch.testing.assert_close(
        result[1:, :, :5], nn.functional.group_norm(x[1:, :, :5], 4), rtol=1e-5, atol=1e-5
    )
    assert not result[1, :, 5:].any() and not list(norm.parameters())


def test_group_norm_gradient():
    norm = GroupNorm(4, groups=2).double()
    mask = ones(2, 5)
    mask[0, :, 3:] = False
    x = randn(2, 4, 5).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda value: norm(value, mask), (x,))


def test_batch_norm_is_torchs_on_the_valid_positions():
    norm, plain = MaskedBatchNorm(6), nn.BatchNorm1d(6)
    mask = ones(3, 10)
    mask[1, :, 4:] = False
    for step in range(3):
        x = randn(3, 6, 10, seed=step) * 2 + 1
        result = norm(x, mask)
        rows = mask[:, 0]
        expected = plain(x.transpose(1, 2)[rows])
        torch.testing.assert_close(result.transpose(1, 2)[rows], expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(norm.running_mean, plain.running_mean)
    torch.testing.assert_close(norm.running_var, plain.running_var)
    norm.eval(), plain.eval()
    torch.testing.assert_close(norm(x, ones(3, 10)), plain(x), rtol=1e-5, atol=1e-5)


def test_the_released_pyramid_starts_and_rests_as_daotads_code():
    torch.manual_seed(0)
    pyramid = ConvPyramid(48, 64, 5, "group", release=True).train()
    for stage in pyramid.stages:
        # the spread that the released code starts with, whatever the input's width: sqrt(2 / (64 * 3))
        assert stage.conv.weight.std().item() == pytest.approx(0.1021, rel=0.02)
    conv, norm = pyramid.stages[0].conv, nn.BatchNorm1d(64).eval()
    x = randn(2, 48, 9)
    levels, _ = pyramid(x, ones(2, 9))
    expected = norm(nn.functional.conv1d(x, conv.weight, stride=2, padding=1)).relu()
    torch.testing.assert_close(levels[1], expected, rtol=1e-5, atol=1e-5)
    pyramid(x * 5 + 3, ones(2, 9))
    rested = MaskedBatchNorm(64).state_dict()
    for stage in pyramid.stages:
        torch.testing.assert_close(stage.norm.state_dict(), rested, rtol=0, atol=0)
    with pytest.raises(ValidationError, match="pyramid: conv"):
        DaoTADConfig(release=True)


def _sync_worker(rank, port, folder):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    norm = MaskedBatchNorm(3, sync=True)
    x, mask = _sync_input()
    part = x[2 * rank : 2 * rank + 2].requires_grad_()
    weights = randn(4, 3, 8, seed=5)[2 * rank : 2 * rank + 2]
    out = norm(part, mask[2 * rank : 2 * rank + 2])
    (out * weights).sum().backward()
    torch.save([out.detach(), part.grad, norm.running_var], f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def _sync_input():
    mask = ones(4, 8)
    mask[3, :, 2:] = False  # the processes have different numbers of valid positions
    return randn(4, 3, 8, seed=4), mask


@pytest.mark.slow
def test_sync_batch_norm_of_two_processes_is_batch_norm_of_the_whole(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    torch.multiprocessing.spawn(_sync_worker, (port, str(tmp_path)), nprocs=2)
    norm = MaskedBatchNorm(3)
    x, mask = _sync_input()
    x.requires_grad_()
    out = norm(x, mask)
    (out * randn(4, 3, 8, seed=5)).sum().backward()
    parts = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    torch.testing.assert_close(torch.cat([p[0] for p in parts]), out.detach(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(torch.cat([p[1] for p in parts]), x.grad, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(parts[0][2], norm.running_var)


def test_position_encoding_by_the_formula():
    encoding = sinusoidal_encoding(7, 6, torch.zeros(1))
    for channel in range(6):
        for position in range(7):
            angle = position / 10000 ** ((channel - channel % 2) / 6)
            expected = math.cos(angle) if channel % 2 else math.sin(angle)
            assert encoding[channel, position].item() == pytest.approx(expected, abs=1e-6)
    assert sinusoidal_encoding(3, 5, torch.zeros(1)).shape == (5, 3)


@pytest.mark.parametrize("width", [1, 3, 7])
def test_local_attention_is_dense_attention_under_a_band(width):
    local = LocalAttention(16, 4, width, 0.0).eval()
    dense = nn.MultiheadAttention(16, 4, batch_first=True).eval()
    dense.load_state_dict(
        {
            "in_proj_weight": local.qkv.weight,
            "in_proj_bias": local.qkv.bias,
            "out_proj.weight": local.out.weight,
            "out_proj.bias": local.out.bias,
        }
    )
    x = randn(2, 11, 16)
    keep = torch.ones(2, 11, dtype=torch.bool)
    keep[1, 8:] = False
    place = torch.arange(11)
    far = (place[:, None] - place[None]).abs() > width // 2
    expected = dense(x, x, x, attn_mask=far, key_padding_mask=~keep, need_weights=False)[0]
    result = local(x, keep)
    torch.testing.assert_close(result[keep], expected[keep], rtol=1e-5, atol=1e-5)
    assert torch.isfinite(result).all()


def test_level_lengths_and_masks():
    mask = ones(1, 60)
    mask[..., 41:] = False
    for pyramid in (AttentionPyramid(16, 32, (7, 7, 5, 5), 4, 64, 0.0), ConvPyramid(16, 32, 5, "group")):
        levels, masks = pyramid(randn(1, 16, 60), mask)
        assert [level.shape[-1] for level in levels] == [60, 30, 15, 8, 4]
        assert [int(m.sum()) for m in masks] == [41, 21, 11, 6, 3]
        assert pyramid.level_channels == [16, 32, 32, 32, 32]
        assert not any((level * ~m).any() for level, m in zip(levels, masks, strict=True))
        fpn = FPN(pyramid.level_channels, 8, "group")
        assert [tuple(x.shape) for x in fpn(levels, masks)] == [(1, 8, n) for n in (60, 30, 15, 8, 4)]


def test_default_sizes_are_the_releases():
    config = DaoTADConfig()
    assert config.level_widths == (7, 7, 5, 5)
    decoder = DaoTAD(config, 512, 20)
    mask = ones(1, 60)
    out = decoder.eval()(torch.zeros(1, 512, 60), mask)
    assert out.logits.shape == (1, 585, 20)
    assert out.offsets.shape == (1, 585, 2)
    # every anchor starts near the prior
    assert out.logits.sigmoid().mean().item() == pytest.approx(0.01, rel=0.3)


def test_losses_by_plain_loops():
    torch.manual_seed(0)
    decoder = DaoTAD(DaoTADConfig(channels=16, num_heads=2, fpn_channels=16, head_layers=1), 16, 3).eval()
    mask = ones(2, 20)
    mask[1, :, 15:] = False
    outputs = decoder(randn(2, 16, 20), mask)
    outputs.logits.data += randn(*outputs.logits.shape, seed=1)
    outputs.offsets.data += randn(*outputs.offsets.shape, seed=2) * 0.3
    targets = [
        Targets(torch.tensor([[2.0, 6.5], [10.0, 19.0]]), torch.tensor([2, 0])),
        Targets(torch.zeros(0, 2), torch.zeros(0, dtype=torch.long)),
    ]
    losses = decoder.losses(outputs, mask, targets)

    def iou(a, b):
        inter = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
        return inter / (a[1] - a[0] + b[1] - b[0] - inter)

    anchors = outputs.anchors.tolist()
    focal = distance = 0.0
    positives = []
    for sample, target in enumerate(targets):
        segments, labels = target.segments.tolist(), target.labels.tolist()
        table = [
            [iou(a, g) for g in segments] if outputs.valid[sample, i] else None for i, a in enumerate(anchors)
        ]
        best_of = [max(row[g] for row in table if row) for g in range(len(segments))]
        count = 0
        for i, row in enumerate(table):
            if row is None:
                continue
            claims = [g for g, value in enumerate(row) if value == best_of[g]]
            chosen = max(claims or range(len(row)), key=lambda g: row[g], default=None)
            positive = chosen is not None and (bool(claims) or row[chosen] >= 0.6)
            if not positive and chosen is not None and row[chosen] >= 0.4:
                continue
            count += positive
            for k in range(3):
                p = 1 / (1 + math.exp(-outputs.logits[sample, i, k].item()))
                hit = positive and labels[chosen] == k
                focal -= 0.25 * (1 - p) ** 2 * math.log(p) if hit else 0.75 * p**2 * math.log(1 - p)
            if positive:
                (a0, a1), (g0, g1) = anchors[i], segments[chosen]
                move, grow = outputs.offsets[sample, i].tolist()
                centre, half = (a0 + a1) / 2 + move * (a1 - a0), (a1 - a0) * math.exp(min(grow, 1.0)) / 2
                p0, p1 = centre - half, centre + half
                apart, whole = centre - (g0 + g1) / 2, max(p1, g1) - min(p0, g0)
                distance += 1 - iou((p0, p1), (g0, g1)) + apart**2 / (whole**2 + 1e-6)
        positives.append(max(1, count))
    assert positives[0] > 1
    assert losses["classification"].item() == pytest.approx(focal / sum(positives), rel=1e-4)
    assert losses["localization"].item() == pytest.approx(distance / sum(positives), rel=1e-4)
    assert losses["loss"].item() == pytest.approx((focal + distance) / sum(positives), rel=1e-4)


def test_candidates_by_hand():
    config = DaoTADConfig(
        channels=16,
        num_heads=2,
        fpn_channels=16,
        head_layers=0,
        num_levels=1,
        anchors_per_position=1,
        anchor_scale=4,
    )
    decoder = DaoTAD(config, 16, 2).eval()
    mask = ones(1, 6)
    mask[..., 5:] = False
    outputs = decoder(torch.zeros(1, 16, 6), mask)
    outputs.logits.data.fill_(-20)
    outputs.offsets.data.zero_()
    outputs.logits.data[0, 2] = torch.tensor([0.0, math.log(3)])  # two classes of one anchor: .5 and .75
    outputs.offsets.data[0, 2] = torch.tensor([0.25, -math.log(2)])  # centre 2 + 1, length 2
    outputs.logits.data[0, 4, 1] = math.log(9)  # .9, [2, 6] of which 5 is the last edge
    outputs.logits.data[0, 5] = 20  # padding
    candidates = decoder.candidates(outputs, mask)[0]
    assert candidates.scores.tolist() == pytest.approx([0.5, 0.75, 0.9])
    assert candidates.labels.tolist() == [0, 1, 1]
    assert candidates.segments.tolist() == [pytest.approx([2.0, 4.0])] * 2 + [pytest.approx([2.0, 5.0])]


def test_only_the_best_anchors_of_a_level_are_kept():
    config = DaoTADConfig(channels=16, num_heads=2, fpn_channels=16, head_layers=0, candidates_per_level=3)
    decoder = DaoTAD(config, 16, 1).eval()
    outputs = decoder(randn(1, 16, 32), ones(1, 32))
    outputs.logits.data.copy_(randn(*outputs.logits.shape, seed=3))
    candidates = decoder.candidates(outputs, ones(1, 32))[0]
    assert len(candidates.scores) == 15
    levels = outputs.logits[0, :, 0].detach().sigmoid().split(outputs.per_level)
    expected = [score for level in levels for score in level.topk(3).values.tolist()]
    assert sorted(candidates.scores.tolist()) == pytest.approx(sorted(expected))


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"negative_iou": 0.7}, "negative_iou"),
        ({"num_heads": 7}, "num_heads"),
        ({"attention_widths": (4,)}, "odd"),
        ({"heads": 8}, "heads"),
    ],
)
def test_wrong_settings_are_named(values, word):
    with pytest.raises(ValidationError, match=word):
        DaoTADConfig(**values)
