"""A step in parts is the step in one: losses, gradients and normalisers of every decoder."""

import copy

import pytest
import torch

from tal.decoders import Targets, build_decoder, list_decoders
from tal.decoders.afsd import AFSD
from tal.decoders.base import StepTotals
from tal.decoders.cltdr_gmg import CltdrGmgConfig
from tal.decoders.pyramid.decoder import PyramidDecoder
from tal.decoders.tridet import TriDetConfig
from tal.errors import ConfigError
from tests.tal.decoders.cases import CASES, CHANNELS, CLASSES, FEW, MANY, NOTHING, SMALL, STRICT, batch, calm

# Not those whose losses need the whole batch: SimOTA (refused below) and statistics of the batch.
SHARED = [
    name
    for name, config in CASES.items()
    if getattr(config, "assignment", "") != "sim_ota"
    and getattr(config, "norm", "") not in ("batch", "sync_batch")
]
LENGTHS = [45, 31, 20, 40]
ONE = Targets(torch.tensor([[1.0, 3.0]]), torch.tensor([1]))
TARGETS = [MANY, NOTHING, ONE, FEW]


def test_every_decoder_shares_its_steps():
    assert {name.split("-")[0] for name in SHARED} == set(list_decoders())


@pytest.fixture(params=SHARED)
def decoder(request):
    torch.manual_seed(0)  # random numbers of a batch and of its parts are not the same ones: none are drawn
    return calm(build_decoder(CASES[request.param], CHANNELS, CLASSES).train())


def gradients(decoder):
    return {name: p.grad for name, p in decoder.named_parameters() if p.grad is not None}


def in_parts(decoder, sizes, shared=True):
    """Loss of the parts' mean, with its gradients in ``decoder``; ``shared`` False: each for itself."""
    features, mask = batch(LENGTHS)
    parts, first = [], 0
    for size in sizes:
        at = slice(first, first + size)
        parts.append((features[at], mask[at], TARGETS[at]))
        first += size
    sums = [decoder.totals(m, targets) for _, m, targets in parts]
    loss = 0.0
    for index, (x, m, targets) in enumerate(parts):
        totals = None
        if shared and sums[0] is not None:
            totals = StepTotals(torch.stack(sums).sum(0), len(parts), index == len(parts) - 1)
        part = decoder.losses(decoder(x, m), m, targets, totals)["loss"] / len(parts)
        part.backward()
        loss += float(part.detach())
    return loss


@pytest.mark.parametrize("parts", [2, 4])
def test_parts_have_the_gradients_of_the_whole(decoder, parts):
    other = copy.deepcopy(decoder)
    features, mask = batch(LENGTHS)
    for _ in range(2):  # the second step begins from the normaliser that the first one left
        for module in (decoder, other):
            module.zero_grad()
        loss = decoder.losses(decoder(features, mask), mask, TARGETS)["loss"]
        loss.backward()
        assert in_parts(other, [4 // parts] * parts) == pytest.approx(float(loss.detach()), rel=1e-5)
        expected, got = gradients(decoder), gradients(other)
        for name, value in expected.items():
            torch.testing.assert_close(got[name], value, rtol=1e-3, atol=1e-5)
    for (name, one), (_, two) in zip(decoder.named_buffers(), other.named_buffers(), strict=True):
        torch.testing.assert_close(one, two, msg=name)


@pytest.mark.parametrize("name", ["actionformer", "cltdr_gmg-release", "daotad"])
def test_parts_that_know_nothing_of_each_other_differ(name):
    """So the equality above is one of the totals."""
    torch.manual_seed(0)
    decoder = build_decoder(CASES[name], CHANNELS, CLASSES).eval()
    decoder.train(isinstance(decoder, PyramidDecoder))
    features, mask = batch(LENGTHS)
    with torch.no_grad():
        whole = float(copy.deepcopy(decoder).losses(decoder(features, mask), mask, TARGETS)["loss"])
    alone = in_parts(decoder, [1, 1, 1, 1], shared=False)
    assert abs(alone - whole) > 1e-2 * whole


def test_totals_are_known_before_the_outputs(decoder):
    features, mask = batch(LENGTHS)
    totals = decoder.totals(mask, TARGETS)
    if totals is None:
        assert isinstance(decoder, AFSD)  # its losses are means over samples
        return
    assert totals.shape == (1,) and totals[0] > 0 and not totals.requires_grad
    if isinstance(decoder, PyramidDecoder):
        assert totals[0] == decoder.assign(decoder(features, mask), TARGETS).num_positive


def test_totals_move_nothing():
    decoder = build_decoder(CltdrGmgConfig(**SMALL), CHANNELS, CLASSES)
    before = decoder.loss_normaliser.clone()
    decoder.totals(batch(LENGTHS)[1], TARGETS)
    assert torch.equal(decoder.loss_normaliser, before)


@pytest.mark.parametrize(
    ("config", "setting"),
    [
        (TriDetConfig(**SMALL, regression_weight=0), "regression_weight 0"),
        (STRICT["temporalmaxer-ota"], "assignment sim_ota"),
    ],
    ids=["balanced", "sim_ota"],
)
def test_losses_that_need_the_whole_batch_have_no_totals(config, setting):
    decoder = build_decoder(config, CHANNELS, CLASSES)
    with pytest.raises(ConfigError, match=f"{setting}.*accumulate to 1"):
        decoder.totals(batch(LENGTHS)[1], TARGETS)
