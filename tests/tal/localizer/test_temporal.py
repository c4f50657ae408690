"""Downsampling and consistency module: masked, positioned, against plain loops."""

import math

import pytest
import torch
import torch.nn.functional as F

from tal.errors import ConfigError
from tal.localizer.consistency import ConsistencyLayer, ConsistencyModule, RelativeBias, TcmConfig
from tal.localizer.downsampling import TemporalDownsampling


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_downsampling_keeps_every_factor_th_position(factor):
    module = TemporalDownsampling(6, 8, factor)
    mask = torch.ones(2, 1, 24, dtype=torch.bool)
    mask[1, :, 13:] = False
    out, out_mask = module(torch.randn(2, 6, 24), mask)
    assert out.shape == (2, 8, 24 // factor)
    assert torch.equal(out_mask, mask[..., ::factor])
    assert (out[1, :, ~out_mask[1, 0]] == 0).all()


def test_downsampling_is_centred_on_the_position_it_keeps():
    module = TemporalDownsampling(1, 1, 4)
    for conv in module.convs:
        torch.nn.init.constant_(conv.weight, 1.0)
        torch.nn.init.zeros_(conv.bias)
    impulse = torch.zeros(1, 1, 32)
    impulse[0, 0, 16] = 1.0
    out, _ = module(impulse, torch.ones(1, 1, 32, dtype=torch.bool))
    centre = (out[0, 0].detach() * torch.arange(8)).sum() / out.detach().sum()
    assert float(centre) == pytest.approx(16 / 4)


@pytest.mark.parametrize("factor", [1, 2, 4])
@pytest.mark.parametrize("layers", [0, 2])
def test_neither_the_content_nor_the_length_of_padding_changes_valid_positions(factor, layers):
    down = TemporalDownsampling(6, 16, factor)
    tcm = ConsistencyModule(16, TcmConfig(layers=layers, heads=4, start="random"), 24).eval()
    features, valid = torch.randn(1, 6, 32), 21
    outputs = []
    for length, filling in ((32, 0.0), (32, 50.0), (48, -3.0)):
        x = torch.full((1, 6, length), filling)
        x[..., :valid] = features[..., :valid]
        mask = (torch.arange(length) < valid)[None, None]
        y, m = down(x, mask)
        y = tcm(y, m)
        assert (y[..., ~m[0, 0]] == 0).all()
        outputs.append(y[..., m[0, 0]])
    torch.testing.assert_close(outputs[0], outputs[1], atol=1e-6, rtol=1e-5)
    if factor > 1 or layers == 0:  # 48 positions at factor 1 are longer than learnt: the bias stretches
        torch.testing.assert_close(outputs[0], outputs[2], atol=1e-5, rtol=1e-5)


def test_attention_equals_plain_loops():
    config = TcmConfig(layers=1, heads=2, drop_path=0.0, start="random")
    layer = ConsistencyLayer(8, config, max_positions=6).eval()
    x = torch.randn(1, 6, 8)
    keep = torch.tensor([True, True, True, True, False, False])
    got = layer(x, keep[None, None, None])
    qkv = F.linear(
        F.layer_norm(x[0], (8,), layer.norm1.weight, layer.norm1.bias), layer.qkv.weight, layer.qkv.bias
    )
    attended = torch.zeros(6, 8)
    for head in range(2):
        at = slice(4 * head, 4 * head + 4)
        q, k, v = qkv[:, :8][:, at], qkv[:, 8:16][:, at], qkv[:, 16:][:, at]
        for i in range(6):
            scores = [
                float(q[i] @ k[j]) / math.sqrt(4) + float(layer.bias.table[i - j + 5, head]) for j in range(4)
            ]
            weights = torch.softmax(torch.tensor(scores), 0)
            attended[i, at] = sum(w * v[j] for j, w in enumerate(weights))
    y = x[0] + F.linear(attended, layer.project.weight, layer.project.bias)
    y = y + layer.mlp(layer.norm2(y))
    torch.testing.assert_close(got[0], y, atol=1e-5, rtol=1e-5)


def test_the_bias_of_longer_windows_is_the_learnt_one_stretched():
    bias = RelativeBias(heads=3, max_positions=5)
    with torch.no_grad():  # a bias linear in the distance stays linear: the farthest pairs keep theirs
        bias.table.copy_(torch.linspace(-1, 1, 9)[:, None].expand(9, 3))
    for length in (5, 9, 17):
        got = bias(length)
        assert got.shape == (3, length, length)
        i = torch.arange(length)
        expected = (i[:, None] - i[None]) / (length - 1)
        torch.testing.assert_close(got[0], expected.float(), atol=1e-6, rtol=1e-5)
    with torch.no_grad():
        bias.table.copy_(torch.arange(27.0).view(9, 3))
    # a shorter window uses the very entries of its distances, unstretched
    assert torch.equal(bias(3), bias(5)[:, :3, :3])


def test_layers_start_apart_and_a_window_of_padding_gives_zeros():
    tcm = ConsistencyModule(8, TcmConfig(layers=3, heads=2), 8).eval()
    assert not torch.equal(tcm.layers[0].qkv.weight, tcm.layers[1].qkv.weight)
    out = tcm(torch.randn(2, 8, 8), torch.zeros(2, 1, 8, dtype=torch.bool))
    assert torch.equal(out, torch.zeros_like(out))
    with pytest.raises(ConfigError, match="power of two"):
        TemporalDownsampling(4, 4, 3)


def test_a_fresh_consistency_module_leaves_the_rows_as_they_are_and_still_learns():
    x, mask = torch.randn(2, 16, 24), torch.ones(2, 1, 24, dtype=torch.bool)
    mask[1, :, 13:] = False
    x = x * mask
    config = TcmConfig(layers=3, heads=4)
    tcm = ConsistencyModule(16, config, 24)
    out = tcm(x, mask)
    assert torch.equal(out, x)
    (out * torch.randn_like(out)).sum().backward()
    for layer in tcm.layers:
        assert layer.project.weight.grad.abs().sum() > 0 and layer.mlp.fc2.weight.grad.abs().sum() > 0
    released = ConsistencyModule(16, config.model_copy(update={"start": "random"}), 24).eval()
    assert (released(x, mask) - x).abs().max() > 0.1
