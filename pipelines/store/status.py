"""`longtal store status`: how far extractions are, once or until all is done."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from featstore import FeatureStore
from featstore.filling import Filling, filling
from tal.annotations.clock import clock

_COUNTED = ("complete", "failed", "running", "waiting", "rows", "rows_left")


def watch(stores: Sequence[Path], every_s: float, once: bool = False) -> Iterator[dict[Path, Filling]]:
    """What stores hold: now, and again after each commit until no video waits in any of them.

    Parameters
    ----------
    stores
        Their paths; processes may be writing to them.
    every_s
        Seconds between looks.
    once
        Look once.

    Raises
    ------
    FeatureStoreError
        A store is not there, or cannot be read.
    """
    with ExitStack() as stack:
        opened = {path: stack.enter_context(FeatureStore.open(path)) for path in stores}
        seen: dict[Path, Filling] = {}
        while True:
            found = {path: filling(store) for path, store in opened.items()}
            if found != seen:
                yield found
            if once or all(each.done for each in found.values()):
                return
            seen = found
            time.sleep(every_s)


def as_json(found: dict[Path, Filling]) -> list[dict[str, Any]]:
    """One object a store."""
    return [{"store": str(path), **asdict(each), "eta_s": each.eta_s} for path, each in found.items()]


def line(found: dict[Path, Filling]) -> str:
    """All stores in one line of JSON, for a program that reads lines."""
    return json.dumps(as_json(found), ensure_ascii=False)


def table(found: dict[Path, Filling]) -> pd.DataFrame:
    """A line a store, and one of all where there are several."""
    rows = [_row(str(path), each, each.rows_per_s, each.eta_s) for path, each in found.items()]
    if len(found) > 1:
        rates = [each.rows_per_s for each in found.values() if each.written and each.rows_per_s]
        ends = [each.eta_s for each in found.values() if each.eta_s is not None]
        whole = Filling(
            generation=0,
            **{name: sum(getattr(each, name) for each in found.values()) for name in _COUNTED},
            rows_per_s=sum(rates) or None,
            written=any(each.written for each in found.values()),
        )
        last = max(ends) if len(ends) == len(found) else None  # all are done when the last one is
        rows.append(_row("all", whole, whole.rows_per_s, last))
    return pd.DataFrame(rows)


def _row(name: str, each: Filling, rate: float | None, eta_s: float | None) -> dict[str, object]:
    if each.done:
        end = "done"
    elif not each.written:
        end = "nobody writes"
    else:
        end = "?" if eta_s is None else clock(eta_s)
    total = each.rows + each.rows_left
    return {
        "store": name,
        "done": each.complete,
        "failed": each.failed,
        "running": each.running,
        "waiting": each.waiting,
        "rows": f"{each.rows:,} of {total:,}",
        "rows/s": "" if rate is None else f"{rate:,.0f}",
        "ETA": end,
    }
