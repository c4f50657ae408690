"""Real recorders' files: pictures come when players show them, and what was bent to read them is said."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import av
import numpy as np
import pytest

from tal.errors import VideoError
from tal.video import open_video
from tests.tal.video import recorders
from tests.tal.video.recorders import Recording, edit, put_together, record, restamp
from tests.tal.video.video_corpus import Make, make_video

_HZ = 90_000
_PICTURE = _HZ // 25
_A, _B = list(range(40, 90)), list(range(150, 200))  # two recordings of 2 s
_WHOLE = [n % 250 for n in range(250)]  # 10 s
_OFF_GREY = 3  # what encoders lose


def _greys(path: Path, fps: float = 25.0, backwards: bool = False) -> list[int]:
    """The grey on screen at each k / fps; read in order, or from the end, picture by picture."""
    with open_video(path) as video:
        numbers = range(video.num_frames(fps))
        if backwards:
            shown = [video.frames([k], fps)[0][0] for k in reversed(numbers)][::-1]
        else:
            pictures, valid = video.frames(list(numbers), fps)
            assert valid.all()
            shown = list(pictures)
    return [round(float(picture.mean())) for picture in shown]


def _holds(path: Path, greys: list[int], *notes: str, late_s: float = 0.0) -> None:
    """The file has these greys, a picture each 40 ms, in whatever order it is read; and says ``notes``."""
    with open_video(path) as video:
        info = video.info
        assert info.num_frames == len(greys), info
        np.testing.assert_allclose(video.times_s, late_s + np.arange(len(greys)) / 25, atol=2e-3)
        assert info.duration_s == pytest.approx(late_s + len(greys) / 25, abs=2e-3)
        assert info.fps == pytest.approx(25, rel=1e-3)
        assert len(info.notes) == len(notes), info.notes
        for note, part in zip(info.notes, notes, strict=True):
            assert part in note, info.notes
    expected = [greys[0]] * round(25 * late_s) + greys
    for backwards in (False, True):
        found = _greys(path, backwards=backwards)
        assert np.abs(np.subtract(found, expected)).max() <= _OFF_GREY, (backwards, found)


@pytest.mark.parametrize(
    ("suffix", "b_frames"),
    [("webm", 0), *((suffix, b) for suffix in ("ts", "mts", "mpg", "vob", "mkv") for b in (0, 2))],
)
def test_a_clock_that_starts_again(suffix: str, b_frames: int, tmp_path: Path) -> None:
    """Files put after one another: the second follows the first."""
    mux = {"mpegts_m2ts_mode": "1"} if suffix == "mts" else {}
    parts = [
        record(tmp_path / f"{name}.{suffix}", Recording(greys, b_frames=b_frames, mux=mux))
        for name, greys in (("a", _A), ("b", _B))
    ]
    both = put_together(tmp_path / f"both.{suffix}", *parts)
    _holds(both, _A + _B, "starts again at 2.00 s: 2 parts")
    three = put_together(tmp_path / f"three.{suffix}", *parts, parts[0])
    if suffix in ("mkv", "webm"):  # FFmpeg reads no further than into the second
        third = three.stat().st_size - parts[0].stat().st_size
        note = f"another recording begins at byte {third} and is not read"
        _holds(three, _A + _B, note, "starts again at 2.00 s: 2 parts")
    else:
        _holds(three, _A + _B + _A, "starts again at 2.00 s, 4.00 s: 3 parts")


def test_the_right_value_of_two_recordings(tmp_path: Path) -> None:
    """4 s, 100 pictures, greys 40 then 200."""
    parts = [record(tmp_path / f"{g}.ts", Recording([g] * 50, b_frames=3)) for g in (40, 200)]
    _holds(put_together(tmp_path / "cat.ts", *parts), [40] * 50 + [200] * 50, "2 parts follow each other")


@pytest.mark.parametrize("ahead_s", [-1000, -70_000, 70_000])
def test_a_clock_that_starts_again_at_another_time(ahead_s: int, tmp_path: Path) -> None:
    """Earlier, FFmpeg takes it for the wrap of a 33-bit clock; more than half of its circle ahead is back."""
    first, second = (
        record(tmp_path / f"{n}.ts", Recording(g, b_frames=2)) for n, g in (("a", _A), ("b", _B))
    )
    late = restamp(first, tmp_path / "late.ts", lambda _, p, d: (p + 75_000 * _HZ, d + 75_000 * _HZ))
    then = restamp(
        second,
        tmp_path / "then.ts",
        lambda _, p, d: (p + (75_000 + ahead_s) * _HZ, d + (75_000 + ahead_s) * _HZ),
    )
    _holds(put_together(tmp_path / "cat.ts", late, then), _A + _B, "starts again at 2.00 s")


@pytest.mark.parametrize("suffix", ["h264", "m2v"])
def test_pictures_without_a_clock(suffix: str, tmp_path: Path) -> None:
    """Bare streams: one after another at the rate of their header; two of them put together as well."""
    parts = [record(tmp_path / f"{n}.{suffix}", Recording(g, b_frames=2)) for n, g in (("a", _A), ("b", _B))]
    _holds(parts[0], _A, "no time stamps in it: 25")
    _holds(put_together(tmp_path / f"both.{suffix}", *parts), _A + _B, "no time stamps in it: 25")
    quick = record(tmp_path / f"quick.{suffix}", Recording(_A, fps=50, b_frames=2))
    with open_video(quick) as video:
        assert video.info.duration_s == pytest.approx(1.0) and "50" in video.info.notes[0]


_KINDS: dict[str, tuple[Callable[[int, int, int], recorders.Stamps | None], str]] = {
    "is set back": (
        lambda n, p, d: (p - 3 * _HZ * (n > 30) + 4 * _HZ, d - 3 * _HZ * (n > 30) + 4 * _HZ),
        "starts again at 1.24 s",
    ),
    "stands still and catches up": (
        lambda n, p, d: (p, d) if n < 20 or n > 34 else (p - (n - 20) * _PICTURE, d - (n - 20) * _PICTURE),
        "14 pictures with the time stamp of the one before",
    ),
    "stands still and goes on": (
        lambda n, p, d: (p - min(max(0, n - 20), 20) * _PICTURE, d - min(max(0, n - 20), 20) * _PICTURE),
        "stands still at 0.80 s for 21 pictures",
    ),
    "stands still to the end": (
        lambda n, p, d: (p - max(0, n - 20) * _PICTURE, d - max(0, n - 20) * _PICTURE),
        "stands still at 0.80 s for 30 pictures",
    ),
    "never goes": (lambda n, p, d: (_HZ, _HZ), "stands still at 0.00 s for 50 pictures"),
    "slips ahead": (
        lambda n, p, d: (p + 500 * _HZ * (n == 20), d + 500 * _HZ * (n == 20)),
        "1 time stamp not",
    ),
    "slips back": (lambda n, p, d: (p - _HZ * (n == 27), d - _HZ * (n == 27)), "1 time stamp not believed"),
    "slips for five": (
        lambda n, p, d: (p + 9 * _HZ * (20 <= n < 25), d + 9 * _HZ * (20 <= n < 25)),
        "5 time stamps not believed",
    ),
    "is left out for some": (lambda n, p, d: None if n % 3 == 1 else (p, d), "17 of 50 pictures without"),
    "is left out for all": (lambda n, p, d: None, "no time stamps in it: 25"),
}


@pytest.mark.parametrize("b_frames", [0, 2])
@pytest.mark.parametrize("kind", _KINDS)
def test_a_faulty_clock(kind: str, b_frames: int, tmp_path: Path) -> None:
    """The pictures of an honest recording come where they came, or follow each other at its rate."""
    change, note = _KINDS[kind]
    honest = record(tmp_path / "honest.ts", Recording(_A, b_frames=b_frames))
    _holds(restamp(honest, tmp_path / "faulty.ts", change), _A, note)


@pytest.mark.parametrize("suffix", ["ts", "mkv", "mp4"])
def test_a_clock_that_jumps_ahead_is_a_gap(suffix: str, tmp_path: Path, said: list[str]) -> None:
    """The last picture before it stays; an hour is worth a warning, days are refused."""
    for seconds, note in ((100, "the picture at 0.96 s stays for 100.04 s"), (3700, "stays for 3700.04 s")):
        path = tmp_path / f"{seconds}.{suffix}"
        _jumping(path, seconds)
        with open_video(path) as video:
            assert video.info.num_frames == 50 and video.info.duration_s == pytest.approx(2 + seconds)
            assert video.info.fps == pytest.approx(25, rel=0.02), "the gap does not count"
            assert note in video.info.notes[0]
            pictures, _ = video.frames([0, 24, 25, 60, int(25 * seconds), int(25 * (seconds + 1.5))], 25.0)
        found = [round(float(p.mean())) for p in pictures]
        assert np.abs(np.subtract(found, [0, 48, 48, 48, 48, 74])).max() <= _OFF_GREY
    assert any("3700.06" in line or "3700.04" in line for line in said)


def _jumping(path: Path, seconds: int) -> None:
    with av.open(str(path), "w") as container:
        what = Recording([2 * n for n in range(50)], b_frames=2)
        stream = recorders._video(container, "libx264", what)
        for n, grey in enumerate(what.greys):
            container.mux(stream.encode(recorders._frame(grey, n + (25 * seconds if n >= 25 else 0), what)))
        container.mux(stream.encode())


def test_what_cannot_be_placed_is_refused_by_name(tmp_path: Path) -> None:
    _jumping(tmp_path / "days.mkv", 5 * 86_400)
    with pytest.raises(VideoError, match=r"days\.mkv: its clock jumps ahead by 120 hours at 0\.96 s"):
        open_video(tmp_path / "days.mkv")


def test_a_recording_without_its_start(tmp_path: Path) -> None:
    """What comes before the first key frame cannot be decoded; two such, put together, are joined."""
    whole = record(tmp_path / "whole.ts", Recording(_A, gop=10)).read_bytes()
    cut = tmp_path / "cut.ts"
    cut.write_bytes(whole[len(whole) // 188 // 3 * 188 :])
    with open_video(cut) as video:
        count, late_s = video.info.num_frames, float(video.times_s[0])
    assert 20 < count < 40 and count % 10 == 0, "a key frame is first"
    notes = ["pictures before its first key frame left out", f"first picture comes {late_s:.2f} s"]
    _holds(cut, _A[-count:], *notes, late_s=late_s)
    with open_video(put_together(tmp_path / "twice.ts", cut, cut)) as video:
        left_out = round(25 * late_s)
        assert video.info.num_frames == 2 * count + left_out and "starts again" in video.info.notes[1]
        pictures, _ = video.frames(np.arange(video.num_frames(25.0)), 25.0)
    second = [_A[-1]] * left_out + _A[-count:]
    found = [round(float(p.mean())) for p in pictures[left_out + count :]]
    assert np.abs(np.subtract(found, second)).max() <= _OFF_GREY, "the picture before stays where none comes"


@pytest.mark.parametrize("suffix", ["mp4", "flv", "wmv"])
def test_a_second_file_that_nobody_reads_is_named(suffix: str, tmp_path: Path) -> None:
    """Players stop at its header; so do we, and say where it begins."""
    first, second = (record(tmp_path / f"{n}.{suffix}", Recording(g)) for n, g in (("a", _A), ("b", _B)))
    both = put_together(tmp_path / f"both.{suffix}", first, second)
    _holds(both, _A, f"another recording begins at byte {first.stat().st_size} and is not read")


def test_a_long_tail_without_pictures_is_named(tmp_path: Path) -> None:
    """As of a recording that goes on under another number, which FFmpeg does not look for so late."""
    path = record(tmp_path / "tail.ts", Recording(_A))
    end = path.stat().st_size
    empty = b"\x47\x1f\xff\x10" + b"\xff" * 184
    path.write_bytes(path.read_bytes() + empty * 8000)
    with open_video(path) as video:
        assert f"of {end + 188 * 8000}: what is there is not read" in video.info.notes[0]
        assert video.info.num_frames == 50


@pytest.mark.parametrize("b_frames", [0, 2])
@pytest.mark.parametrize("sound_s", [0.0, 10.0])
@pytest.mark.parametrize(
    ("edits", "greys"),
    [
        ([(4.0, 3.2)], _WHOLE[80:180]),
        ([(6.8, 3.2)], _WHOLE[80:]),
        ([(4.0, 0.0)], _WHOLE[:100]),
        ([(9.8, 0.2)], _WHOLE[5:]),
        ([(2.0, 0.0), (2.0, 6.0)], _WHOLE[:50] + _WHOLE[150:200]),
        ([(2.0, 0.4), (2.0, 6.4), (1.0, 1.0)], _WHOLE[10:60] + _WHOLE[160:210] + _WHOLE[25:50]),
        ([(2.0, 6.4), (2.0, 0.4)], _WHOLE[160:210] + _WHOLE[10:60]),
        ([(2.0, 1.2), (2.0, 1.2)], _WHOLE[30:80] * 2),
    ],
    ids=["middle", "head", "tail", "little", "two", "three", "turned round", "twice"],
)
def test_an_edit_list(
    edits: list[tuple[float, float]], greys: list[int], sound_s: float, b_frames: int, tmp_path: Path
) -> None:
    """Trimmed on a phone or by a lossless cutter: what it shows, when it shows it, to the picture."""
    whole = record(tmp_path / "whole.mp4", Recording(_WHOLE, b_frames=b_frames, gop=25, sound_s=sound_s))
    trimmed = edit(whole, tmp_path / "trimmed.mp4", edits)
    _holds(trimmed, greys, f"an edit list shows {len(greys)} of 250 pictures")


@pytest.mark.parametrize("b_frames", [0, 2])
def test_an_edit_list_that_begins_with_nothing(b_frames: int, tmp_path: Path) -> None:
    """Beside sound from the start the pictures are late; alone, time 0 is their start, as in players."""
    for sound_s, late_s, note in (
        (12.0, 2.0, "first picture comes 2.00 s"),
        (0.0, 0.0, "clock begins at 2.00 s"),
    ):
        whole = record(tmp_path / "whole.mp4", Recording(_WHOLE, b_frames=b_frames, sound_s=sound_s))
        delayed = edit(whole, tmp_path / "delayed.mp4", [(2.0, None), (4.0, 3.2)])
        _holds(delayed, _WHOLE[80:180], "an edit list shows 100", note, late_s=late_s)


def test_a_trimmed_file_that_is_cut_is_still_refused(tmp_path: Path) -> None:
    """The header is there and promises all 250 pictures; the bytes of some are not."""
    fast = Recording(_WHOLE, gop=25, mux={"movflags": "faststart"})
    whole = record(tmp_path / "whole.mp4", fast)
    with open_video(whole) as video:
        assert video.info.num_frames == 250
    data = whole.read_bytes()
    length = data.index(b"elst") + 12
    assert int.from_bytes(data[length : length + 4], "big") == 10_000, "milliseconds"
    trimmed = data[:length] + (4000).to_bytes(4, "big") + data[length + 4 :]
    for name, content in (("plain", data), ("trimmed", trimmed)):
        path = tmp_path / f"{name}.mp4"
        path.write_bytes(content[: len(content) * 3 // 5])
        with pytest.raises(VideoError, match=r"truncated: the header promises 250 pictures, \d+ are there"):
            open_video(path)


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "ts", "mts", "flv", "wmv"])
def test_a_picture_that_begins_later_than_the_sound(suffix: str, tmp_path: Path) -> None:
    """White from 5 to 6 s in any player is white from 5 to 6 s here; the first picture is there before."""
    greys = [30] * 75 + [220] * 25 + [30] * 100
    path = record(tmp_path / f"late.{suffix}", Recording(greys, late=50, sound_s=10.0))
    with open_video(path) as video:
        start_s = float(video.times_s[0])
        assert start_s == pytest.approx(2.0, abs=0.07), "the sound's encoder may put 64 ms before it"
        assert video.info.duration_s == pytest.approx(start_s + 8.0, abs=2e-3)
        assert video.info.fps == pytest.approx(25)
        assert f"first picture comes {start_s:.2f} s after the file's start" in video.info.notes[0]
        pictures, valid = video.frames(np.arange(50), 5.0)
    assert valid.all()
    white = pictures.mean(axis=(1, 2, 3)) > 128
    assert np.flatnonzero(white).tolist() in ([25, 26, 27, 28, 29], [26, 27, 28, 29, 30])


@pytest.mark.parametrize("b_frames", [0, 2])
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "flv", "mpg"])
def test_a_start_that_only_the_muxer_chose(suffix: str, b_frames: int, tmp_path: Path) -> None:
    """Sound and pictures both at 1.4 s of an MPEG-TS clock, or apart by an encoder's delay: time 0."""
    path = record(tmp_path / f"both.{suffix}", Recording(_A, b_frames=b_frames, sound_s=2.0))
    _holds(path, _A)


