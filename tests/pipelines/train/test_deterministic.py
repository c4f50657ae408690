"""`train.deterministic`: what is switched, and that nothing stays switched where nobody asked."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from pipelines.config import parse_config
from pipelines.train.setup import build_accelerator

FUSED = ("flash_sdp", "mem_efficient_sdp", "cudnn_sdp")


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = {name: getattr(torch.backends.cuda, f"{name}_enabled")() for name in FUSED}
    yield
    torch.use_deterministic_algorithms(False)
    for name, enabled in before.items():
        getattr(torch.backends.cuda, f"enable_{name}")(enabled)


def run(deterministic: bool) -> set[str]:
    """Fused attentions that are left on."""
    config = parse_config({"train": {"device": "cpu", "deterministic": deterministic}})
    build_accelerator(config)
    return {name for name in FUSED if getattr(torch.backends.cuda, f"{name}_enabled")()}


@pytest.mark.parametrize("card", [True, False])
def test_deterministic_runs_keep_off_fused_attention_where_there_is_a_card(card, monkeypatch):
    """Its gradients are summed in any order there, as torch says under its warning; a CPU's are not."""
    every = {name for name in FUSED if getattr(torch.backends.cuda, f"{name}_enabled")()}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: card)
    assert run(deterministic=False) == every
    assert not torch.are_deterministic_algorithms_enabled()
    assert run(deterministic=True) == (set() if card else every)
    assert torch.are_deterministic_algorithms_enabled()
