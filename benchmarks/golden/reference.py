"""A reference file: tensors by key, and the configuration that they were made with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor


@dataclass(frozen=True)
class Reference:
    """``tensors`` under the keys that tests/golden/README.md lists; ``config`` from the metadata."""

    tensors: dict[str, Tensor]
    config: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> Reference:
        """Everything in a file.

        Raises
        ------
        SafetensorError
            The file is damaged.
        KeyError
            Its metadata has no ``config``.
        """
        with safe_open(path, "pt") as handle:
            metadata = handle.metadata() or {}
            tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
        return cls(tensors, json.loads(metadata["config"]))

    def to(self, device: str) -> Reference:
        """The same with its tensors on a device."""
        return Reference({name: value.to(device) for name, value in self.tensors.items()}, self.config)

    @property
    def device(self) -> torch.device:
        """Where its tensors are."""
        return next(iter(self.tensors.values())).device

    def under(self, prefix: str) -> dict[str, Tensor]:
        """Tensors whose keys begin with ``prefix``, without it."""
        return {k.removeprefix(prefix): v for k, v in self.tensors.items() if k.startswith(prefix)}

    @property
    def samples(self) -> list[int]:
        """Numbers of the samples ``in/<i>/…``."""
        return sorted({int(name.split("/")[0]) for name in self.under("in/")})


def of_decoder(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A localizer's tensors that are its decoder's, under the decoder's own names."""
    prefix = "decoder."
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
