"""Extraction by actors ends as that of one process, whatever is killed on the way."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from featstore import FeatureStore
from pipelines.actors import Actors
from pipelines.config import RunConfig, parse_config
from pipelines.extract import ExtractOptions, extract
from pipelines.extract import run as extraction
from tal.encoders import EncoderConfig
from tests.pipelines.actors.conftest import ENVIRONMENT, ROOT, Nodes
from tests.pipelines.actors.listening import listening, processes_below
from tests.pipelines.actors.slow import SlowEncode, at_work, wait_for
from tests.pipelines.extract.stored import everything
from tests.pipelines.interrupting import interruptible
from tests.tal.video.video_corpus import Make, make_video

_ENCODER = EncoderConfig(name="timm:test_resnet", clip_frames=8, frame_stride=2, size=40, crop=32)
_NAMES = [f"video_{number}" for number in range(6)]
_SCRIPT = """
import sys
from pathlib import Path
from pipelines.extract import extract, run
from tests.pipelines.actors.slow import SlowEncode
from tests.pipelines.actors.test_extract_on_ray import how, run_config
run.EncodeVideos = SlowEncode
extract(run_config(Path(sys.argv[1]), Path(sys.argv[2])), how(sys.argv[3]))
"""


def run_config(videos: Path, store: Path) -> RunConfig:
    data = {"videos": str(videos), "store": str(store), "fps": 10.0}
    return parse_config({"data": data, "encoder": _ENCODER})


def how(address: str | None) -> ExtractOptions:
    actors = None if address is None else Actors(address, 2)
    return ExtractOptions(workers=0, batch_clips=2, device="cpu", commit_every_s=0.0, actors=actors)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for number, name in enumerate(_NAMES):
        options = {"preset": "ultrafast", "bf": "0"}
        make_video(Make(name, "libx264", pictures=90 + 25 * number, gop=20, options=options), folder)
    (folder / "broken.mp4").write_bytes(b"no video at all" * 50)
    return folder


@pytest.fixture
def videos(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Named as a relative path: where the actors run, it has to mean the same."""
    shutil.copytree(pictures, tmp_path / "videos")
    monkeypatch.chdir(tmp_path)
    return Path("videos")


@pytest.fixture
def alone(videos: Path, tmp_path: Path) -> dict[str, object]:
    """What one process makes of the videos."""
    extract(run_config(videos, tmp_path / "alone.zarr"), how(None))
    return everything(tmp_path / "alone.zarr")


def complete(store: Path) -> list[str]:
    if not store.exists():
        return []
    with FeatureStore.open(store) as opened:
        return opened.video_ids


def test_an_actor_and_a_node_die_and_nothing_is_lost(
    nodes: Nodes,
    videos: Path,
    alone: dict[str, object],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(extraction, "EncodeVideos", SlowEncode)
    store = Path("shared.zarr")

    def kill() -> None:
        wait_for(lambda: len(at_work(videos)) == 2)
        os.kill(at_work(videos)[0], signal.SIGKILL)
        wait_for(lambda: len(at_work(videos)) == 3)  # its successor works
        nodes.kill_second()
        (videos / "hold").unlink()

    (videos / "hold").touch()
    killer = threading.Thread(target=kill)
    killer.start()
    report = extract(run_config(videos, store), how(nodes.address))
    assert capsys.readouterr().out == "", "that is for results"
    killer.join()
    nodes.add_second()
    assert caplog.text.count("an actor died and is replaced") == 2
    assert sorted(report.done) == _NAMES and list(report.failed) == ["broken"]
    assert everything(store) == alone


def test_the_driver_dies_and_starts_again(
    nodes: Nodes, videos: Path, alone: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Path("shared.zarr")
    command = [sys.executable, "-c", _SCRIPT, str(videos), str(store), nodes.address]
    driver = subprocess.Popen(command)
    wait_for(lambda: complete(store))
    driver.kill()
    driver.wait()
    kept = complete(store)
    assert len(kept) < len(_NAMES)
    for process in at_work(videos):
        wait_for(lambda process=process: not Path(f"/proc/{process}").exists())

    def interrupt(before: int = len(kept)) -> None:
        wait_for(lambda: len(complete(store)) > before)
        os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(extraction, "EncodeVideos", SlowEncode)
        interrupter = threading.Thread(target=interrupt)
        interrupter.start()
        with interruptible(), pytest.raises(KeyboardInterrupt):
            extract(run_config(videos, store), how(nodes.address))
    interrupter.join()
    before, kept = kept, complete(store)
    assert len(before) < len(kept) < len(_NAMES)
    report = extract(run_config(videos, store), how(nodes.address))
    assert sorted(report.kept) == sorted(kept) and sorted(report.kept + report.done) == _NAMES
    assert everything(store) == alone


def test_a_ray_of_its_own_listens_on_loopback_alone(videos: Path, alone: dict[str, object]) -> None:
    """The command, as it is used; what it started is gone with it."""
    store = Path("shared.zarr")
    command = [sys.executable, str(ROOT / "cli.py"), "extract", "--videos", "videos", "--store", str(store)]
    command += ["--encoder", "timm:test_resnet", "--weights", "random", "--size", "40", "--crop", "32"]
    command += ["--fps", "10", "--clip-frames", "8", "--frame-stride", "2", "--workers", "1", "--batch", "2"]
    command += ["--ray", "local", "--actors", "2", "--device", "cpu"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    environment |= {k: v for k, v in ENVIRONMENT.items() if not k.startswith("RAY_")}
    temporary = Path(tempfile.mkdtemp(prefix="t", dir="/tmp"))  # the names of sockets have to be short
    environment |= {"TMPDIR": str(temporary)}
    driver = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    addresses: set[str] = set()
    processes: set[int] = set()
    while driver.poll() is None:
        below = processes_below(driver.pid)
        processes |= below
        addresses |= listening(below)
        time.sleep(0.1)
    printed = driver.communicate()[0]
    assert driver.returncode == 1 and "6 videos extracted" in printed, printed
    assert addresses == {"127.0.0.1"}
    wait_for(lambda: not any(Path(f"/proc/{process}").exists() for process in processes))
    assert list(temporary.iterdir()) == []
    temporary.rmdir()
    assert everything(store) == alone
