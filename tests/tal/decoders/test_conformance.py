"""The contract of `tal.decoders.base`, held by every decoder: a new one needs a line in `cases.CASES`.

`test_step_totals` holds the same decoders to the other half: a step in parts is the step in one.
"""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file

from tal.decoders import Candidates, Decoder, build_decoder, list_decoders
from tests.tal.decoders.cases import CASES, CHANNELS, CLASSES, FEW, MANY, NOTHING, RELEASE, batch, calm, make

# The releases compute with their padding: whatever stands there reaches the end of the video.
MASKED = [name for name in CASES if name not in RELEASE]


@pytest.fixture
def decoder(name: str) -> Decoder:
    return make(CASES[name])


def assert_same(candidates: Candidates, expected: Candidates) -> None:
    """Of each class the same scores, starts and ends, in any order; places to a thousandth of a position."""
    assert len(candidates) == len(expected)
    for label in range(CLASSES):
        a, b = candidates[candidates.labels == label], expected[expected.labels == label]
        assert len(a) == len(b)
        torch.testing.assert_close(a.scores.sort().values, b.scores.sort().values, rtol=1e-4, atol=1e-6)
        for side in (0, 1):
            edges = (c.segments[:, side].sort().values for c in (a, b))
            torch.testing.assert_close(*edges, rtol=1e-4, atol=1e-3)


def test_every_decoder_is_held_to_the_contract():
    assert {name.split("-")[0] for name in CASES} == set(list_decoders())
    assert all(CASES[name].name == name.split("-")[0] for name in CASES)


@pytest.mark.parametrize("name", CASES)
def test_candidates_are_legal(decoder):
    lengths = [45, 31]
    features, mask = batch(lengths)
    decoder.eval()
    with torch.no_grad():
        samples = decoder.candidates(decoder(features, mask), mask)
    assert len(samples) == len(lengths)
    for candidates, length in zip(samples, lengths, strict=True):
        assert isinstance(candidates, Candidates) and len(candidates) > 0
        assert candidates.segments.shape == (len(candidates), 2)
        assert candidates.labels.shape == candidates.scores.shape == (len(candidates),)
        assert candidates.labels.dtype == torch.long
        assert candidates.labels.min() >= 0 and candidates.labels.max() < CLASSES
        assert ((candidates.scores > decoder.config.min_score) & (candidates.scores <= 1)).all()
        start, end = candidates.segments.unbind(-1)
        assert (end > start).all()
        # each has to do with the video: none lies before its first or behind its last position
        assert (start <= length).all() and (end >= -1).all()


@pytest.mark.parametrize("name", CASES)
def test_gradient_reaches_every_parameter(decoder):
    features, mask = batch([45, 31])
    losses = decoder.losses(decoder(features, mask), mask, [MANY, FEW])
    assert len(losses) > 1 and all(value.ndim == 0 and value.isfinite() for value in losses.values())
    losses["loss"].backward()
    for name, parameter in decoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all() and parameter.grad.any(), name


