"""Fixtures shared by all tests."""

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


@pytest.fixture(scope="module")
def one_thread():
    """Bit-for-bit comparisons: sums must not depend on how many threads share them."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
