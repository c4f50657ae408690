"""torchcodec's pictures are PyAV's, each at its time; what it gets wrong is refused by name."""

from __future__ import annotations

import contextlib
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest

from tal.errors import ConfigError, VideoError
from tal.video import open_video, require_reader, torchcodec_decoder
from tal.video.index import read_index
from tal.video.pyav_decoder import PyavDecoder
from tests.tal.video.recorders import Recording, edit, put_together, record
from tests.tal.video.video_corpus import CORPUS, Make, has_encoder, make_video
from tests.tal.video.zoo import QUICK, REST

torchcodec = pytest.importorskip("torchcodec")
# Grey levels, on average over a picture, at the video's own size: 0 where 8 bits a colour are stored.
_APART = 2.5
_GREYS = [n % 250 for n in range(100)]
_PLAIN = next(m for m in CORPUS if m.name == "h264")


def _same(path: Path) -> None:
    """Every picture, in order and then in runs from anywhere, against PyAV's reading in order."""
    index = read_index(path)
    total = len(index.pts)
    ours = PyavDecoder(index)
    expected = np.stack([p.copy() for p in ours.pictures(np.arange(total), index.width, index.height)])
    ours.close()
    with open_video(path, "torchcodec") as video:
        decoder = video._open_decoder()
        rng = np.random.default_rng(0)
        starts = rng.integers(0, total, 12)
        for wanted in (np.arange(total), *(np.arange(s, min(s + 3, total)) for s in starts), [total - 1] * 2):
            shown = np.stack([*decoder.pictures(np.asarray(wanted), index.width, index.height)])
            apart = np.abs(shown.astype(int) - expected[wanted]).mean(axis=(1, 2, 3))
            assert apart.max() <= _APART, (path.name, wanted, apart)
        decoder.close()


def _same_or_refused(make: Make, folder: Path) -> bool:
    assert has_encoder(make.codec), f"this PyAV is built without {make.codec}"
    path = make_video(make, folder)
    index = read_index(path)
    if torchcodec_decoder.why_not(index):
        with pytest.raises(VideoError, match=r"cannot be read with torchcodec: .*--reader pyav"):
            open_video(path, "torchcodec")
        return False
    _same(path)
    return True


@pytest.mark.parametrize("make", QUICK, ids=lambda m: m.name)
def test_the_same_or_refused(make: Make, tmp_path: Path) -> None:
    read = _same_or_refused(make, tmp_path)
    assert read == (make.container in ("mp4", "mov", "mkv", "webm", "3gp", "gif"))


@pytest.mark.slow
@pytest.mark.parametrize("make", REST, ids=lambda m: m.name)
def test_the_rest_is_the_same_or_refused(make: Make, tmp_path: Path) -> None:
    _same_or_refused(make, tmp_path)


@pytest.mark.parametrize("b_frames", [0, 2])
def test_what_recorders_leave_is_read_where_stamps_tell(b_frames: int, tmp_path: Path) -> None:
    """An edit list, a late start, a long last picture; what follows in the file is not read."""
    plain = Recording(_GREYS, b_frames=b_frames)
    whole = record(tmp_path / "whole.mp4", plain)
    _same(edit(whole, tmp_path / "edited.mp4", [(2.0, 1.2)]))
    _same(put_together(tmp_path / "joined.mp4", whole, whole))
    _same(record(tmp_path / "late.mp4", Recording(_GREYS, b_frames=b_frames, late=50, sound_s=6.0)))
    part = record(tmp_path / "still.mkv", Recording(_GREYS, b_frames=b_frames, last_s=8.0))
    _same(part)
    for path in (
        put_together(tmp_path / "joined.mkv", part, part),
        edit(whole, tmp_path / "twice.mp4", [(1.0, 0.4), (1.0, 2.4)]),
    ):
        with pytest.raises(VideoError, match="with torchcodec: its packets do not tell"):
            open_video(path, "torchcodec")


_FAST = {"preset": "ultrafast", "bf": "0"}
_B = {"preset": "veryfast", "bf": "2"}


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (Make("refresh", "libx264", options={**_FAST, "x264-params": "intra-refresh=1"}), "gradual refresh"),
        (
            Make("fields", "libx264", size=(96, 128), options={**_FAST, "x264-params": "interlaced=1"}),
            "interlaced",
        ),
        (
            Make("open", "libx264", "mkv", gop=8, pictures=26, options={**_B, "x264-params": "open-gop=1"}),
            "not find its picture 25",
        ),
        (Make("numbers", "libx264", "asf", muxer="asf", options=_B), "asf is not a container"),
    ],
    ids=lambda value: value.name if isinstance(value, Make) else "",
)
def test_refused_by_name(make: Make, reason: str, tmp_path: Path) -> None:
    path = make_video(make, tmp_path)
    with pytest.raises(VideoError, match=f"with torchcodec: .*{reason}"):
        open_video(path, "torchcodec")


