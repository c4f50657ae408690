"""Fixtures shared by all tests."""

import logging
import os
from pathlib import Path

import pytest

_SHARED = Path(__file__).resolve().parents[2] / "shared"


def shared_path(relative: str) -> Path:
    """Path of real data beside the checkout; skips the test where it is absent."""
    path = _SHARED / relative
    if not path.exists():
        pytest.skip(f"needs shared/{relative} beside the checkout")
    return path


@pytest.fixture(scope="session")
def shared():
    """``shared("data/gym")``: a path beside the checkout, or a skip."""
    return shared_path


@pytest.fixture
def said():
    """What longtal's log says, a list of messages; also after a command has set the log up."""
    lines: list[str] = []
    handler = logging.Handler(logging.INFO)
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger("longtal")
    before = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    yield lines
    log.removeHandler(handler)
    log.setLevel(before)


@pytest.fixture(scope="module")
def one_thread():
    """Bit-for-bit comparisons: sums must not depend on how many threads share them."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Under ``LONGTAL_ALL=1`` (CI, everything installed) a test that skips fails: nothing is left out."""
    report = (yield).get_result()
    if report.skipped and os.environ.get("LONGTAL_ALL") == "1" and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome, report.longrepr = "failed", f"LONGTAL_ALL=1 and the test skips: {reason}"
