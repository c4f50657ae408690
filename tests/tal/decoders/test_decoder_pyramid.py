"""The pyramid decoders and their variants, beyond what every decoder holds (`test_conformance`)."""

import math

import pytest
import torch
from pydantic import ValidationError

from tal.decoders import Targets, build_decoder
from tal.decoders.actionformer import ActionFormerConfig
from tal.decoders.cltdr_gmg import CltdrGmgConfig
from tal.decoders.cltdr_gmg.spectral import SpectralMixer
from tal.decoders.pyramid.heads import LevelLayout
from tal.decoders.temporalmaxer import TemporalMaxerConfig
from tal.decoders.tridet import TriDetConfig
from tests.tal.decoders.cases import (
    CHANNELS,
    CLASSES,
    NOTHING,
    PYRAMID,
    RELEASE,
    SMALL,
    STRICT,
    TRIDENT,
    batch,
    make,
)

TARGETS = [
    Targets(torch.tensor([[2.0, 9.0], [11.0, 30.0], [11.0, 30.0]]), torch.tensor([0, 2, 1])),
    NOTHING,
]


@pytest.mark.parametrize("name", PYRAMID)
def test_parts_of_the_loss_and_the_shortest_candidate(name):
    decoder = make(PYRAMID[name]).eval()
    features, mask = batch([45, 31])
    with torch.no_grad():
        outputs = decoder(features, mask)
        losses = decoder.losses(outputs, mask, TARGETS)
        nothing = decoder.losses(outputs, mask, [NOTHING, NOTHING])
        candidates = decoder.candidates(outputs, mask)
    assert set(losses) == {"loss", "classification", "regression"} and losses["regression"] > 0
    assert nothing["regression"] == 0 and nothing["loss"] == nothing["classification"] > 0
    for segments in (c.segments for c in candidates):
        assert (segments[:, 1] - segments[:, 0] > decoder.config.min_duration).all()