@pytest.mark.parametrize("name", CASES)
def test_samples_without_actions_or_positions_have_a_finite_loss(decoder):
    features, mask = batch([40, 40])
    mask[1] = False
    losses = decoder.losses(decoder(features, mask), mask, [NOTHING, NOTHING])
    assert all(value.isfinite() for value in losses.values())
    losses["loss"].backward()
    assert all(p.grad.isfinite().all() for p in decoder.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", CASES)
def test_evaluation_moves_no_state(decoder):
    features, mask = batch([40])
    decoder.eval()
    before = {key: value.clone() for key, value in decoder.state_dict().items()}
    outputs = decoder(features, mask)
    losses = [decoder.losses(outputs, mask, [targets])["loss"] for targets in (MANY, NOTHING)]
    assert all(loss.isfinite() for loss in losses) and losses[0] != losses[1]
    assert all(torch.equal(value, before[key]) for key, value in decoder.state_dict().items())


@pytest.mark.parametrize("name", CASES)
def test_a_checkpoint_holds_all_that_training_moved(name, decoder, tmp_path):
    features, mask = batch([45, 31])
    decoder.losses(decoder(features, mask), mask, [MANY, FEW])  # moves normalisers and running statistics
    save_file(decoder.state_dict(), tmp_path / "decoder.safetensors")
    torch.manual_seed(99)
    other = build_decoder(CASES[name], CHANNELS, CLASSES)
    other.load_state_dict(load_file(tmp_path / "decoder.safetensors"), strict=True)
    results = []
    for one in (decoder.eval(), other.eval()):
        with torch.no_grad():
            outputs = one(features, mask)
            results.append((one.candidates(outputs, mask), one.losses(outputs, mask, [MANY, FEW])["loss"]))
    (first, loss), (second, other_loss) = results
    assert torch.equal(loss, other_loss)
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a.scores, b.scores) and torch.equal(a.segments, b.segments)


@pytest.mark.parametrize("name", CASES)
def test_samples_of_a_batch_do_not_touch(decoder):
    features, mask = batch([40, 40, 40])
    mask[1, :, 23:] = False
    mask[2] = False  # a sample of padding only
    decoder.eval()
    with torch.no_grad():
        together = decoder.candidates(decoder(features, mask), mask)
        for index in range(2):
            one = slice(index, index + 1)
            alone = decoder.candidates(decoder(features[one], mask[one]), mask[one])[0]
            assert len(alone) > 0
            assert_same(together[index], alone)
    assert len(together[2]) == 0


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", MASKED)
def test_padding_changes_nothing(decoder, training):
    """Neither its length nor what stands in it; in training too, where statistics are the batch's."""
    decoder = calm(decoder).train(training)
    lengths, targets = [48, 31], [MANY, FEW]  # 48 positions fill every level: at first there is no padding
    results = []
    for padded in (None, 131):
        features, mask = batch(lengths, padded)
        features = torch.where(mask, features, -7.0 if padded else 0.0)
        with torch.no_grad():
            outputs = decoder(features, mask)
            candidates = decoder.candidates(outputs, mask)
            losses = decoder.eval().losses(outputs, mask, targets)  # in training the normaliser would move
        decoder.train(training)
        results.append((candidates, losses))
    (plain, losses), (longer, longer_losses) = results
    for a, b in zip(plain, longer, strict=True):
        assert len(a) > 0
        assert_same(b, a)
    for key, value in losses.items():
        torch.testing.assert_close(longer_losses[key], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", MASKED)
def test_what_stands_in_a_hole_changes_nothing(decoder):
    features, mask = batch([40])
    mask[0, :, 10:14] = False
    decoder.eval()
    with torch.no_grad():
        plain, other = (
            decoder.candidates(decoder(torch.where(mask, features, filling), mask), mask)[0]
            for filling in (0.0, 5.0)
        )
    assert len(plain) > 0
    assert_same(other, plain)


@pytest.mark.parametrize("valid", [1, 2, 13])
@pytest.mark.parametrize("name", MASKED)
def test_short_samples(decoder, valid):
    features, mask = batch([valid], padded=37)
    decoder.eval()
    with torch.no_grad():
        plain = decoder.candidates(decoder(features[..., :valid], mask[..., :valid]), mask[..., :valid])[0]
        padded = decoder.candidates(decoder(features, mask), mask)[0]
    assert_same(padded, plain)


@pytest.mark.parametrize("name", CASES)
def test_half_precision(decoder):
    features, mask = batch([45, 31])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = decoder.losses(decoder(features, mask), mask, [MANY, FEW])
    losses["loss"].backward()
    assert all(value.isfinite() and value.dtype == torch.float32 for value in losses.values())
    assert all(p.grad is not None and p.grad.isfinite().all() for p in decoder.parameters())
