"""Copies of videos that browsers do not play: every time stamp is kept, and Chromium shows it."""

import json
import os
import threading
from contextlib import closing
from fractions import Fraction

import av
import numpy as np
import pytest

from pipelines.review.proxies import Proxies, default_folder
from pipelines.review.proxy import MOST_ERROR_S, ProxyStopped, make_proxy
from tal.errors import VideoError
from tal.video.index import read_index
from tests.pipelines.browser import needs_chromium
from tests.pipelines.review.review_data import ask, post, serving
from tests.pipelines.review.reviewer import Reviewer
from tests.pipelines.review.varying import make_varying

FILES = {
    "xvid.avi": ("mpeg4", "avi", 25),
    "asp.mp4": ("mpeg4", "mp4", Fraction(30000, 1001)),
    "camera.MTS": ("libx264", "mpegts", Fraction(24000, 1001)),
    "disc.mpg": ("mpeg2video", "mpeg", 25),
}


def make_file(folder, name, num_pictures=40):
    """Pictures that get brighter; B-frames where the codec has them."""
    codec, container_format, rate = FILES[name]
    folder.mkdir(parents=True, exist_ok=True)
    with av.open(str(folder / name), "w", format=container_format) as container:
        stream = container.add_stream(codec, rate=rate, options={"g": "12", "bf": "2"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for number in range(num_pictures):
            picture = np.full((64, 96, 3), 30 + 5 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return folder / name


def stamps(path):
    """Time stamps by FFmpeg alone, counted from the first: what our own index says is not asked."""
    with av.open(str(path)) as container:
        times = [float(frame.pts * frame.time_base) for frame in container.decode(video=0)]
    return [time - times[0] for time in times]


def brightness(path):
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="gray").mean() for frame in container.decode(video=0)]


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_copy_has_every_picture_at_its_time(tmp_path, name):
    source, copy = make_file(tmp_path, name), tmp_path / "copy.mp4"
    told = []
    make_proxy(source, copy, told.append)
    assert told == sorted(told) and told[-1] == 1
    there, made = read_index(source), read_index(copy)
    assert np.abs(made.times_s - there.times_s).max() <= MOST_ERROR_S
    assert made.duration_s == pytest.approx(there.duration_s, abs=1e-4)
    assert made.codec == "h264" and not made.edited
    if not there.counted:  # of .avi FFmpeg has no stamps
        assert np.abs(np.subtract(stamps(copy), stamps(source))).max() < 1e-4
    np.testing.assert_allclose(brightness(copy), brightness(source), atol=6)


def test_a_copy_keeps_a_varying_rate(tmp_path):
    source = make_varying(tmp_path / "v.mkv")
    make_proxy(source, tmp_path / "copy.mp4", lambda share: None)
    assert np.abs(np.subtract(stamps(tmp_path / "copy.mp4"), stamps(source))).max() < 1e-5
    assert len({round(step, 4) for step in np.diff(stamps(tmp_path / "copy.mp4"))}) > 3


def test_a_late_first_picture_is_late_in_the_copy(tmp_path):
    """Sound from 0 s, pictures from 1 s on, as cameras and editors write it."""
    source = tmp_path / "late.mkv"
    with av.open(str(source), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        sound = container.add_stream("aac", rate=16000, layout="mono")
        for number in range(50):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            frame.sample_rate, frame.pts = 16000, 1024 * number
            container.mux(sound.encode(frame))
        for number in range(50):
            frame = av.VideoFrame.from_ndarray(np.full((64, 96, 3), 5 * number, np.uint8), format="rgb24")
            frame.pts, frame.time_base = 25 + number, Fraction(1, 25)
            container.mux(video.encode(frame))
        container.mux([*sound.encode(), *video.encode()])
    times = read_index(source).times_s
    assert times[0] > 0.9
    make_proxy(source, tmp_path / "copy.mp4", lambda share: None)
    assert stamps(tmp_path / "copy.mp4") == pytest.approx([0, *times], abs=MOST_ERROR_S)


def test_half_a_copy_is_none(tmp_path):
    source = make_file(tmp_path, "xvid.avi")

    def stop(share):
        if share > 0.5:
            raise ProxyStopped

    with pytest.raises(ProxyStopped):
        make_proxy(source, tmp_path / "copies" / "copy.mp4", stop)
    assert os.listdir(tmp_path / "copies") == []


def wait_for(proxies, video, *states):
    waiting = threading.Event()
    for _ in range(600):
        if (state := proxies.state(video))["state"] in states:
            return state
        waiting.wait(0.05)
    raise AssertionError(proxies.state(video))


def test_a_copy_is_made_once_and_anew_for_a_changed_video(tmp_path):
    video = make_file(tmp_path, "xvid.avi")
    with closing(Proxies(tmp_path / "copies")) as proxies:
        assert proxies.state(video)["state"] == "none"
        proxies.start(video)
        wait_for(proxies, video, "ready")
        copy = proxies.path(video)
        made = copy.stat().st_mtime_ns
        proxies.start(video)
    with closing(Proxies(tmp_path / "copies")) as again:
        assert again.state(video)["state"] == "ready" and copy.stat().st_mtime_ns == made
        os.utime(video, ns=(1, 1))
        assert again.state(video)["state"] == "none" and again.path(video) != copy


def test_a_damaged_video_is_told_and_may_be_tried_again(tmp_path):
    video = tmp_path / "bad.avi"
    video.write_bytes(b"RIFF" + bytes(100))
    with closing(Proxies(tmp_path / "copies")) as proxies:
        proxies.start(video)
        assert "bad.avi" in wait_for(proxies, video, "failed")["error"]
        with pytest.raises(VideoError):
            make_proxy(video, tmp_path / "x.mp4", lambda share: None)
        proxies.start(video)
        assert wait_for(proxies, video, "failed")
    assert os.listdir(tmp_path / "copies") == []


def test_copies_are_kept_in_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "longtal" / "review"


def test_only_the_page_can_have_a_copy_made(tmp_path):
    make_file(tmp_path / "videos", "xvid.avi")
    with serving(tmp_path, source=None, labels=["walk"]) as server:
        assert json.loads(ask(server, "status/0")[2])["state"] == "none"
        assert ask(server, "copy/0")[0] == 404
        for header in ("Origin", "X_Longtal_Token", "Content_Type"):
            assert post(server, "copy/0", {}, **{header: None})[0] in (403, 415)
        assert json.loads(ask(server, "status/0")[2])["state"] == "none"
        status, answer = post(server, "copy/0", {})
        assert status == 200 and answer["plays"] is False
        wait_for(server.proxies, tmp_path / "videos" / "xvid.avi", "ready")
        assert ask(server, "copy/0", headers={"Range": "bytes=4-7"})[::2] == (206, b"ftyp")


@needs_chromium
@pytest.mark.parametrize("name", ["xvid.avi", "asp.mp4", "camera.MTS", "varying.mkv", "hidden.mp4"])
def test_chromium_shows_every_picture_of_a_copy_at_its_time(opened, tmp_path, name):
    folder = tmp_path / "videos"
    if name == "hidden.mp4":  # its name says that browsers play it, its content is not a browser's
        make_file(folder, "disc.mpg").rename(folder / name)
    else:
        make_varying(folder / name) if name.startswith("varying") else make_file(folder, name)
    times = read_index(folder / name).times_s
    with serving(tmp_path, source=None, labels=["walk"]) as server:
        reviewer = Reviewer(opened(server.address), tmp_path / "corrections.json")
        reviewer.watched.until("document.getElementById('video').currentSrc.includes('copy/')").ready()
        reviewer.watch_pictures()
        for number in range(1, 30):
            reviewer.step_on(times[number])
        assert reviewer.page.locator("#no-video").is_hidden()