def largest_difference(a, b, lengths):
    """Over valid positions of all maps of two outputs."""
    worst = 0.0
    for field in ("logits", "offsets", "start", "end", "start_shift", "end_shift", "confidence"):
        levels_a, levels_b = getattr(a, field), getattr(b, field)
        for level, (x, y) in enumerate(zip(levels_a or [], levels_b or [], strict=True)):
            for sample, length in enumerate(lengths):
                stop = -(-length // 2**level)
                worst = max(worst, float((x[sample, :, :stop] - y[sample, :, :stop]).abs().max()))
    return worst


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", STRICT)
def test_padding_changes_no_valid_output(name, training):
    config = STRICT[name].model_copy(update={"drop_path": 1e-30})
    decoder = make(config).train(training)
    lengths = [45, 31]
    features, mask = batch(lengths)
    with torch.no_grad():
        plain = decoder(features, mask)
        # garbage in the padding must not matter either
        longer, longer_mask = batch(lengths, padded=131)
        longer = torch.where(longer_mask, longer, 7.0)
        assert largest_difference(plain, decoder(longer, longer_mask), lengths) < 1e-5
        for sample, length in enumerate(lengths):
            alone = decoder(features[sample : sample + 1, :, :length], mask[sample : sample + 1, :, :length])
            single = [
                type(plain)(
                    **{
                        key: [m[sample : sample + 1] for m in value] if isinstance(value, list) else value
                        for key, value in vars(plain).items()
                    }
                )
            ][0]
            assert largest_difference(single, alone, [length]) < 1e-5


def test_the_release_depends_on_its_padding():
    """The fault that strict masking mends is really there, and of the size that makes it worth mending."""
    for name in ("tridet-release", "cltdr_gmg-release"):
        decoder = make(RELEASE[name]).eval()
        with torch.no_grad():
            features, mask = batch([45], padded=64)
            longer, longer_mask = batch([45], padded=128)
            assert largest_difference(decoder(features, mask), decoder(longer, longer_mask), [45]) > 1e-3


def test_scores_start_at_the_prior():
    features, mask = batch([64])
    means = {}
    for rule in ("residual", "product", "product_logits"):
        torch.manual_seed(0)
        decoder = build_decoder(CltdrGmgConfig(**TRIDENT, score_rule=rule), CHANNELS, CLASSES).eval()
        with torch.no_grad():
            scores = decoder.level_scores(decoder(features, mask), 0)
        means[rule] = float(scores.mean())
    assert means["residual"] < 0.05 and means["product"] < 0.03
    assert means["product_logits"] > 0.3  # the released rule


ABLATIONS = [
    *(
        {"granularities": g}
        for g in [("instant",), ("local",), ("global",), ("instant", "local"), ("local", "global")]
    ),
    {"gate": "none"},
    {"gate": "linear"},
    {"global_mixer": "attention"},
    *({"class_neighbours": n} for n in ("none", "finer", "both")),
    *({"regression_neighbours": n} for n in ("none", "coarser", "both")),
    *({"refine": r} for r in ("none", "class", "offsets")),
    *({"fusion": f} for f in ("addition", "concat")),
    *({"refined_cls_loss": k} for k in ("focal", "quality_focal", "varifocal_label")),
    *({"boundary_input": b} for b in ("pyramid", "regression")),
    {"regression_loss": "giou", "assignment": "inside", "regression_weight": 0.0, "label_smoothing": 0.1},
    {"shift_unit": "grid", "first_level": 1, "cls_loss": "quality_focal"},
    {"embed_norm": False, "head_norm": False, "neck_norm": "none", "input_groups": ((8, 16), (4, 16))},
    {"head_layers": 1, "head_kernel": 5, "boundary_kernel": 1, "stem_layers": 0, "embed_layers": 1},
]


@pytest.mark.parametrize("changes", ABLATIONS, ids=str)
def test_ablations_train_and_keep_to_the_mask(changes):
    config = CltdrGmgConfig(**{**TRIDENT, **changes})
    decoder = make(config)
    features, mask = batch([45, 31])
    decoder.losses(decoder(features, mask), mask, TARGETS)["loss"].backward()
    if config.refine in ("both",):
        assert all(p.grad is not None for p in decoder.parameters())
    decoder.eval()
    longer, longer_mask = batch([45, 31], padded=100)
    with torch.no_grad():
        outputs = decoder(features, mask), decoder(longer, longer_mask)
        a, b = (decoder.candidates(o, m) for o, m in zip(outputs, (mask, longer_mask), strict=True))
    for x, y in zip(a, b, strict=True):
        torch.testing.assert_close(x.scores.sort().values, y.scores.sort().values, atol=1e-5, rtol=1e-4)


def test_switches_change_the_result():
    features, mask = batch([45])
    torch.manual_seed(0)
    reference = build_decoder(CltdrGmgConfig(**TRIDENT), CHANNELS, CLASSES).eval()
    state = {**reference.state_dict()}
    state = {k: v + 0.1 * torch.randn_like(v) for k, v in state.items()}
    for changes in ({"gate": "none"}, {"gate": "linear"}, {"score_rule": "product"}, {"shift_unit": "grid"}):
        outputs = []
        for config in (CltdrGmgConfig(**TRIDENT), CltdrGmgConfig(**TRIDENT, **changes)):
            decoder = build_decoder(config, CHANNELS, CLASSES).eval()
            decoder.load_state_dict(state)
            with torch.no_grad():
                candidates = decoder.candidates(decoder(features, mask), mask)[0]
            outputs.append(torch.cat((candidates.segments.sum(1)[-9:], candidates.scores[-9:])))
        assert not torch.allclose(*outputs, atol=1e-4), changes


def test_heads_on_joined_levels_equal_heads_on_each_level():
    decoder = make(STRICT["tridet"]).eval()
    features, mask = batch([64])
    with torch.no_grad():
        pyramid = decoder.pyramid(features, mask)
        outputs = decoder.heads(pyramid, 64)
        for level, (x, m) in enumerate(zip(pyramid.maps, pyramid.masks, strict=True)):
            alone = decoder.class_head(x, LevelLayout.build([m], 0))[0]
            torch.testing.assert_close(alone, outputs.logits[level], atol=1e-5, rtol=1e-4)


def test_release_variant_pads_as_the_release():
    config = ActionFormerConfig(**SMALL, masking="release", pad_multiple=24)
    decoder = build_decoder(config, CHANNELS, CLASSES)
    assert [decoder.padded_length(n) for n in (1, 64, 65, 72, 73)] == [64, 64, 72, 72, 96]
    strict = build_decoder(ActionFormerConfig(**SMALL), CHANNELS, CLASSES)
    assert [strict.padded_length(n) for n in (1, 64, 65)] == [8, 64, 72]


def test_normaliser_is_updated_once_or_as_released_twice():
    features, mask = batch([45, 31])
    for config, times in ((STRICT["cltdr_gmg"], 1), (RELEASE["cltdr_gmg-release"], 2), (STRICT["tridet"], 1)):
        decoder = make(config)
        outputs = decoder(features, mask)
        positives = float(decoder.assign(outputs, TARGETS).num_positive)
        decoder.losses(outputs, mask, TARGETS)
        expected = 100.0
        for _ in range(times):
            expected = 0.9 * expected + 0.1 * max(positives, 1.0)
        assert float(decoder.loss_normaliser) == pytest.approx(expected, rel=1e-5)


FAMILY = ["actionformer", "temporalmaxer", "tridet", "cltdr_gmg"]


@pytest.mark.parametrize("name", FAMILY)
def test_half_precision_changes_little(name):
    """bf16 autocast, losses included: scores within .005, the loss within .5 %, cosine of gradients .98."""
    features, mask = batch([64])
    scores, losses, gradients = [], [], []
    for half in (False, True):
        decoder = make(STRICT[name].model_copy(update={"drop_path": 1e-30}), scale=0.2)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            outputs = decoder(features, mask)
            loss = decoder.losses(outputs, mask, TARGETS[:1])["loss"]
        loss.backward()
        losses.append(float(loss.detach()))
        gradients.append(torch.cat([p.grad.flatten() for p in decoder.parameters()]))
        scores.append([decoder.level_scores(outputs, level).detach() for level in range(4)])
        assert all(t.dtype == torch.float32 for t in (loss, decoder.loss_normaliser, *scores[-1]))
    for plain, half in zip(*scores, strict=True):
        assert float((plain - half).abs().max()) < 0.005
    assert losses[1] == pytest.approx(losses[0], rel=0.005)
    assert float(torch.cosine_similarity(*gradients, dim=0)) > 0.98


def test_the_transform_stays_in_single_precision():
    """Half precision reaches the spectral filter as rounded input only: no sum of it is rounded."""
    torch.manual_seed(0)
    mixer = SpectralMixer(8)
    u = torch.randn(2, 8, 33).bfloat16()
    with torch.no_grad():
        expected = mixer(u.float(), [33, 20])
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = mixer(u, [33, 20])
    assert mixed.dtype == torch.bfloat16
    torch.testing.assert_close(mixed, expected.bfloat16(), rtol=0, atol=0)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
@pytest.mark.parametrize("name", FAMILY)
def test_compiled_equals_eager(name, backend):
    """Outputs within 1e-4, the loss and its gradients within 1e-4 of their size.

    Two levels, since each is compiled anew.
    """
    few = {"levels": 2, "stem_layers": min(1, STRICT[name].stem_layers), "drop_path": 1e-30}
    config = STRICT[name].model_copy(update=few)
    features, mask = batch([64, 40])
    results = []
    for compiled in (False, True):
        torch._dynamo.reset()
        decoder = make(config)
        forward = torch.compile(decoder, backend=backend) if compiled else decoder
        outputs = forward(features, mask)
        loss = decoder.losses(outputs, mask, TARGETS)["loss"]
        loss.backward()
        gradient = torch.cat([p.grad.flatten() for p in decoder.parameters()])
        results.append((outputs, float(loss.detach()), gradient))
    (plain, plain_loss, plain_gradient), (outputs, loss, gradient) = results
    with torch.no_grad():
        assert largest_difference(plain, outputs, [64, 40]) < 1e-4
    assert loss == pytest.approx(plain_loss, rel=1e-4)
    assert float((gradient - plain_gradient).norm() / plain_gradient.norm()) < 1e-4


def test_one_overfits_a_batch():
    """A few steps on one batch lower the loss and find the actions."""
    torch.manual_seed(0)
    decoder = build_decoder(
        CltdrGmgConfig(**{**TRIDENT, "drop_path": 0.0, "initial_normaliser": 10.0}), CHANNELS, CLASSES
    )
    features, mask = batch([64])
    features[0, 0, 20:33] += 6
    target = [Targets(torch.tensor([[20.0, 32.0]]), torch.tensor([1]))]
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=3e-3)
    for _ in range(60):
        loss = decoder.losses(decoder(features, mask), mask, target)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    decoder.eval()
    with torch.no_grad():
        candidates = decoder.candidates(decoder(features, mask), mask)[0]
    best = int(candidates.scores.argmax())
    assert int(candidates.labels[best]) == 1
    start, end = candidates.segments[best].tolist()
    assert (min(end, 32) - max(start, 20)) / (max(end, 32) - min(start, 20)) > 0.7


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (lambda: ActionFormerConfig(window=(3, 3)), "window has 2 entries for 6 levels"),
        (lambda: ActionFormerConfig(embed_dim=30), "not a multiple of heads"),
        (lambda: TriDetConfig(window=4), "even"),
        (lambda: CltdrGmgConfig(granularities=()), "at least one"),
        (lambda: CltdrGmgConfig(regression_ranges=((0, 4),)), "1 entries for 6 levels"),
        (lambda: CltdrGmgConfig(head_kernel=2), "odd"),
        (lambda: TemporalMaxerConfig(neck_norm="group", neck_groups=5), "not a multiple of neck_groups"),
    ],
)
def test_impossible_configurations_say_why(config, message):
    with pytest.raises(ValidationError, match=message):
        config()


def test_default_ranges_double():
    assert ActionFormerConfig().ranges == ((0, 4), (4, 8), (8, 16), (16, 32), (32, 64), (64, 10000))
    assert math.isclose(CltdrGmgConfig(levels=7).ranges[5][1], 128)
