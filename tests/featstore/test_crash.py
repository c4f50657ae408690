"""A writer killed at any moment leaves exactly its last commit; the long version is benchmarks/crash.py."""

import os

import pytest

from benchmarks.crash import crash

# Death of a process loses nothing that the system has been given: memory shows the same as a disk, sooner.
_FOLDER = "/dev/shm" if os.path.isdir("/dev/shm") else None


def test_sigkill_leaves_the_last_commit():
    result = crash(kills=8, seed=3, folder=_FOLDER)
    assert result["kills"] == 8 and result["commits"] > 2


@pytest.mark.slow
def test_sigkill_two_hundred_times():
    result = crash(kills=200, seed=4, folder=_FOLDER)
    assert result["commits"] > 50