@pytest.mark.parametrize(
    ("suffix", "b_frames"),
    [
        ("webm", 0),
        ("wmv", 0),
        *((suffix, b) for suffix in ("mp4", "mov", "mkv", "flv", "avi") for b in (0, 2)),
    ],
)
def test_a_last_picture_that_stays(suffix: str, b_frames: int, tmp_path: Path) -> None:
    """Screen recorders and slide shows: 2 s of pictures, of which the last stays for 8 s."""
    path = record(tmp_path / f"still.{suffix}", Recording(_A, b_frames=b_frames, last_s=8.0))
    with open_video(path) as video:
        assert video.info.num_frames == 50
        assert video.info.duration_s == pytest.approx(9.96, abs=0.05), (
            "with B-frames the last packet is another"
        )
        assert video.info.fps == pytest.approx(25, rel=1e-3)
        assert "its last picture stays for" in video.info.notes[-1]
    greys = _greys(path, 5.0)
    assert len(greys) == 50 and np.abs(np.subtract(greys[10:], 89)).max() <= _OFF_GREY


def test_the_right_values_of_a_long_last_picture(tmp_path: Path) -> None:
    for suffix in ("mp4", "mkv"):
        path = record(tmp_path / f"still.{suffix}", Recording([4 * n for n in range(50)], last_s=8.0))
        with open_video(path) as video:
            assert video.info.duration_s == pytest.approx(9.96, abs=1e-6)


