"""A head for more classes: every decoder says of the old ones what it said, to the last bit."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pipelines.config import parse_config, portable_text
from pipelines.train.start import start_from
from tal.decoders import DecoderConfig
from tal.decoders.afsd.decoder import AFSDOutput
from tal.decoders.pyramid.decoder import PyramidDecoder
from tal.errors import ConfigError
from tal.inference.model_folder import write_model
from tal.localizer import Localizer, LocalizerConfig
from tal.memory.network import MemoryNetwork
from tests.tal.decoders.cases import CASES, CHANNELS, batch, calm

OLD, NEW = ("run", "jump"), ("run", "jump", "fly", "swim", "rest")
LENGTHS = [45, 31]


def network(decoder: DecoderConfig, classes: int, seed: int) -> MemoryNetwork:
    torch.manual_seed(seed)
    localizer = Localizer(LocalizerConfig(decoder=decoder, row_loss=1.0), CHANNELS, classes)
    with torch.no_grad():
        for parameter in localizer.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    calm(localizer.decoder)
    return MemoryNetwork(None, localizer).eval()


def saved(old: MemoryNetwork, folder: Path, decoder: DecoderConfig) -> str:
    config = parse_config(
        {
            "localizer": {"decoder": decoder.model_dump(mode="json"), "row_loss": 1.0},
            "window": {"num_rows": 48},
        }
    )
    facts = {"features": {"channels": CHANNELS}}
    return str(write_model(folder, old.state_dict(), portable_text(config), OLD, {}, facts))


def parts(value: object, prefix: str = "") -> dict[str, Tensor]:
    """Every tensor of an output by its place in it."""
    if isinstance(value, Tensor):
        return {prefix: value}
    if isinstance(value, list | tuple):
        return {k: v for i, part in enumerate(value) for k, v in parts(part, f"{prefix}.{i}").items()}
    if hasattr(value, "__dataclass_fields__"):
        return {
            k: v
            for f in fields(value)
            for k, v in parts(getattr(value, f.name), f"{prefix}.{f.name}").items()
        }
    return {}


def of_old_classes(new: Tensor, old: Tensor, background: bool) -> Tensor:
    """Of an axis that is longer for more classes the places of the old ones."""
    for axis, (a, b) in enumerate(zip(old.shape, new.shape, strict=True)):
        if a != b:
            extra = int(background)
            groups = (a - extra) // len(OLD)
            assert (a, b) == (extra + groups * len(OLD), extra + groups * len(NEW)), (old.shape, new.shape)
            if groups == 1:
                return new.narrow(axis, 0, a)
            grouped = new.unflatten(axis, (groups, len(NEW))).narrow(axis + 1, 0, len(OLD))
            return grouped.flatten(axis, axis + 1)
    return new


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_old_classes_are_found_as_before(name: str, tmp_path: Path) -> None:
    decoder = CASES[name]
    old, new = network(decoder, len(OLD), 0), network(decoder, len(NEW), 1)
    start_from(new, saved(old, tmp_path / "model", decoder), NEW)
    features, mask = batch(LENGTHS, padded=48)
    before, after = (n.localizer(features, mask)[0] for n in (old, new))
    one, two = parts(before), parts(after)
    assert one.keys() == two.keys()
    wider = 0
    for key, value in one.items():
        background = isinstance(before, AFSDOutput) and "logits" in key
        kept = of_old_classes(two[key], value, background)
        wider += kept.shape != two[key].shape
        torch.testing.assert_close(kept, value, rtol=1e-5, atol=1e-5, msg=f"{name} {key}")
    assert wider
    if isinstance(new.localizer.decoder, PyramidDecoder):  # a class's own sigmoid: the same candidates
        for x, y in zip(
            old.localizer.candidates(old.localizer(features, mask)),
            new.localizer.candidates(new.localizer(features, mask)),
            strict=True,
        ):
            mine = y[y.labels < len(OLD)]
            strong = x.scores > x.scores.quantile(0.5)
            assert bool(strong.any()) and {*x.labels.tolist()} <= {0, 1}
            theirs = {(int(n), round(float(s), 4)) for n, s in zip(mine.labels, mine.scores, strict=True)}
            own = x[strong]
            assert {
                (int(n), round(float(s), 4)) for n, s in zip(own.labels, own.scores, strict=True)
            } <= theirs


@pytest.mark.parametrize("name", CASES)
def test_weights_of_old_classes_are_kept_exactly(name: str, tmp_path: Path) -> None:
    decoder = CASES[name]
    old, new = network(decoder, len(OLD), 0), network(decoder, len(NEW), 1)
    random = {k: v.clone() for k, v in new.state_dict().items()}
    start_from(new, saved(old, tmp_path / "model", decoder), NEW)
    grown = []
    for key, value in new.state_dict().items():
        was = old.state_dict()[key]
        if value.shape == was.shape:
            assert torch.equal(value, was), key
            continue
        grown.append(key)
        kept = torch.isin(value, was).sum()
        assert kept >= was.numel(), key
        # what is new is as random as it was
        assert int((value == random[key]).sum()) >= value.numel() - was.numel(), key
    assert "localizer.row_classifier.linear.weight" in grown and len(grown) >= 3


def test_rows_of_old_classes_are_scored_as_before(tmp_path: Path) -> None:
    decoder = CASES["actionformer"]
    old, new = network(decoder, len(OLD), 0), network(decoder, len(NEW), 1)
    start_from(new, saved(old, tmp_path / "model", decoder), NEW)
    before, after = (n.localizer.row_classifier for n in (old, new))
    assert before is not None and after is not None
    assert torch.equal(after.linear.weight[: len(OLD)], before.linear.weight)
    assert torch.equal(after.linear.bias[: len(OLD)], before.linear.bias)


def test_classes_in_another_order_are_refused(tmp_path: Path) -> None:
    decoder = CASES["actionformer"]
    model = saved(network(decoder, len(OLD), 0), tmp_path / "model", decoder)
    for labels in (("jump", "run", "fly"), ("run",), ("run", "fly", "jump")):
        with pytest.raises(ConfigError, match="are needed, in its order"):
            start_from(network(decoder, len(labels), 1), model, labels)
    other = CASES["temporalmaxer"]
    with pytest.raises(ConfigError, match="another network"):
        start_from(network(other, len(OLD), 1), model, OLD)
