"""torchcodec: scaled pictures, damage, and files whose times it would get wrong."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

from tal.errors import ConfigError, VideoError
from tal.video import open_video
from tal.video.index import read_index
from tal.video.torchcodec_decoder import TorchcodecDecoder, why_not
from tests.tal.video.video_corpus import CORPUS, make_video

pytest.importorskip("torchcodec")
MAKES = {make.name: make for make in CORPUS}


@pytest.mark.parametrize("name", ["h264", "h264_rotated_90", "h264_mov_odd_size"])
def test_scaled_pictures_are_near_pyavs(name: str, tmp_path: Path) -> None:
    """Other filters: two grey levels on average are what docs/video.md says."""
    path = make_video(MAKES[name], tmp_path)
    found = []
    for reader in ("pyav", "torchcodec"):
        with open_video(path, reader) as video:
            found.append(video.frames(np.arange(video.num_frames(5.0)), 5.0, size=40)[0].astype(int))
    assert found[0].shape == found[1].shape
    assert np.abs(found[0] - found[1]).mean() <= 2


def test_a_file_cut_after_its_index_is_an_error(tmp_path: Path) -> None:
    path = make_video(MAKES["h264_mkv"], tmp_path)
    with open_video(path, "torchcodec") as video:
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 3])
        with pytest.raises(VideoError, match=r"h264_mkv.*(torchcodec|pictures)"):
            video.frames(np.arange(video.num_frames(10.0)), 10.0)


def test_a_picture_of_another_time_is_refused(tmp_path: Path) -> None:
    path = make_video(MAKES["h264"], tmp_path)
    index = read_index(path)
    times_s = index.times_s.copy()
    times_s[5] += 1e-3
    decoder = TorchcodecDecoder(dataclasses.replace(index, times_s=times_s))
    assert len(list(decoder.pictures(np.arange(5), 32, 32))) == 5
    with pytest.raises(VideoError, match=r"torchcodec shows a picture of .* where the container has one of"):
        list(decoder.pictures(np.arange(6), 32, 32))


def test_other_counts_and_ends_are_refused(tmp_path: Path) -> None:
    index = read_index(make_video(MAKES["h264"], tmp_path))
    assert why_not(index) == ""
    fewer = dataclasses.replace(index, pts=index.pts[:-1], times_s=index.times_s[:-1])
    assert "torchcodec counts 48 pictures, the container has 47" in why_not(fewer)
    longer = dataclasses.replace(index, times_s=index.times_s * 1.01)
    assert "time stamps differ" in why_not(longer)
    assert "edit list" in why_not(dataclasses.replace(index, edited=True))


def test_without_it_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tal.video.torchcodec_decoder.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install longtal\[torchcodec\]"):
        open_video("v.mp4", "torchcodec")
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", None)
    with pytest.raises(ConfigError, match="install ffmpeg"):
        open_video("v.mp4", "torchcodec")