def test_pictures_that_change_their_size_are_scaled_to_the_first(tmp_path: Path) -> None:
    path = tmp_path / "sizes.mkv"
    options = {"deadline": "realtime", "cpu-used": "8"}
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        larger = av.CodecContext.create("libvpx", "w")
        larger.width, larger.height, larger.pix_fmt = 192, 128, "yuv420p"
        larger.time_base, larger.options = Fraction(1, 25), options
        for coder, numbers in ((stream.codec_context, range(20)), (larger, range(20, 40))):
            for number in [*numbers, None]:
                frame = None if number is None else _grey(number, coder.width, coder.height)
                for packet in coder.encode(frame):
                    packet.stream = stream
                    container.mux(packet)
    _same(path)


def _grey(number: int, width: int, height: int) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(np.full((height, width, 3), 5 * number, np.uint8), format="rgb24")
    frame.pts, frame.time_base = number, Fraction(1, 25)
    return frame


def test_a_picture_of_another_time_is_an_error_that_names_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_video(_PLAIN, tmp_path)
    honest = torchcodec_decoder._open

    class Late:
        """Gives the right pictures, the fourth of them a tick too late."""

        def __init__(self, *args: object) -> None:
            self._decoder = honest(*args)  # type: ignore[arg-type]

        def get_frames_at(self, wanted: list[int]) -> object:
            batch = self._decoder.get_frames_at(wanted)
            batch.pts_seconds[[n == 3 for n in wanted]] += float(read_index(path).time_base)
            return batch

    with open_video(path, "torchcodec") as video:
        monkeypatch.setattr(torchcodec_decoder, "_open", Late)
        video.frames([0, 1, 2, 4], 25.0)
        with pytest.raises(VideoError) as wrong:
            video.frames([2, 3, 4], 25.0)
    message = str(wrong.value)
    assert str(path) in message and "picture 3" in message and "--reader pyav" in message
    theirs, ours = (float(word) for word in message.split() if word.startswith("0."))
    assert ours == pytest.approx(0.12, abs=0.08) and theirs > ours


@pytest.mark.parametrize("name", ["h264", "mpeg4_avi", "h264_mkv", "vp9", "mjpeg_mov"])
def test_a_file_cut_or_damaged_while_it_is_read_is_an_error_or_whole_pictures(
    name: str, tmp_path: Path
) -> None:
    path = make_video(next(m for m in CORPUS if m.name == name), tmp_path)
    whole = path.read_bytes()
    for keep in (0.0, 0.3, 0.6, 0.9):
        path.write_bytes(whole)
        with open_video(path, "torchcodec") as video:
            path.write_bytes(whole[: int(keep * len(whole))])
            with pytest.raises(VideoError, match=f"{name}.*torchcodec"):
                video.frames(np.arange(48), 25.0)
    rng = np.random.default_rng(0)
    for _ in range(8):
        broken = bytearray(whole)
        at = int(rng.integers(len(whole) // 4, len(whole) // 2))
        broken[at : at + 200] = rng.bytes(200)
        path.write_bytes(broken)
        with contextlib.suppress(VideoError), open_video(path, "torchcodec") as video:
            pictures, valid = video.frames(np.arange(video.num_frames(25.0)), 25.0)
            assert pictures.shape[1:] == (video.info.height, video.info.width, 3) and valid.all()


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    assert require_reader("torchcodec") == "torchcodec"
    monkeypatch.setattr(torchcodec_decoder, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"longtal\[torchcodec\].*or name pyav"):
        require_reader("torchcodec")


def test_missing_ffmpeg_libraries_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchcodec, "ffmpeg_major_version", None)
    with pytest.raises(ConfigError, match=r"install ffmpeg .*or name pyav"):
        require_reader("torchcodec")


def test_a_torchcodec_that_cannot_be_loaded_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str, *rest: object) -> SimpleNamespace:
        if name == "torchcodec":
            raise RuntimeError("Could not load libtorchcodec. Likely causes:\n 1. ...")
        return real(name, *rest)

    real = __import__
    monkeypatch.setattr("builtins.__import__", fail)
    with pytest.raises(ConfigError, match="Could not load libtorchcodec"):
        require_reader("torchcodec")
