"""Decoding processes where shared memory is short, as in a container with 64 MB of /dev/shm."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from tal.grid import ClipGrid
from tal.video.clips import ClipShape
from tal.video.pool import Decoded, DecodeTask, Finished, _shared_memory, decode_all
from tests.tal.video.video_corpus import CORPUS, make_video

SHAPE = ClipShape(ClipGrid(4, 4), 32, 32)


def clips_of_three(folder: Path, workers: int) -> dict[tuple[str, int], np.ndarray]:
    """Every clip of one video under three names, each finished without an error."""
    make = next(make for make in CORPUS if make.name == "h264")
    made = folder / make.file_name
    video = made if made.is_file() else make_video(make, folder)  # an encoder of many threads may vary
    tasks = [DecodeTask(name, video, "pyav", 8.0) for name in "abc"]
    clips, finished = {}, []
    for event in decode_all(tasks, SHAPE, workers):
        if isinstance(event, Finished):
            assert not event.error
            finished.append(event.key)
        elif isinstance(event, Decoded):
            clips[event.key, event.clip] = event.pictures.copy()
    assert sorted(finished) == ["a", "b", "c"]
    return clips


def test_shared_memory_has_its_pages_before_anybody_writes() -> None:
    memory = _shared_memory(1 << 20)
    try:
        assert os.stat(f"/dev/shm/{memory.name}").st_blocks * 512 >= 1 << 20
    finally:
        memory.close()
        memory.unlink()


@pytest.mark.parametrize("room_for", [0, 1])
def test_videos_are_decoded_by_as_many_as_there_is_memory_for(
    room_for: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    expected = clips_of_three(tmp_path, 0)
    asked: list[str] = []
    reserve = os.posix_fallocate

    def full(fd: int, offset: int, length: int) -> None:
        asked.append(os.readlink(f"/proc/self/fd/{fd}"))
        if len(asked) > room_for:
            raise OSError(errno.ENOSPC, "No space left on device")
        reserve(fd, offset, length)

    monkeypatch.setattr(os, "posix_fallocate", full)
    found = clips_of_three(tmp_path, 2)
    assert len(asked) == room_for + 1
    assert found.keys() == expected.keys()
    for key, pictures in expected.items():
        np.testing.assert_array_equal(found[key], pictures)
    who = "1 decode" if room_for else "this process decodes"
    warning = [line for line in said if "no shared memory for a decoding process" in line]
    assert len(warning) == 1 and who in warning[0] and "--shm-size" in warning[0]
    assert not any(map(os.path.exists, asked)), "a block was left behind"
