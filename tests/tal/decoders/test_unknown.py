"""Where nobody looked for a class nothing is learnt of it: in every decoder, to the last bit."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor

from tal.decoders import Decoder
from tal.decoders.base import UNKNOWN_LABEL, first_label
from tal.decoders.pyramid.decoder import PyramidDecoder
from tal.losses import sigmoid_focal
from tests.tal.decoders.cases import CASES, CLASSES, FEW, LENGTH, MANY, NOTHING, batch, calm, make

LENGTHS = [LENGTH, 31]


def known_of(*unknown: tuple[int, int, int]) -> Tensor:
    """Bool [classes, positions] without these (class, first, last)."""
    known = torch.ones(CLASSES, LENGTH, dtype=torch.bool)
    for label, first, last in unknown:
        known[label, first : last + 1] = False
    return known


# Of the first sample one class whole and a part of another, of the second a stretch of all classes.
KNOWN = [known_of((1, 0, LENGTH), (0, 20, 30)), known_of((0, 10, 25), (1, 10, 25), (2, 10, 25))]
TARGETS = [replace(MANY, known=KNOWN[0]), replace(FEW, known=KNOWN[1])]


def leaves(outputs):
    """The same outputs as leaves of the graph, to ask them for their gradients."""

    def leaf(value):
        if isinstance(value, list | tuple):
            return type(value)(map(leaf, value))
        if isinstance(value, Tensor) and value.is_floating_point():
            return value.detach().clone().requires_grad_()
        return value

    return replace(outputs, **{f.name: leaf(getattr(outputs, f.name)) for f in fields(outputs)})


def class_logits(decoder: Decoder, outputs) -> list[tuple[Tensor, Tensor]]:
    """(places [P], logits with the classes last, [B, P, classes]) of all that says which class goes on."""
    if isinstance(decoder, PyramidDecoder):
        return [
            (torch.arange(logits.shape[2]) * stride, logits)
            for logits, stride in zip(outputs.logits, decoder.config.strides, strict=True)
        ]
    if decoder.config.name == "daotad":
        return [(outputs.anchors.mean(1), outputs.logits)]
    return [(outputs.points[:, 0], part) for part in (outputs.coarse_logits, outputs.refined_logits)]


def by_class(decoder: Decoder, gradient: Tensor) -> Tensor:
    """[B, P, classes]; AFSD's class of all kinds stands for each of them."""
    if isinstance(decoder, PyramidDecoder):
        return gradient.transpose(1, 2)
    if decoder.config.name == "afsd":
        gradient = gradient[..., 1:]
    return gradient.expand(-1, -1, CLASSES) if gradient.shape[2] == 1 else gradient


def is_known(decoder: Decoder, sample: int, label: int, place: float) -> bool:
    """By the definition: somebody looked there, or a true action of the class is there."""
    target, known = TARGETS[sample], KNOWN[sample]
    at = min(round(place), LENGTH - 1)
    kinds = range(CLASSES) if decoder.config.name == "afsd" and decoder.config.labels == "video" else [label]
    inside = [
        int(n)
        for (start, end), n in zip(target.segments, target.labels, strict=True)
        if float(start) - 1 <= place <= float(end) + 1  # an anchor that answers for it may lie beside
    ]
    return all(bool(known[k, at]) for k in kinds) or any(k in inside for k in kinds)


@pytest.mark.parametrize("name", CASES)
def test_gradients_of_what_is_not_known_are_zero(name: str) -> None:
    decoder = calm(make(CASES[name]))
    features, mask = batch(LENGTHS)
    outputs = leaves(decoder(features, mask))
    decoder.losses(outputs, mask, TARGETS)["loss"].backward()
    unknown = learning = 0
    for places, logits in class_logits(decoder, outputs):
        assert logits.grad is not None
        gradient = by_class(decoder, logits.grad)
        for sample, length in enumerate(LENGTHS):
            for index, place in enumerate(places.tolist()):
                for label in range(CLASSES):
                    value = float(gradient[sample, index, label])
                    if not is_known(decoder, sample, label, place):
                        unknown += 1
                        assert value == 0, (sample, label, place)
                    elif place < length:
                        learning += value != 0
    assert unknown > 20 and learning > 20


@pytest.mark.parametrize("name", CASES)
def test_targets_of_which_all_is_known_are_plain_ones(name: str) -> None:
    decoder = calm(make(CASES[name]))
    features, mask = batch(LENGTHS)
    outputs = decoder(features, mask)
    everything = known_of()
    whole = [replace(MANY, known=everything), replace(FEW, known=everything)]
    buffers = {k: v.clone() for k, v in decoder.named_buffers()}
    plain = decoder.losses(outputs, mask, [MANY, FEW])
    decoder.load_state_dict(buffers, strict=False)
    for key, value in decoder.losses(outputs, mask, whole).items():
        assert torch.equal(value, plain[key]), key


@pytest.mark.parametrize("name", ["actionformer", "daotad"])
def test_the_loss_lacks_just_what_is_not_known(name: str) -> None:
    decoder = make(CASES[name]).eval()
    features, mask = batch(LENGTHS)
    targets = [replace(NOTHING, known=KNOWN[0]), replace(NOTHING, known=KNOWN[1])]
    with torch.no_grad():
        outputs = decoder(features, mask)
        plain = decoder.losses(outputs, mask, [NOTHING, NOTHING])["classification"]
        without = decoder.losses(outputs, mask, targets)["classification"]
    lacking = 0.0
    for places, logits in class_logits(decoder, outputs):
        focal = sigmoid_focal(logits, torch.zeros_like(logits))
        focal = focal.transpose(1, 2) if isinstance(decoder, PyramidDecoder) else focal
        for sample, length in enumerate(LENGTHS):
            for index, place in enumerate(places.tolist()):
                if place < length:
                    at = min(round(place), LENGTH - 1)
                    lacking += float(focal[sample, index, ~KNOWN[sample][:, at]].sum())
    normaliser = float(decoder.loss_normaliser) if isinstance(decoder, PyramidDecoder) else len(LENGTHS)
    assert lacking > 0
    assert float(plain - without) == pytest.approx(lacking / normaliser, rel=1e-4)


def test_a_window_of_which_nobody_knows_says_nothing_of_the_video() -> None:
    assert first_label(NOTHING) == -1
    assert first_label(replace(NOTHING, known=KNOWN[0])) == UNKNOWN_LABEL
    assert first_label(TARGETS[1]) == 2
    decoder = make(CASES["afsd"])
    features, mask = batch(LENGTHS)
    outputs = leaves(decoder(features, mask))
    both = decoder.losses(outputs, mask, [replace(NOTHING, known=KNOWN[0]), FEW])["video"]
    alone = torch.nn.functional.cross_entropy(outputs.video_logits[1:], torch.tensor([3]))
    torch.testing.assert_close(both, alone)
    nobody = replace(NOTHING, known=KNOWN[0])
    nothing = decoder.losses(outputs, mask, [nobody, nobody])["video"]
    nothing.backward()
    assert float(nothing.detach()) == 0 and not outputs.video_logits.grad.any()
