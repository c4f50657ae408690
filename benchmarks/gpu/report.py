"""The report: one JSON file, written again after each section."""

from __future__ import annotations

import copy
import datetime
import json
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.shared.files import write_text
from pipelines.shared.provenance import git_revision

if TYPE_CHECKING:
    from benchmarks.gpu.runner import Outcome

# Every key that a section may fill, as it is without that section.
_EMPTY: dict[str, Any] = {
    "env": {},
    "equality": {"encoders": [], "decoders": []},
    "golden": [],
    "steps": [],
    "scaler": {},
    "resume": [],
    "extract": [],
    "memory": [],
    "memory_fit": {},
    "train": [],
    "plan": [],
    "predict": [],
}


class Report:
    """What all sections found.

    Attributes
    ----------
    checks
        of all sections; each section has one of its own, ``NAME.ran``, which fails where it crashed, was
        killed or had no time.
    """

    def __init__(self, path: Path, device: str) -> None:
        self.path, self.device = path, device
        self.checks: list[dict[str, Any]] = []
        self._started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self._commit = git_revision()
        self._begin = time.monotonic()
        self._figures = copy.deepcopy(_EMPTY)
        self._skipped: dict[str, str] = {}
        self._seconds: dict[str, float] = {}
        self._said: dict[str, list[str]] = {}

    @property
    def passed_s(self) -> float:
        """Seconds since the begin."""
        return time.monotonic() - self._begin

    @property
    def ok(self) -> bool | None:
        """False: a check fails; None: none does, and some could not be run here."""
        verdicts = {check["ok"] for check in self.checks}
        return False if False in verdicts else None if None in verdicts or not verdicts else True

    def take(self, name: str, outcome: Outcome) -> None:
        """Take in what a section found, and write."""
        for key, value in outcome.figures.items():
            assert key in _EMPTY, f"{name} reports {key!r}, which the report does not have"
            self._figures[key] = self._figures[key] | value if isinstance(value, dict) else value
        self._seconds[name] = round(outcome.seconds, 1)
        if outcome.said:
            self._said[name] = outcome.said
        self.checks += [*outcome.checks, _ran(name, outcome.fault)]
        self.write()

    def skip(self, name: str, why: str) -> None:
        """Note a section that was not begun, and write."""
        self._skipped[name] = why
        self.checks.append(_ran(name, f"skipped: {why}"))
        self.write()

    def leave_out(self, name: str) -> None:
        """Note a section that was not asked for; it is not missed."""
        self._skipped[name] = "not asked for"

    def write(self) -> None:
        tree = {
            "version": 1,
            "commit": self._commit,
            "started": self._started,
            "seconds": round(self.passed_s, 1),
            "ok": self.ok,
            "device": self.device,
            "section_s": self._seconds,
            "checks": self.checks,
            **self._figures,
            "skipped": self._skipped,
            "said": self._said,
        }
        write_text(self.path, json.dumps(_finite(tree), indent=1, allow_nan=False), overwrite=True)

    def told(self, name: str) -> list[str]:
        """A line for a section, and one for each of its checks that fails."""
        own = [check for check in self.checks if check["name"].split(".")[0] == name]
        count = {verdict: sum(c["ok"] is verdict for c in own) for verdict in (True, False, None)}
        head = f"{name}: {count[True]} hold, {count[False]} fail, {count[None]} not run"
        if name in self._seconds:
            head += f", {self._seconds[name]:.1f} s"
        return [head, *(f"  FAILS {_words(check)}" for check in own if check["ok"] is False)]


def _ran(name: str, fault: str) -> dict[str, Any]:
    return {"name": f"{name}.ran", "ok": not fault, "value": None, "limit": None, "unit": "", "note": fault}


def _words(check: dict[str, Any]) -> str:
    parts = [check["name"]]
    if check["value"] is not None:
        parts.append(f"{check['value']} {check['unit']}".strip())
    if check["limit"] is not None:
        parts.append(f"(limit {check['limit']})")
    return " ".join(parts + ([f"- {check['note']}"] if check["note"] else []))


def _finite(value: Any) -> Any:
    """Numbers that JSON does not have, as text."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