def test_a_cut_matroska_file_is_still_refused(tmp_path: Path) -> None:
    """Its last picture does not stay until the promised end: the bytes are not there."""
    whole = record(tmp_path / "whole.mkv", Recording(_WHOLE)).read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(VideoError, match=r"truncated: the header promises 10\.0 s, \d\.\d s are there"):
        open_video(tmp_path / "cut.mkv")


def _several(path: Path, first_default: bool) -> Path:
    """A thumbnail of one picture, then the video."""
    with av.open(str(path), "w") as container:
        what = Recording(_A)
        small = container.add_stream("mjpeg", rate=1)
        small.width, small.height, small.pix_fmt = 32, 24, "yuvj420p"
        if first_default:
            small.disposition = av.stream.Disposition.default
        video = recorders._video(container, "libx264", what)
        frame = recorders._frame(128, 0, Recording([], size=(32, 24), fps=1))
        container.mux(small.encode(frame))
        container.mux(small.encode())
        for n, grey in enumerate(_A):
            container.mux(video.encode(recorders._frame(grey, n, what)))
        container.mux(video.encode())
    return path


@pytest.mark.parametrize("first_default", [False, True])
@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_the_best_of_several_streams(
    suffix: str, first_default: bool, tmp_path: Path, said: list[str]
) -> None:
    path = _several(tmp_path / f"two.{suffix}", first_default)
    _holds(
        path,
        _A,
        "2 video streams: stream 1 (h264, 64x48) with 50 pictures is read; not stream 0 (mjpeg, 32x24)",
    )
    assert any("2 video streams" in line for line in said)


