"""Every sampled frame of every make of file equals a slow sequential reading."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tal.video import open_video
from tests.tal.video.video_corpus import CORPUS, Make, has_encoder, make_video, read_slowly

_SLACK_S = 1e-3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("corpus")


def _check(path: Path, fps: float, backend: str = "pyav", seed: int = 0) -> None:
    reference = read_slowly(path)
    with open_video(path, backend=backend) as video:
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
def test_decord_gives_the_same(make: Make, folder: Path) -> None:
    """Or PyAV takes over, where decord would be wrong."""
    pytest.importorskip("decord")
    if not has_encoder(make.codec):
        pytest.skip(f"this PyAV is built without {make.codec}")
    _check(make_video(make, folder), 7.3, backend="decord")


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


def test_decord_is_used_where_it_agrees(folder: Path) -> None:
    pytest.importorskip("decord")
    by_name = {m.name: m for m in CORPUS}
    path = make_video(by_name["h264"], folder)
    with open_video(path) as video:
        assert video.info.backend == "pyav" and not video.info.reason, "only where it is asked for"
    with open_video(path, backend="decord") as video:
        assert video.info.backend == "decord"
    for name, reason in (("mpeg4_b_avi", "times"), ("h264_rotated_90", "rotated")):
        with open_video(make_video(by_name[name], folder), backend="decord") as video:
            assert video.info.backend == "pyav" and reason in video.info.reason


def test_backends_scale_alike(folder: Path) -> None:
    pytest.importorskip("decord")
    path = make_video(next(m for m in CORPUS if m.name == "h264"), folder)
    with open_video(path, backend="decord") as a, open_video(path, backend="pyav") as b:
        first, second = (v.frames(np.arange(9), 9.0, size=40)[0].astype(int) for v in (a, b))
    assert first.shape == second.shape
    assert np.abs(first - second).mean() < 2.0
