"""Files that are no whole videos are refused with a reason; long ones cost no memory."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import av
import numpy as np
import pytest

from tal.errors import ConfigError, VideoError
from tal.grid import ClipGrid
from tal.video import open_video
from tal.video.clips import ClipShape, crop_square
from tal.video.pool import LOOK_ONLY, Decoded, DecodeTask, Finished, decode_all
from tests.tal.video.video_corpus import CORPUS, Make, make_video

_PLAIN = next(m for m in CORPUS if m.name == "h264")


def _audio_only(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        for start in range(0, 16000, 1024):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 16000, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def _bad_files(folder: Path) -> dict[str, tuple[Path, str]]:
    whole = make_video(_PLAIN, folder).read_bytes()
    mkv = make_video(next(m for m in CORPUS if m.name == "h264_mkv"), folder).read_bytes()
    avi = make_video(next(m for m in CORPUS if m.name == "h264_avi"), folder).read_bytes()
    files = {
        "empty.mp4": (b"", "empty"),
        "text.mp4": (b"this is no video" * 100, "not a readable video"),
        "no_index.mp4": (whole[: len(whole) // 2], "not a readable video"),
        "cut.mkv": (mkv[: len(mkv) // 2], "truncated"),
        "cut.avi": (avi[: len(avi) // 3], ""),
        "zeros.mp4": (bytes(20_000), "not a readable video"),
    }
    bad = {}
    for name, (data, reason) in files.items():
        (folder / name).write_bytes(data)
        bad[name] = (folder / name, reason)
    bad["sound.mp4"] = (_audio_only(folder / "sound.mp4"), "no video stream")
    bad["missing.mp4"] = (folder / "missing.mp4", "cannot be read")
    return bad


def test_bad_files_are_refused_with_name_and_cause(tmp_path: Path) -> None:
    for name, (path, reason) in _bad_files(tmp_path).items():
        with contextlib.suppress(VideoError):
            open_video(path).close()
            pytest.fail(f"{name} was opened")
        with pytest.raises(VideoError) as caught:
            open_video(path)
        message = str(caught.value)
        assert name in message and reason in message, message
        assert "\n" not in message


def test_a_folder_is_no_video(tmp_path: Path) -> None:
    with pytest.raises(VideoError):
        open_video(tmp_path)


def test_bytes_lost_in_the_middle_never_give_nonsense(tmp_path: Path) -> None:
    """Zeroed packets: an error, or pictures of the right shape; never a crash or a hang."""
    path = make_video(_PLAIN, tmp_path)
    data = bytearray(path.read_bytes())
    data[len(data) // 3 : len(data) // 2] = bytes(len(data) // 2 - len(data) // 3)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(data)
    for reader in [name for name in ("decord", "torchcodec") if find_spec(name)] + ["pyav"]:
        with contextlib.suppress(VideoError), open_video(broken, reader) as video:
            pictures, valid = video.frames(np.arange(48), 25.0)
            assert pictures.shape == (48, 64, 96, 3) and valid.all()


def test_wrong_arguments(tmp_path: Path) -> None:
    path = make_video(_PLAIN, tmp_path)
    with pytest.raises(ConfigError, match="unknown video reader 'opencv'; there are auto, pyav, decord"):
        open_video(path, reader="opencv")
    with open_video(path) as video, pytest.raises(ConfigError, match="sampling rate"):
        video.frames([0], 0.0)


def test_decord_where_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tal.video.decord_decoder.find_spec", lambda name: None)
    path = make_video(_PLAIN, tmp_path)
    with pytest.raises(ConfigError, match=r"decord is not installed here .*Arm"):
        open_video(path, "decord")
    open_video(path, "auto").close()


def test_where_decord_gives_up_nobody_takes_over(tmp_path: Path) -> None:
    """It cannot give pictures of a few small widths; 48 is one of them."""
    pytest.importorskip("decord")
    path = make_video(_PLAIN, tmp_path)
    with open_video(path, "decord") as video, pytest.raises(VideoError) as failed:
        video.frames([0, 1], 5.0, size=32)
    assert str(failed.value).startswith(f"{path}: decord fails at 48x32 pixels (Check failed")
    assert "--reader pyav" in str(failed.value)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_refused_video_ends_with_its_reason(workers: int, tmp_path: Path) -> None:
    pytest.importorskip("decord")
    varying = make_video(next(m for m in CORPUS if m.name == "h264_vfr"), tmp_path)
    tasks = [
        DecodeTask("plain", make_video(_PLAIN, tmp_path), "decord"),
        DecodeTask("vfr", varying, "decord"),
    ]
    ends = {event.key: event for event in decode_all(tasks, LOOK_ONLY, workers)}
    assert ends["plain"].info.reader == "decord" and not ends["plain"].error
    assert "cannot be read with decord: its rate varies; use --reader pyav" in ends["vfr"].error


@pytest.mark.parametrize("workers", [0, 2])
def test_decoding_in_processes_gives_the_same_clips(workers: int, tmp_path: Path) -> None:
    good = make_video(_PLAIN, tmp_path)
    (tmp_path / "bad.mp4").write_bytes(b"nothing")
    shape = ClipShape(ClipGrid(8, 1), size=40, crop=32)
    tasks = [DecodeTask("good", good, "auto", 10.0), DecodeTask("bad", tmp_path / "bad.mp4", "auto", 10.0)]
    clips: dict[int, np.ndarray] = {}
    ends: dict[str, Finished] = {}
    for event in decode_all(tasks, shape, workers):
        if isinstance(event, Decoded):
            assert event.clip == len(clips), "clips of a video come in order"
            clips[event.clip] = event.pictures.copy()
        else:
            ends[event.key] = event
    assert "bad.mp4" in ends["bad"].error
    assert ends["good"].num_frames == 20 and len(clips) == 3
    with open_video(good) as video:
        pictures, valid = video.frames(np.arange(24), 10.0, size=40)
    assert valid.sum() == 20
    together = np.concatenate([clips[i] for i in range(3)])
    assert np.array_equal(together, pictures[:, 4:36, 14:46])


def test_only_needed_pictures_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clip in the middle: from its key frame on, not from the start, and not to the end."""
    from tal.video import pyav_decoder

    make = Make("long", "libx264", pictures=400, gop=10, options={"preset": "ultrafast", "bf": "0"})
    path = make_video(make, tmp_path)
    decoded: list[int] = []
    numbered = pyav_decoder.PyavDecoder._numbered

    def counting(self, packets, start):  # type: ignore[no-untyped-def]
        for index, frame in numbered(self, packets, start):
            decoded.append(index)
            yield index, frame

    monkeypatch.setattr(pyav_decoder.PyavDecoder, "_numbered", counting)
    with open_video(path, "pyav") as video:
        video.frames(np.arange(205, 213), 25.0)
        assert decoded == list(range(200, 213))
        decoded.clear()
        video.frames(np.arange(213, 218), 25.0)  # goes on where it stands
        assert decoded == list(range(213, 218))
        decoded.clear()
        video.frames([12, 390], 25.0)
        assert decoded == [10, 11, 12, 390]