@pytest.mark.parametrize("suffix", ["mp4", "ts"])
def test_a_gradual_refresh_is_not_a_key_frame(suffix: str, tmp_path: Path) -> None:
    """Live encoders refresh a picture in columns: what is read after a seek is what is read in order."""
    make = Make(
        "refresh", "libx264", suffix, options={"preset": "ultrafast", "x264-params": "intra-refresh=1"}
    )
    path = make_video(make, tmp_path)
    with open_video(path) as video:
        whole, _ = video.frames(np.arange(48), 25.0)
    for number in (47, 13, 12, 30, 25, 24, 40):
        with open_video(path) as video:
            assert np.array_equal(video.frames([number], 25.0)[0][0], whole[number]), number
    if suffix == "mp4" and find_spec("decord"):
        with pytest.raises(VideoError, match=r"with decord: .*gradual refresh"):
            open_video(path, reader="decord")


def test_decord_is_refused_by_name_where_something_was_bent(tmp_path: Path) -> None:
    pytest.importorskip("decord")
    plain = record(tmp_path / "plain.mp4", Recording(_WHOLE))
    varying = tmp_path / "varying.mp4"
    _jumping(varying, 3)
    parts = [record(tmp_path / f"{n}.mkv", Recording(g)) for n, g in (("a", _A), ("b", _B))]
    with open_video(plain, reader="decord") as video:
        assert video.info.reader == "decord"
    for path, reason in (
        (edit(plain, tmp_path / "edited.mp4", [(4.0, 3.2)]), "edit list"),
        (record(tmp_path / "late.mp4", Recording(_A, late=50, sound_s=4.0)), "first picture comes 2.00 s"),
        (put_together(tmp_path / "joined.mkv", *parts), "do not tell their pictures' times"),
        (varying, "its rate varies"),
        (_several(tmp_path / "two.mkv", first_default=False), "2 video streams"),
    ):
        with pytest.raises(VideoError, match=f"with decord: .*{reason}"):
            open_video(path, reader="decord")


