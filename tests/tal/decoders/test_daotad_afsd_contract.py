"""What both of TALLFormer's decoders must hold: masks, batches, gradients, checkpoints, learning."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from tal.decoders.afsd import AFSD, AFSDConfig
from tal.decoders.base import Targets
from tal.decoders.daotad import DaoTAD, DaoTADConfig

SMALL_DAOTAD = {"channels": 32, "num_heads": 4, "mlp_channels": 48, "fpn_channels": 32, "head_layers": 2}
RANGES = ((0, 4), (2, 8), (4, 16), (8, 10000))
SMALL_AFSD = {"channels": 32, "upsample": 4, "regression_ranges": RANGES}

CASES = {
    "daotad-attention": (DaoTAD, DaoTADConfig(**SMALL_DAOTAD)),
    "daotad-conv": (DaoTAD, DaoTADConfig(**SMALL_DAOTAD, pyramid="conv")),
    "daotad-batch-norm": (DaoTAD, DaoTADConfig(**SMALL_DAOTAD, norm="batch")),
    "afsd-video": (AFSD, AFSDConfig(**SMALL_AFSD)),
    "afsd-segment": (AFSD, AFSDConfig(**SMALL_AFSD, labels="segment")),
    "afsd-plain": (AFSD, AFSDConfig(**SMALL_AFSD, labels="segment", start_end_weight=0)),
    "afsd-focal": (AFSD, AFSDConfig(**SMALL_AFSD, video_loss="focal", norm="sync_batch")),
}
CHANNELS, CLASSES = 24, 5


@pytest.fixture(params=CASES)
def decoder(request):
    build, config = CASES[request.param]
    torch.manual_seed(0)
    return build(config, CHANNELS, CLASSES).eval()


def sample(length, valid, batch=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(batch, CHANNELS, length, generator=generator)
    mask = torch.zeros(batch, 1, length, dtype=torch.bool)
    mask[..., :valid] = True
    return features, mask


def truth(*segments, labels=None):
    labels = list(range(len(segments))) if labels is None else labels
    return Targets(torch.tensor(segments).reshape(-1, 2), torch.tensor(labels, dtype=torch.long))


MANY = truth(
    [1.0, 3.2], [2.0, 9.0], [4.5, 21.0], [15.0, 18.0], [12.0, 34.0], [1.0, 36.0], labels=[0, 1, 2, 3, 4, 0]
)


@pytest.mark.parametrize("valid", [1, 13, 31, 37])
def test_padding_changes_nothing(decoder, valid):
    features, mask = sample(37, 37, seed=1)
    short_mask = torch.ones(1, 1, valid, dtype=torch.bool)
    targets = [truth([0.0, 0.9], [2.0, 9.0], [4.5, 21.0])]
    with torch.no_grad():
        plain = decoder(features[..., :valid], short_mask)
        mask[..., valid:] = False
        features[..., valid:] = 1e3  # whatever stands in the padding
        filled = decoder(features, mask)
    found, expected = decoder.candidates(filled, mask)[0], decoder.candidates(plain, short_mask)[0]
    assert len(expected.scores) > 0
    order, wanted = (c.scores.argsort(stable=True, descending=True) for c in (found, expected))
    torch.testing.assert_close(found.scores[order], expected.scores[wanted], rtol=1e-4, atol=1e-6)
    # scores may tie: compare what does not depend on the order
    torch.testing.assert_close(found.segments.sum(0), expected.segments.sum(0), rtol=1e-4, atol=1e-3)
    for name, value in decoder.losses(plain, short_mask, targets).items():
        torch.testing.assert_close(decoder.losses(filled, mask, targets)[name], value, rtol=1e-4, atol=1e-5)


def test_training_statistics_ignore_padding(decoder):
    """The same in training mode, where group and batch statistics are those of the batch."""
    for module in decoder.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    decoder.train()
    features, mask = sample(40, 23, batch=2, seed=2)
    targets = [MANY, truth([3.0, 11.0])]
    plain = decoder.losses(decoder(features[..., :23], mask[..., :23]), mask[..., :23], targets)
    features = features.masked_fill(~mask, -50.0)
    padded = decoder.losses(decoder(features, mask), mask, targets)
    for name in plain:
        torch.testing.assert_close(padded[name], plain[name], rtol=1e-4, atol=1e-5)


def test_samples_of_a_batch_do_not_touch(decoder):
    features, mask = sample(32, 32, batch=3, seed=3)
    mask[1, :, 20:] = False
    mask[2] = False  # a sample of padding only
    with torch.no_grad():
        together = decoder.candidates(decoder(features, mask), mask)
        for index in range(2):
            one = slice(index, index + 1)
            alone = decoder.candidates(decoder(features[one], mask[one]), mask[one])[0]
            torch.testing.assert_close(together[index].scores, alone.scores, rtol=1e-4, atol=1e-6)
            torch.testing.assert_close(together[index].segments, alone.segments, rtol=1e-4, atol=1e-4)
    assert len(together[2].scores) == 0


def test_gradient_reaches_every_parameter(decoder):
    decoder.train()
    features, mask = sample(40, 40, batch=2, seed=4)
    losses = decoder.losses(decoder(features, mask), mask, [MANY, truth([3.0, 11.0])])
    parts = {name: value for name, value in losses.items() if name != "loss"}
    assert all(torch.isfinite(value) and value.ndim == 0 for value in losses.values()), losses
    assert parts
    losses["loss"].backward()
    without = [n for n, p in decoder.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not without


def test_samples_without_actions_have_a_finite_loss(decoder):
    decoder.train()
    features, mask = sample(16, 16, batch=2, seed=5)
    mask[1] = False
    nothing = Targets(torch.zeros(0, 2), torch.zeros(0, dtype=torch.long))
    losses = decoder.losses(decoder(features, mask), mask, [nothing, nothing])
    losses["loss"].backward()
    assert torch.isfinite(losses["loss"])
    assert all(torch.isfinite(p.grad).all() for p in decoder.parameters() if p.grad is not None)


def test_checkpoint_round_trip(decoder, tmp_path):
    decoder.train()
    features, mask = sample(24, 24, batch=2, seed=6)
    decoder(features, mask)  # moves running statistics
    decoder.eval()
    save_file(decoder.state_dict(), tmp_path / "decoder.safetensors")
    build = DaoTAD if isinstance(decoder.config, DaoTADConfig) else AFSD
    torch.manual_seed(99)
    other = build(decoder.config, CHANNELS, CLASSES).eval()
    other.load_state_dict(load_file(tmp_path / "decoder.safetensors"), strict=True)
    with torch.no_grad():
        first = decoder.candidates(decoder(features, mask), mask)
        second = other.candidates(other(features, mask), mask)
    for one, two in zip(first, second, strict=True):
        assert torch.equal(one.scores, two.scores)
        assert torch.equal(one.segments, two.segments)


def test_candidates_are_legal(decoder):
    features, mask = sample(50, 41, batch=2, seed=7)
    with torch.no_grad():
        for found in decoder.candidates(decoder(features, mask), mask):
            assert found.segments.shape == (len(found.scores), 2) == (len(found.labels), 2)
            assert ((found.scores > 0) & (found.scores <= 1)).all()
            assert ((found.labels >= 0) & (found.labels < CLASSES)).all()
            assert (found.segments[:, 1] > found.segments[:, 0]).all()
            assert (found.segments >= -1).all()
            assert (found.segments <= 41).all()


def test_autocast(decoder):
    decoder.train()
    features, mask = sample(24, 24, batch=2, seed=8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = decoder.losses(decoder(features, mask), mask, [MANY, truth([3.0, 11.0])])
    losses["loss"].backward()
    assert torch.isfinite(losses["loss"])


@pytest.mark.parametrize(
    "name",
    [
        "daotad-conv",
        "afsd-video",
        pytest.param("daotad-attention", marks=pytest.mark.slow),
        pytest.param("afsd-segment", marks=pytest.mark.slow),
    ],
)
def test_learns_two_videos_by_heart(name):
    """Assignment, losses and decoding fit together: the best candidate of each segment is found again."""
    build, config = CASES[name]
    torch.manual_seed(0)
    decoder = build(config, CHANNELS, CLASSES)
    for module in decoder.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    features, mask = sample(48, 48, batch=2, seed=9)
    targets = [truth([5.0, 11.0], [20.0, 41.0], labels=[3, 3]), truth([13.0, 26.0], labels=[1])]
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=2e-3)
    for _ in range(90):
        optimizer.zero_grad()
        decoder.losses(decoder(features, mask), mask, targets)["loss"].backward()
        optimizer.step()
    decoder.eval()
    with torch.no_grad():
        candidates = decoder.candidates(decoder(features, mask), mask)
    for found, target in zip(candidates, targets, strict=True):
        best = found.scores.argmax()
        assert found.labels[best] == target.labels[0]
        for segment in target.segments:
            strong = found.segments[found.scores > 0.5 * found.scores.max()]
            inter = (strong.clamp(max=segment[1])[:, 1] - strong.clamp(min=segment[0])[:, 0]).clamp(min=0)
            union = (strong[:, 1] - strong[:, 0]) + (segment[1] - segment[0]) - inter
            assert (inter / union).max() > 0.7
