"""The device that commands compute on; CUDA stood in for."""

from __future__ import annotations

import pytest
import torch

from tal.device import choose_device
from tal.errors import ConfigError


@pytest.mark.parametrize(("name", "current"), [("cuda:3", [3]), ("cuda", []), ("cpu", [])])
def test_the_chosen_gpu_is_the_current_one(
    name: str, current: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a number it is already; `set_device` refuses such a name."""
    chosen: list[int] = []
    monkeypatch.setattr(torch, "zeros", lambda *_args, **_kwargs: None)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: chosen.append(device.index))
    assert choose_device(name) == torch.device(name)
    assert chosen == current


def test_a_gpu_that_is_not_there_is_refused_and_not_made_current(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_args: object, **_kwargs: object) -> None:
        raise RuntimeError("invalid device ordinal\nmore")

    chosen: list[object] = []
    monkeypatch.setattr(torch, "zeros", absent)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    with pytest.raises(ConfigError, match=r"'cuda:77' is not available here: invalid device ordinal$"):
        choose_device("cuda:77")
    assert not chosen