def _boxes(data: bytes) -> list[tuple[bytes, bytes]]:
    """The outermost boxes of MP4: name, and all of it."""
    boxes, at = [], 0
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        boxes.append((data[at + 4 : at + 8], data[at : at + length]))
        at += length
    return boxes


@pytest.mark.parametrize("b_frames", [0, 2])
def test_fragments_whose_clock_starts_again(b_frames: int, tmp_path: Path) -> None:
    """FFmpeg takes the first of them for a repetition and hides it."""
    mux = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
    first, second = (
        _boxes(record(tmp_path / f"{n}.mp4", Recording(g, b_frames=b_frames, mux=mux)).read_bytes())
        for n, g in (("a", _A), ("b", _B))
    )
    joined = tmp_path / "joined.mp4"
    joined.write_bytes(b"".join(d for n, d in first if n != b"mfra") + b"".join(d for n, d in second[2:-1]))
    _holds(joined, _A + _B, "starts again at 2.00 s: 2 parts")


@pytest.mark.parametrize("gop", [10, 12])
@pytest.mark.parametrize("b_frames", [0, 2])
def test_a_broadcast_that_was_taken_up_again(b_frames: int, gop: int, tmp_path: Path) -> None:
    """FLV recorders write on after a lost connection, the clock from zero; or it is set within a group."""
    path = record(tmp_path / "live.flv", Recording(_A + _B, b_frames=b_frames, gop=gop))
    data, at = bytearray(path.read_bytes()), 13
    while at < len(data):
        stamp = int.from_bytes(data[at + 4 : at + 7], "big")
        if data[at] == 9 and stamp >= 2000:
            data[at + 4 : at + 7] = (stamp - 2000).to_bytes(3, "big")
        at += 11 + int.from_bytes(data[at + 1 : at + 4], "big") + 4
    path.write_bytes(data)
    _holds(path, _A + _B, "starts again at 2.00 s: 2 parts")


def test_dropped_pictures_are_not_missing_bytes(tmp_path: Path) -> None:
    """Empty samples of MP4, empty packets of AVI: the picture before stays."""
    path = record(tmp_path / "dropped.mp4", Recording(_A))
    data = bytearray(path.read_bytes())
    at = data.index(b"stsz") + 16 + 4 * 20
    lengths = [int.from_bytes(data[p : p + 4], "big") for p in (at, at + 4)]
    data[at : at + 8] = bytes(4) + sum(lengths).to_bytes(4, "big")
    path.write_bytes(data)
    with open_video(path) as video:
        assert video.info.num_frames == 49 and video.info.duration_s == pytest.approx(2.0)
    _jumping(tmp_path / "dropped.avi", 4)
    with open_video(tmp_path / "dropped.avi") as video:
        assert video.info.num_frames == 50 and video.info.duration_s == pytest.approx(6.0, abs=0.05)
