"""Against an independent reader: Debian's ffmpeg, its own build and its own command line.

Pictures are compared as they leave the decoder, to the bit, in the order of our index and fetched in another
one; times with those that ffprobe gives.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import av
import numpy as np
import pytest

from tal.video.index import PacketIndex, read_index
from tal.video.pyav_decoder import PyavDecoder
from tests.tal.video.recorders import Recording, edit, put_together, record
from tests.tal.video.video_corpus import Make, has_encoder, make_video
from tests.tal.video.zoo import QUICK, REST

_TIME_S = 2e-3
_PACKED = {"rgb24": 3, "bgr24": 3, "bgra": 4, "rgba": 4, "yuyv422": 2}


@pytest.fixture(scope="module", autouse=True)
def _ffmpeg() -> None:
    if not (shutil.which("ffmpeg") and shutil.which("ffprobe")):
        pytest.skip("needs the ffmpeg program")


def _run(*command: str) -> list[str]:
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [line.strip(",") for line in done.stdout.splitlines() if line and not line.startswith("#")]


def _their_pictures(path: Path, stream: int) -> list[str]:
    """MD5 of each decoded picture, not turned upright, none left out or repeated."""
    lines = _run(
        *("ffmpeg", "-v", "fatal", "-noautorotate", "-i", str(path), "-map", f"0:{stream}"),
        *("-fps_mode", "passthrough", "-f", "framemd5", "-"),
    )
    return [line.rsplit(",", 1)[1].strip() for line in lines]


def _their_times_s(path: Path, stream: int) -> np.ndarray:
    """When each picture is shown, seconds from the file's start."""
    ask = ("ffprobe", "-v", "fatal", "-of", "csv=p=0")
    entry = "frame=best_effort_timestamp_time"
    shown = _run(*ask, "-select_streams", str(stream), "-show_entries", entry, str(path))
    start = _run(*ask, "-show_entries", "format=start_time", str(path))[0]
    times = np.array([float(t.split(",")[0]) if t[0].isdigit() or t[0] == "-" else np.nan for t in shown])
    return times - (float(start) if start != "N/A" else 0.0)


def _our_pictures(index: PacketIndex) -> list[str]:
    """The same of ours, fetched in a scattered order."""
    sums = [""] * len(index.times_s)
    decoder = PyavDecoder(index)
    for number in np.random.default_rng(0).permutation(len(sums)).tolist():
        sums[number] = hashlib.md5(_bytes(decoder._fetch(number))).hexdigest()
    decoder.close()
    return sums


def _bytes(frame: av.VideoFrame) -> bytes:
    """Planes without padding, as ffmpeg's rawvideo has them."""
    wide = 2 if frame.format.components[0].bits > 8 else 1
    each = _PACKED.get(frame.format.name, wide)
    rows = (np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size) for plane in frame.planes)
    return b"".join(
        row[: plane.height, : plane.width * each].tobytes()
        for row, plane in zip(rows, frame.planes, strict=True)
    )


def _agree(path: Path, times: bool = True) -> None:
    index = read_index(path)
    assert _our_pictures(index) == _their_pictures(path, index.stream), path.name
    if times:
        theirs = _their_times_s(path, index.stream)
        known = np.isfinite(theirs)  # ffprobe may not know when the very last picture is shown
        assert known.mean() > 0.9
        late_s = theirs[0] if theirs[0] >= 0.1 else 0.0  # less is an encoder's delay
        np.testing.assert_allclose(index.times_s[known], (theirs - theirs[0] + late_s)[known], atol=_TIME_S)


def _check(make: Make, folder: Path) -> None:
    assert has_encoder(make.codec), f"this PyAV is built without {make.codec}"
    path = make_video(make, folder)
    # an AVI keeps no stamps and a bare stream has none: ffprobe gives those of decoding, or none
    _agree(path, times=not (make.container == "avi" or read_index(path).notes))


@pytest.mark.parametrize("make", QUICK, ids=lambda m: m.name)
def test_pictures_and_times_are_those_of_ffmpeg(make: Make, tmp_path: Path) -> None:
    _check(make, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("make", REST, ids=lambda m: m.name)
def test_pictures_and_times_of_the_rest(make: Make, tmp_path: Path) -> None:
    _check(make, tmp_path)


def test_the_zoo_is_large_and_each_make_is_there_once() -> None:
    names = [make.name for make in (*QUICK, *REST)]
    assert len(names) == len(set(names)) >= 100


@pytest.mark.parametrize("b_frames", [0, 2])
def test_pictures_of_mended_files_are_those_of_ffmpeg(b_frames: int, tmp_path: Path) -> None:
    """Joined parts, edit lists, a late start: the same pictures; and times, unless ffprobe's start again."""
    numbers = [n % 250 for n in range(100)]
    plain = Recording(numbers, b_frames=b_frames)
    parts = [record(tmp_path / f"part.{suffix}", plain) for suffix in ("ts", "mpg")]
    for part in parts:
        _agree(put_together(part.with_stem("both"), part, part), times=False)
    whole = record(tmp_path / "whole.mp4", plain)
    _agree(edit(whole, tmp_path / "middle.mp4", [(2.0, 1.2)]))
    _agree(edit(whole, tmp_path / "two.mp4", [(1.0, 0.4), (1.0, 2.4)]), times=b_frames == 0)
    for suffix in ("mp4", "ts"):
        _agree(
            record(tmp_path / f"late.{suffix}", Recording(numbers, b_frames=b_frames, late=50, sound_s=6.0))
        )
    _agree(record(tmp_path / "still.mkv", Recording(numbers, b_frames=b_frames, last_s=8.0)))
