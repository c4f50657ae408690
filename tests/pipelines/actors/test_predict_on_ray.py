"""Prediction by actors finds what one process finds, also when one of them dies."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipelines.actors import Actors
from pipelines.commands.predict import command
from pipelines.predict import detect
from pipelines.predict.run import load_detector, predict
from tests.pipelines.actors.conftest import Nodes
from tests.pipelines.actors.slow import SlowDetect, at_work, wait_for
from tests.pipelines.predict.test_predict import _tiny_model
from tests.tal.video.video_corpus import Make, make_video


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = _tiny_model(tmp_path_factory.mktemp("model") / "model")
    return folder


@pytest.fixture
def videos(tmp_path: Path) -> dict[str, Path]:
    (tmp_path / "videos").mkdir()
    for number in range(6):
        options = {"preset": "ultrafast", "bf": "0"}
        make = Make(f"v{number}", "libx264", pictures=100 + 20 * number, gop=20, options=options)
        make_video(make, tmp_path / "videos")
    (tmp_path / "videos" / "broken.mp4").write_bytes(b"no video at all" * 50)
    return {path.stem: path for path in sorted((tmp_path / "videos").glob("*.mp4"))}


def test_an_actor_dies_and_the_detections_are_those_of_one_process(
    nodes: Nodes,
    model: Path,
    videos: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    detector = load_detector(model, "cpu")
    predict(detector, videos, tmp_path / "alone")
    monkeypatch.setattr(detect, "DetectVideos", SlowDetect)
    folder = tmp_path / "videos"

    def kill() -> None:
        wait_for(lambda: len(at_work(folder)) == 2)
        os.kill(at_work(folder)[0], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    told: list[str] = []
    report = predict(
        detector,
        videos,
        tmp_path / "shared",
        on_progress=lambda video, done, total: told.append(video),
        actors=Actors(nodes.address, 2),
        device="cpu",
    )
    killer.join()
    assert caplog.text.count("an actor died and is replaced") == 1
    assert report.done == [f"v{number}" for number in range(6)] and list(report.failed) == ["broken"]
    assert sorted(told) == sorted(videos)
    one, many = ((tmp_path / out / "predictions.json").read_bytes() for out in ("alone", "shared"))
    assert one == many and len(report.all)


def test_the_command_needs_videos(model: Path, tmp_path: Path) -> None:
    for words, said in (
        (["--ray", "local", "--from-store", str(tmp_path)], "--ray shares videos among actors"),
        (["v.mp4", "--actors", "2"], "--actors and --video-timeout go with --ray"),
    ):
        done = CliRunner().invoke(command, [*words, "--model", str(model), "--out", str(tmp_path / "out")])
        assert done.exit_code == 2 and said in done.output
