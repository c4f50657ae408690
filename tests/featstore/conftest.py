"""Fixtures of the store's tests."""

import tempfile
from pathlib import Path

import pytest


@pytest.fixture
def memory():
    """A folder in memory where there is one, for tests that sync thousands of times: they lose nothing."""
    shm = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shm if shm.is_dir() else None) as folder:
        yield Path(folder)
