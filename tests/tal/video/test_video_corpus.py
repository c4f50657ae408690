"""Every sampled frame of every make of file equals a slow sequential reading."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tal.errors import VideoError
from tal.video import open_video
from tests.tal.video.video_corpus import CORPUS, Make, has_encoder, make_video, read_slowly

_SLACK_S = 1e-3
# What a reader is refused for; it reads all other makes.
_DECORD_REFUSED = {
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
_TORCHCODEC_REFUSED = {
    "h264_ts": "mpegts is not a container",
    "h264_avi": "picture 47 comes at 1.880000 s with torchcodec and 1.920000 s in the container",
    "h264_b_avi": "do not tell",
    "mpeg4_b_avi": "do not tell",
    "mpeg2_mpg": "mpeg is not a container",
}
# Grey levels, on average over a picture: the machine's FFmpeg, which torchcodec uses, may round otherwise.
_APART = {"pyav": 0.0, "decord": 0.0, "torchcodec": 0.5}


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
                apart = np.abs(shown.astype(int) - expected).mean()
                assert apart <= _APART[reader], f"frame {k} of {path.name} at {fps} fps ({video.info})"


@pytest.mark.parametrize("make", CORPUS, ids=lambda m: m.name)
def test_every_frame_of_every_make(make: Make, folder: Path) -> None:
    if not has_encoder(make.codec):
        pytest.skip(f"this PyAV is built without {make.codec}")
    path = make_video(make, folder)
    for fps in (float(make.rate), 7.3):
        _check(path, fps)


@pytest.mark.parametrize("make", CORPUS, ids=lambda m: m.name)
@pytest.mark.parametrize(
    ("reader", "reasons"), [("decord", _DECORD_REFUSED), ("torchcodec", _TORCHCODEC_REFUSED)]
)
def test_a_named_reader_gives_the_same_or_is_refused_by_name(
    reader: str, reasons: dict[str, str], make: Make, folder: Path
) -> None:
    pytest.importorskip(reader)
    if not has_encoder(make.codec):
        pytest.skip(f"this PyAV is built without {make.codec}")
    path = make_video(make, folder)
    if make.name not in reasons:
        _check(path, 7.3, reader)
        return
    with pytest.raises(VideoError) as refused:
        open_video(path, reader)
    for part in (str(path), reader, reasons[make.name], "--reader pyav"):
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
@pytest.mark.parametrize(("reader", "most"), [("decord", 1.0), ("torchcodec", 3.0)])
def test_readers_scale_alike(reader: str, most: float, name: str, folder: Path) -> None:
    """To a few grey levels on average: these patterns are all edges, which is where they differ."""
    pytest.importorskip(reader)
    make = next(m for m in CORPUS if m.name == name)
    if not has_encoder(make.codec):
        pytest.skip(f"this PyAV is built without {make.codec}")
    path = make_video(make, folder)
    for size in (40, 56, 128):
        assert _apart(path, reader, np.arange(9), 9.0, size).mean() < most


@pytest.mark.parametrize("name", ["demo_spatiotemporal_det.mp4", "exercise.avi", "v_GGSY1Qvo990.mp4"])
@pytest.mark.parametrize(("reader", "mean", "most"), [("decord", 0.7, 20), ("torchcodec", 3.0, 80)])
def test_readers_scale_real_clips_alike(  # type: ignore[no-untyped-def]
    reader: str, mean: float, most: float, name: str, shared
) -> None:
    pytest.importorskip(reader)
    path = shared("data/real_clips") / name
    assert _apart(path, reader, np.arange(8), 4.0, None).mean() <= _APART[reader]
    apart = _apart(path, reader, np.arange(8), 4.0, 128)
    assert apart.mean() < mean and np.percentile(apart, 99.9) < most


def _apart(path: Path, reader: str, frames: np.ndarray, fps: float, size: int | None) -> np.ndarray:
    """Grey levels between a reader's pictures and PyAV's."""
    with open_video(path, reader) as a, open_video(path, "pyav") as b:
        assert (a.info.reader, b.info.reader) == (reader, "pyav")
        first, second = (video.frames(frames, fps, size=size)[0].astype(int) for video in (a, b))
    return np.abs(first - second)
