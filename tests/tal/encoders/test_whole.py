"""Rows of whole videos against a plain loop over their clips."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from tal.encoders import Encoder, EncoderConfig, build_encoder, clips_at_once, encode_video
from tal.encoders.stream import ClipEncoder
from tal.encoders.whole import UnreadVideo, WholeVideo, decoders_for, encode_videos
from tal.errors import VideoError
from tal.grid import FrameGrid
from tal.video import open_video
from tal.video.pool import DecodeTask
from tests.tal.encoders.late import Flight
from tests.tal.video.blocks import write_blocks

pytestmark = pytest.mark.usefixtures("one_thread")
_CPU = torch.device("cpu")
_PICTURES = {"long": 90, "short": 7, "middle": 41, "other": 35}


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    config = EncoderConfig(name="timm:test_resnet", clip_frames=4, frame_stride=2, size=40, crop=32)
    return build_encoder(config, seed=0)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder, rng = tmp_path_factory.mktemp("videos"), np.random.default_rng(0)
    return {
        name: write_blocks(folder / f"{name}.mp4", 10.0, count, rng, side=12)
        for name, count in _PICTURES.items()
    }


def _plain(encoder: Encoder, path: Path, fps: float = 5.0) -> np.ndarray:
    return np.concatenate([rows for _, rows, _ in encode_video(encoder, path, fps)])


def _clips(encoder: Encoder) -> ClipEncoder:
    return ClipEncoder(encoder, _CPU, clips_at_once(encoder, _CPU), "fp32")


def _copies(found: Iterator[WholeVideo | UnreadVideo]) -> dict[str, np.ndarray | VideoError]:
    """What came, rows copied: they are not valid later."""
    return {v.key: v.error if isinstance(v, UnreadVideo) else v.rows.copy() for v in found}


@pytest.mark.parametrize("workers", [0, 2])
def test_rows_have_the_bits_of_a_plain_loop(
    encoder: Encoder, videos: dict[str, Path], tmp_path: Path, workers: int
) -> None:
    """Batches mix the videos, and one that cannot be read costs nothing else."""
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    paths = {"long": videos["long"], "broken": tmp_path / "broken.mp4", **videos}
    told: dict[str, list[int]] = {}
    tasks = [DecodeTask(name, path, "auto", 5.0) for name, path in paths.items()]
    found = _copies(
        encode_videos(
            _clips(encoder),
            tasks,
            workers,
            on_progress=lambda key, done, total: told.setdefault(key, []).append(total - done),
        )
    )
    assert set(found) == set(paths)
    error = found.pop("broken")
    assert isinstance(error, VideoError) and "broken.mp4" in str(error)
    for name, rows in found.items():
        np.testing.assert_array_equal(rows, _plain(encoder, videos[name]))
        assert told[name][-1] == 0 and told[name] == sorted(told[name], reverse=True)


def test_videos_have_the_rows_that_were_asked_for(encoder: Encoder, videos: dict[str, Path]) -> None:
    """Fewer than the file fills, or more, which are zeros."""
    tasks = [DecodeTask(name, path, "auto", 5.0) for name, path in videos.items()]
    wanted = {"long": 11, "short": 9}
    found = _copies(encode_videos(_clips(encoder), tasks, 0, wanted))
    for name, path in videos.items():
        plain = _plain(encoder, path)
        rows = found[name]
        assert isinstance(rows, np.ndarray) and len(rows) == wanted.get(name, len(plain))
        there = min(len(plain), len(rows))
        np.testing.assert_array_equal(rows[:there], plain[:there])
        assert not rows[there:].any()


def test_long_videos_are_sampled_more_slowly(encoder: Encoder, videos: dict[str, Path]) -> None:
    """A rate of its own for each video that has too many frames, which no worker knows before it is open."""
    tasks = [DecodeTask(name, path, "auto", 5.0, max_frames=30) for name, path in videos.items()]
    rates = {}
    for video in encode_videos(_clips(encoder), tasks, 0):
        assert isinstance(video, WholeVideo)
        rates[video.key] = video.fps
        with open_video(videos[video.key]) as opened:
            capped = FrameGrid(5.0).capped(opened.info.duration_s, 30).fps
        assert video.fps == capped
        np.testing.assert_array_equal(video.rows, _plain(encoder, videos[video.key], capped))
    assert rates["long"] < 5.0 == rates["short"]


def test_rows_that_land_late(
    encoder: Encoder, videos: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No video is given before all its rows are there, and none has another's."""
    wanted = {name: _plain(encoder, path, 10.0) for name, path in videos.items()}
    flight = Flight.of(_clips(encoder), monkeypatch)
    tasks = [DecodeTask(name, path, "auto", 10.0) for name, path in videos.items()]
    found = _copies(encode_videos(flight.clips, tasks, 0))
    assert len(flight.buffers) == 6  # 45 clips, eight at once
    for name, rows in wanted.items():
        np.testing.assert_array_equal(found[name], rows)


def test_a_cpu_gets_no_decoders_and_a_device_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tal.encoders.whole.usable_cores", lambda: 16)
    assert decoders_for(_CPU) == decoders_for(_CPU, 8) == 0
    assert decoders_for(torch.device("cuda")) == 16
    assert decoders_for(torch.device("cuda"), 3) == 5
    assert decoders_for(torch.device("cuda"), 32) == 1
