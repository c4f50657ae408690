"""What a section finds: figures and checks, on the disk after each, so that a killed one leaves some."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

NOT_ON_CPU = "not run on CPU"


class Results:
    """Figures by their key in the report, and checks; each call writes all of them to ``path``."""

    def __init__(self, path: Path, on_cuda: bool) -> None:
        self.path, self.on_cuda = path, on_cuda
        self.figures: dict[str, Any] = {}
        self.checks: list[dict[str, Any]] = []

    def put(self, key: str, value: Any) -> None:
        """One figure, or one object of them."""
        self.figures[key] = value
        self._write()

    def add(self, key: str, row: dict[str, Any]) -> None:
        """A row of a list of figures; ``a.b`` is the list b of the object a."""
        outer, _, inner = key.partition(".")
        if inner:
            rows = self.figures.setdefault(outer, {}).setdefault(inner, [])
        else:
            rows = self.figures.setdefault(outer, [])
        rows.append(row)
        self._write()

    def check(
        self,
        name: str,
        ok: bool | None,
        value: float | int | str | None = None,
        limit: float | int | str | None = None,
        unit: str = "",
        note: str = "",
        needs_cuda: bool = False,
    ) -> None:
        """Whether something holds.

        Parameters
        ----------
        ok
            None: it could not be looked at; ``note`` says why.
        value, limit, unit
            what was measured, and what it is held against.
        needs_cuda
            on a CPU it says nothing, whatever came out: not run.
        """
        if needs_cuda and not self.on_cuda:
            ok, note = None, NOT_ON_CPU
        self.checks.append(
            {"name": name, "ok": ok, "value": value, "limit": limit, "unit": unit, "note": note}
        )
        self._write()

    def _write(self) -> None:
        beside = self.path.with_suffix(".part")
        beside.write_text(json.dumps({"figures": self.figures, "checks": self.checks}, default=_plain))
        os.replace(beside, self.path)


def _plain(value: Any) -> Any:
    """NumPy's and torch's numbers as Python's."""
    return value.item()


@dataclass(frozen=True)
class Workplace:
    """What a section works with.

    Attributes
    ----------
    device
        ``cpu``, or ``cuda:0``, which is the chosen card whatever its number (see the runner).
    folder
        that sections share: the videos, and what later ones need of earlier ones.
    golden
        folder of the reference tensors; it need not be there.
    toy
        everything as small as it gets.
    """

    device: str
    folder: Path
    golden: Path
    results: Results
    toy: bool

    @property
    def on_cuda(self) -> bool:
        return self.device != "cpu"

    def able(self, precisions: Sequence[str]) -> list[str]:
        """Those of the precisions that are computed here: a CPU's half precision says nothing of CUDA's.

        Its autocast has other lists of operations, and its kernels are others.
        """
        return [p for p in precisions if self.on_cuda or p in ("fp32", "tf32")]

    @property
    def where(self) -> torch.device:
        return torch.device(self.device)

    @property
    def kind(self) -> str:
        """The device as ``train.device`` names it."""
        return self.where.type
