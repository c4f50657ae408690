"""The contract, held by every family of encoders: a new family needs a line in `tiny.TINY`, nothing here."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from tal.encoders import Encoder, EncoderConfig, EncoderEntry, list_encoders
from tal.encoders.build import create_encoder
from tal.encoders.registry import FAMILIES, find_entry, find_family
from tal.errors import ConfigError
from tests.tal.encoders.tiny import TINY, calm, clips, config, plain

NAMES = list(TINY)
_HEAVY = ("mvit_v2_s", "r2plus1d_18", "s3d", "i3d")
SOME_SLOW = [pytest.param(n, marks=pytest.mark.slow) if n in _HEAVY else n for n in NAMES]


@pytest.fixture
def encoder(name: str) -> Iterator[Encoder]:
    torch.manual_seed(0)
    yield plain(name)
    calm(plain(name))


def test_every_family_is_held_to_the_contract() -> None:
    tested = {id(find_family(name)[0]) for name in NAMES}
    assert tested == {id(family) for family in FAMILIES}
    assert len({e.name for e in list_encoders()}) == len(list_encoders())
    for family in FAMILIES:
        assert all(find_entry(alias) in family.entries for alias in family.aliases)


@pytest.mark.parametrize("name", NAMES)
def test_rows_have_their_shape_and_depend_on_their_own_clip_only(name: str, encoder: Encoder) -> None:
    frames = clips(name, 3)
    changed = frames.clone()
    changed[1] += 1
    with torch.no_grad():
        rows, others = encoder(frames), encoder(changed)
        alone = torch.cat([encoder(f[None]) for f in frames])
    assert rows.shape == (3, encoder.channels, encoder.grid.rows_per_clip)
    assert torch.isfinite(rows).all()
    assert torch.equal(rows[[0, 2]], others[[0, 2]]) and not torch.equal(rows[1], others[1])
    # kernels may round differently for another batch size
    torch.testing.assert_close(rows, alone, atol=1e-4, rtol=1e-4)
    assert len(encoder.weights_sha256) == 64
    with pytest.raises(ConfigError, match="takes frames"):
        encoder(frames[:, :2])


@pytest.mark.parametrize("name", NAMES)
def test_gradient_reaches_every_parameter_and_statistics_stay(name: str, encoder: Encoder) -> None:
    encoder.train()
    before = {k: v.clone() for k, v in encoder.named_buffers()}
    encoder(clips(name)).square().mean().backward()
    assert all(p.requires_grad for p in encoder.parameters())
    assert not [k for k, p in encoder.named_parameters() if p.grad is None]
    assert all(torch.equal(v, before[k]) for k, v in encoder.named_buffers())
    assert not any(m.training for m in encoder.modules() if isinstance(m, _BatchNorm))


@pytest.mark.parametrize("name", SOME_SLOW)
def test_checkpointing_changes_nothing(name: str, encoder: Encoder) -> None:
    encoder.train()
    frames = clips(name)
    rows = encoder(frames)
    rows.square().mean().backward()
    second = create_encoder(config(name, checkpointing=True)).train()
    second.load_state_dict(encoder.state_dict())
    again = second(frames)
    again.square().mean().backward()
    torch.testing.assert_close(again, rows)
    for (key, a), (_, b) in zip(encoder.named_parameters(), second.named_parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, msg=key)


@pytest.mark.parametrize("name", NAMES)
def test_frozen_stages_do_not_learn(name: str) -> None:
    def parameters(parts: list[list[nn.Module | nn.Parameter]]) -> list[nn.Parameter]:
        flat = [p for stage in parts for p in stage]
        return [q for p in flat for q in (p.parameters() if isinstance(p, nn.Module) else [p])]

    with torch.device("meta"):  # no weights are needed to see who learns
        frozen = create_encoder(config(name, frozen_stages=1))
    assert len(frozen.stages()) >= 3
    frozen.freeze(1)
    frozen.train()
    early, late = parameters(frozen.stages()[:2]), parameters(frozen.stages()[2:])
    assert {id(p) for p in early + late} <= {id(p) for p in frozen.parameters()}
    assert early and not any(p.requires_grad for p in early) and all(p.requires_grad for p in late)
    assert not any(m.training for s in frozen.stages()[:2] for m in s if isinstance(m, nn.Module))
    with pytest.raises(ConfigError, match="stages"):
        frozen.freeze(99)


@pytest.mark.parametrize("entry", list_encoders(), ids=lambda entry: entry.name)
def test_lists_say_what_the_networks_are(entry: EncoderEntry) -> None:
    settings = EncoderConfig(
        name=entry.name,
        clip_frames=entry.clip_frames,
        frame_stride=entry.frame_stride,
        size=entry.size,
        crop=entry.crop,
    )
    with torch.device("meta"):
        encoder = create_encoder(settings)
    assert (encoder.channels, encoder.own_stride) == (entry.channels, entry.frame_stride)


def test_lists_load_no_network_library() -> None:
    code = "import sys, tal.encoders; assert not {'timm', 'torchvision', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
