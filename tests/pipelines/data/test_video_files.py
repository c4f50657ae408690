"""Which files of a folder are videos: suffixes of recorders, hidden files, and what is said of the rest."""

from __future__ import annotations

import shutil
from pathlib import Path

import av
import numpy as np
import pytest

from pipelines.data.check import check
from pipelines.data.videos import find_sources, find_videos, open_videos
from pipelines.init.survey import survey
from tal.annotations import read_annotations
from tal.annotations.videos import list_videos
from tal.errors import AnnotationError, VideoError

# suffix -> FFmpeg's container
RECORDERS = {".MTS": "mpegts", ".m2ts": "mpegts", ".3gp": "3gp", ".MOD": "vob", ".vob": "vob", ".asf": "asf"}
RECORDERS |= {".f4v": "mp4", ".insv": "mp4", ".LRV": "mp4", ".m2t": "mpegts", ".nut": "nut", ".qt": "mov"}


def write_video(path: Path, container: str) -> None:
    codec = "mpeg2video" if container == "vob" else "mpeg4"
    with av.open(str(path), "w", format=container) as out:
        stream = out.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for grey in range(0, 100, 4):
            picture = np.full((48, 64, 3), grey, np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                out.mux(packet)
        for packet in stream.encode():
            out.mux(packet)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    for number, (suffix, container) in enumerate(RECORDERS.items()):
        write_video(folder / f"cam{number}{suffix}", container)
    return folder


def annotations_of(folder: Path, *names: str) -> Path:
    path = folder / "truth.csv"
    path.write_text("video,start,end,label\n" + "".join(f"{name},0,0.5,jump\n" for name in names))
    return path


def test_recorders_suffixes_are_looked_for_and_read(recordings: Path, tmp_path: Path) -> None:
    names = [f"cam{number}" for number in range(len(RECORDERS))]
    assert sorted(find_videos([recordings])) == sorted(find_sources(recordings).paths) == sorted(names)
    infos, failed = open_videos(find_videos([recordings]), "auto")
    assert not failed
    assert all(abs(info.duration_s - 1.0) < 0.05 for info in infos.values())
    report = check(annotations_of(tmp_path, *names), recordings)
    assert report.num_errors == 0


def test_hidden_files_and_litter_of_systems_are_skipped(recordings: Path, tmp_path: Path) -> None:
    source = recordings / "cam0.MTS"
    names = ("a.mp4", "._a.mp4", ".hidden.mp4", ".Trashes/501/b.mp4", "@eaDir/a.mp4/c.mp4", "__MACOSX/d.mp4")
    for name in (
        *names,
        "$RECYCLE.BIN/e.mp4",
        "System Volume Information/f.mp4",
        "lost+found/g.mp4",
        "in/h.mp4",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, tmp_path / name)
    assert [p.relative_to(tmp_path).as_posix() for p in list_videos(tmp_path)] == ["a.mp4", "in/h.mp4"]


def test_a_file_that_is_not_looked_for_is_named(recordings: Path, tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    (videos / "day1").mkdir(parents=True)
    shutil.copy(recordings / "cam0.MTS", videos / "good.mts")
    shutil.copy(recordings / "cam0.MTS", videos / "day1" / "cam.xyz")
    truth = annotations_of(tmp_path, "good", "day1/cam", "gone")
    said = {p.video: p.detail for p in check(truth, videos).problems if p.check == "missing"}
    assert said["day1/cam"].endswith("cam.xyz is there, a suffix that is not looked for")
    assert said["gone"] == f"no file for it in {videos}"
    notes = survey(read_annotations(truth), videos, "auto").notes
    assert "day1/cam: cam.xyz is there, a suffix that is not looked for" in notes
    (videos / "good.mts").unlink()
    with pytest.raises(VideoError, match=r"day1/cam: cam\.xyz is there"):
        find_sources(videos, truth)
    with pytest.raises(AnnotationError, match=r"day1/cam: cam\.xyz is there"):
        survey(read_annotations(truth), videos, "auto")
    for call in (lambda: find_sources(videos), lambda: find_videos([videos])):
        with pytest.raises(VideoError, match=r"\(there are 'cam\.xyz'\); looked for \.mp4"):
            call()
    assert list(find_videos([videos / "day1" / "cam.xyz"])) == ["cam"]  # named by the user
