"""Put adapters into an encoder and let its own weights rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from tal.encoders.adapters.bottleneck import Bottleneck
from tal.encoders.adapters.low_rank import add_low_rank
from tal.encoders.adapters.places import AdapterPlace
from tal.encoders.config import AdapterConfig
from tal.errors import ConfigError


def choose_places(
    places: Sequence[AdapterPlace], frozen_stages: int, blocks: int | None, name: str
) -> list[AdapterPlace]:
    """The places behind the frozen stages; of these the last ``blocks``, all without a number.

    Raises
    ------
    ConfigError
        there are fewer.
    """
    behind = [place for place in places if place.stage > frozen_stages]
    if not behind or (blocks or 0) > len(behind):
        raise ConfigError(
            f"{name} has {len(behind)} blocks behind encoder.frozen_stages {frozen_stages}; "
            f"encoder.adapter.blocks {'none' if blocks is None else blocks} does not fit"
        )
    return behind if blocks is None else behind[-blocks:]


def attach(places: Sequence[AdapterPlace], config: AdapterConfig, name: str) -> dict[str, nn.Module]:
    """Adapt the output of each place.

    Returns
    -------
    dict
        the bottlenecks by number of the place; empty for `lora`, whose parts are the projections' own.
    """
    adapters: dict[str, nn.Module] = {}
    for number, place in enumerate(places):
        if config.kind == "lora":
            add_low_rank(place.module, config.ratio, name)
            continue
        kernel = config.kernel if config.kind == "temporal" else 0
        hidden = max(1, round(config.ratio * place.channels))
        adapter = Bottleneck(place.channels, hidden, kernel, place.norm)
        adapters[str(number)] = adapter
        place.module.register_forward_hook(_Adapt(adapter, place))
    return adapters


class _Adapt:
    """A hook that adapts a module's output; of several outputs the first."""

    def __init__(self, adapter: Bottleneck, place: AdapterPlace) -> None:
        self.adapter, self.place = adapter, place

    def __call__(self, module: nn.Module, inputs: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            return (self._adapted(output[0]), *output[1:])
        return self._adapted(output)

    def _adapted(self, x: Tensor) -> Tensor:
        return self.place.from_grid(self.adapter(self.place.to_grid(x)), x)
