"""Every sampled frame of every make of file equals a slow sequential reading."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tal.errors import VideoError
from tal.video import open_video
from tests.tal.video.video_corpus import CORPUS, Make, has_encoder, make_video, read_slowly

_SLACK_S = 1e-3
# What decord is refused for; it reads all other makes.
_REFUSED = {
    "h264_open_gop": "open groups",
    "h264_vfr": "rate varies",
    "h264_vfr_mkv": "rate varies",
    "h264_ts": "seeks wrongly in mpegts",
    "h264_avi": "time stamps differ",
    "h264_b_avi": "do not tell",
    "h264_rotated_90": "rotated by 90",
    "h264_rotated_180": "rotated by 180",
    "h264_rotated_270": "rotated by 270",
    "hevc": "open groups",
    "hevc_vfr_mkv": "open groups",
    "vp9_vfr": "rate varies",
    "mpeg4_b_avi": "do not tell",
    "mpeg2_mpg": "seeks wrongly in mpeg",
}


# What torchcodec is refused for; it reads all other makes to the bit: varying rates, turned, open groups.
_REFUSED_BY_TORCHCODEC = {
    "h264_ts": "seeks wrongly in mpegts",
    "h264_b_avi": "do not tell",
    "mpeg4_b_avi": "do not tell",
    "mpeg2_mpg": "seeks wrongly in mpeg",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("corpus")


def _check(path: Path, fps: float, reader: str = "pyav", seed: int = 0) -> None:
    reference = read_slowly(path)
    with open_video(path, reader) as video:
        assert video.info.reader == reader
        assert video.info.num_frames == len(reference.pictures), "every picture of the file is known"
        np.testing.assert_allclose(video.times_s, reference.times_s, atol=2e-3)
        total = video.num_frames(fps)
        rng = np.random.default_rng(seed)
        everything = np.arange(-1, total + 1)
        scattered = rng.permutation(total)[: max(1, total // 3)]
        runs = np.sort(rng.choice(total, min(2, total), replace=False))[:, None] + np.arange(4)
        for wanted in (everything, scattered, runs.ravel(), [0], [total - 1], [0, 0]):
            pictures, valid = video.frames(wanted, fps)
            for k, shown, exists in zip(wanted, pictures, valid, strict=True):
                assert exists == (0 <= k < total)
                slack = min(_SLACK_S, 0.25 * video.info.duration_s / video.info.num_frames)
                expected = reference.at(k / fps, slack) if exists else np.zeros_like(shown)
                assert np.array_equal(shown, expected), (
                    f"frame {k} of {path.name} at {fps} fps ({video.info})"
                )


@pytest.mark.parametrize("make", CORPUS, ids=lambda m: m.name)
def test_every_frame_of_every_make(make: Make, folder: Path) -> None:
    if not has_encoder(make.codec):
        pytest.skip(f"this PyAV is built without {make.codec}")
    path = make_video(make, folder)
    for fps in (float(make.rate), 7.3):
        _check(path, fps)


@pytest.mark.parametrize("make", CORPUS, ids=lambda m: m.name)
def test_decord_gives_the_same_or_is_refused_by_name(make: Make, folder: Path) -> None:
    pytest.importorskip("decord")
    if not has_encoder(make.codec):
        pytest.skip(f"this PyAV is built without {make.codec}")
    path = make_video(make, folder)
    if make.name not in _REFUSED:
        _check(path, 7.3, "decord")
        return
    with pytest.raises(VideoError) as refused:
        open_video(path, "decord")
    for part in (str(path), "decord", _REFUSED[make.name], "--reader pyav"):
        assert part in str(refused.value)


@pytest.mark.parametrize("make", CORPUS, ids=lambda m: m.name)
def test_torchcodec_gives_the_same_or_is_refused_by_name(make: Make, folder: Path) -> None:
    pytest.importorskip("torchcodec")
    if not has_encoder(make.codec):
        pytest.skip(f"this PyAV is built without {make.codec}")
    path = make_video(make, folder)
    if make.name not in _REFUSED_BY_TORCHCODEC:
        _check(path, 7.3, "torchcodec")
        return
    with pytest.raises(VideoError) as refused:
        open_video(path, "torchcodec")
    for part in (str(path), "torchcodec", _REFUSED_BY_TORCHCODEC[make.name], "--reader pyav"):
        assert part in str(refused.value)


def test_auto_is_pyav(folder: Path) -> None:
    path = make_video(CORPUS[0], folder)
    for reader in ({}, {"reader": "auto"}, {"reader": "pyav"}):
        with open_video(path, **reader) as video:
            assert video.info.reader == "pyav"


@pytest.mark.parametrize(
    "name",
    [
        "S001C001P001R001A001_rgb.avi",
        "demo_spatiotemporal_det.mp4",
        "exercise.avi",
        "test.avi",
        "v_ZNVhz7ctTq0.mp4",
        pytest.param("demo.mp4", marks=pytest.mark.slow),
        pytest.param("test.mp4", marks=pytest.mark.slow),
        pytest.param("test_video_structuralize.mp4", marks=pytest.mark.slow),
        pytest.param("v_GGSY1Qvo990.mp4", marks=pytest.mark.slow),
    ],
)
def test_real_clips(name: str, shared) -> None:  # type: ignore[no-untyped-def]
    path = shared("data/real_clips") / name
    reference = read_slowly(path)
    with open_video(path) as video:
        rng = np.random.default_rng(1)
        total = video.num_frames(6.0)
        slack = min(_SLACK_S, 0.25 * video.info.duration_s / video.info.num_frames)
        for _ in range(3):
            wanted = rng.integers(0, total) + np.arange(6)
            pictures, valid = video.frames(wanted, 6.0)
            for k, shown, exists in zip(wanted, pictures, valid, strict=True):
                if exists:
                    assert np.array_equal(shown, reference.at(k / 6.0, slack))


def test_rotated_pictures_stand_upright(folder: Path) -> None:
    """Against the unrotated file, not PyAV's word: a marker's corner."""
    by_name = {m.name: m for m in CORPUS}
    with open_video(make_video(by_name["h264_rotated_90"], folder)) as video:
        assert (video.info.width, video.info.height) == (64, 96)
        assert video.info.rotation == 90
        small, _ = video.frames([3], 25.0, size=32)
        assert small.shape == (1, 48, 32, 3)


@pytest.mark.parametrize("name", ["h264", "h264_mkv", "h264_mov_odd_size", "vp9", "mpeg4_avi", "mjpeg_mov"])
def test_readers_scale_alike(name: str, folder: Path) -> None:
    """To less than a grey level on average: these patterns are all edges, which is where they differ."""
    pytest.importorskip("decord")
    make = next(m for m in CORPUS if m.name == name)
    if not has_encoder(make.codec):
        pytest.skip(f"this PyAV is built without {make.codec}")
    path = make_video(make, folder)
    for size in (40, 56, 128):
        assert _apart(path, np.arange(9), 9.0, size).mean() < 1.0


@pytest.mark.parametrize("name", ["demo_spatiotemporal_det.mp4", "exercise.avi", "v_GGSY1Qvo990.mp4"])
def test_readers_scale_real_clips_alike(name: str, shared) -> None:  # type: ignore[no-untyped-def]
    pytest.importorskip("decord")
    path = shared("data/real_clips") / name
    assert not _apart(path, np.arange(8), 4.0, None).any()
    apart = _apart(path, np.arange(8), 4.0, 128)
    assert apart.mean() < 0.7 and np.percentile(apart, 99.9) < 20


def _apart(path: Path, frames: np.ndarray, fps: float, size: int | None) -> np.ndarray:
    """Grey levels between the two readers' pictures."""
    with open_video(path, "decord") as a, open_video(path, "pyav") as b:
        assert (a.info.reader, b.info.reader) == ("decord", "pyav")
        first, second = (video.frames(frames, fps, size=size)[0].astype(int) for video in (a, b))
    return np.abs(first - second)