@pytest.mark.slow
def test_memory_does_not_grow_with_length(tmp_path: Path) -> None:
    """Two hours, read to the end: no more memory than two minutes."""
    script = (
        "import resource, sys, numpy as np\n"
        "from tal.video import open_video\n"
        "with open_video(sys.argv[1]) as v:\n"
        "    for start in range(0, v.num_frames(1.0), 64):\n"
        "        v.frames(np.arange(start, start + 64), 1.0, size=64)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, v.info.reader)\n"
    )
    peaks = []
    for minutes in (2, 120):
        path = tmp_path / f"{minutes}.mp4"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast", "g": "50"})
            stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
            still = av.VideoFrame.from_ndarray(np.zeros((64, 96, 3), np.uint8), format="rgb24")
            for number in range(minutes * 60 * 25):
                still.pts = number
                container.mux(stream.encode(still))
            container.mux(stream.encode())
        command = [sys.executable, "-c", script, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout.split()[0]))
    assert peaks[1] - peaks[0] < 64 * 1024, f"KiB: {peaks}"  # the index itself is a few MB


def test_decoding_processes_do_not_load_torch() -> None:
    """Each would take seconds to start and hundreds of MB more."""
    code = "import sys, tal.video.pool; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_middle_square_is_the_same_wherever_it_is_cut() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, 9, 14, 3), dtype=np.uint8)
    assert np.array_equal(crop_square(frames, 5), frames[:, 2:7, 4:9])
    assert np.array_equal(crop_square(frames, 9, 0.0, 1.0), frames[:, :, 5:])
    assert np.shares_memory(crop_square(frames, 5), frames)
    with pytest.raises(ConfigError, match="smaller than the crop"):
        crop_square(frames, 10)
