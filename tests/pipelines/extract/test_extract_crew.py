"""Several processes extract into one store: each video once, nothing lost with a process that dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from featstore import FeatureSpec, FeatureStore, StoreLockedError, VideoRecord
from pipelines.config import RunConfig, parse_config
from pipelines.extract import ExtractOptions, extract
from pipelines.extract.crew import Crew
from pipelines.extract.run import open_store
from pipelines.extract.spool import done_path, finished, part_path
from tal.encoders import EncoderConfig
from tests.tal.video.video_corpus import Make, make_video

_ROOT = Path(__file__).resolve().parents[3]
_SPEC = FeatureSpec("e", weights="w", channels=4, clip_frames=8, frame_stride=2, fps=5.0)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "s.zarr"
    open_store(path, _SPEC).close()
    with FeatureStore.open(path, "r+") as opened:
        opened.add_videos([{"id": f"v{i}", "num_rows": 5 + i} for i in range(3)])
        opened.commit()
    return path


def _rows(record: VideoRecord) -> np.ndarray:
    return np.random.default_rng(record.index).normal(size=(record.num_rows, 4)).astype(np.float32)


def _extract_one(crew: Crew, reader: FeatureStore, video_id: str) -> bool:
    record = reader.video(video_id)
    spool = crew.claim(record, reader)
    if spool is None or crew.is_done(record, reader):
        if spool is not None:
            spool.discard()
        return False
    rows = _rows(record)
    spool.add(0, rows[:4])
    spool.add(4, np.concatenate([rows[4:], rows[:2]]))  # a last clip reaches beyond the end
    spool.finish()
    return True


def test_a_video_is_taken_once_and_delivered_by_anyone(store: Path) -> None:
    with Crew(store) as one, Crew(store) as two, FeatureStore.open(store) as reader:
        assert one.first and not two.first
        begun = one.claim(reader.video("v0"), reader)
        assert begun is not None
        assert two.claim(reader.video("v0"), reader) is None, "it is in the other's hands"
        assert _extract_one(two, reader, "v1")
        assert not _extract_one(one, reader, "v1"), "finished, though not yet in the store"
        assert one.deliver() == 1 and reader.video_ids == ["v1"]
        assert not _extract_one(two, reader, "v1"), "in the store"
        begun.discard()
        assert _extract_one(two, reader, "v0"), "given back"
        assert two.deliver() == 1 and two.deliver() == 0
        for video_id in ("v0", "v1"):
            record = reader.video(video_id)
            np.testing.assert_array_equal(
                reader.read(video_id, 0, record.num_rows), _rows(record).astype(np.float16)
            )
        assert reader.verify().empty
    assert not (store / "extract").exists(), "the last to leave clears up"


def test_what_a_dead_process_left(store: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its finished video is delivered by the next, its begun one starts over, a damaged file is not
    believed.
    """
    folder = store / "extract"
    with FeatureStore.open(store) as reader:
        with Crew(store) as dead:
            for video_id in ("v0", "v1"):
                assert _extract_one(dead, reader, video_id)
            kept = {p: p.read_bytes() for p in finished(folder)}
            assert dead.deliver() == 2
        folder.mkdir()
        for path, content in kept.items():
            path.write_bytes(content)
        part_path(folder, "v2").write_bytes(b"half a row")
        with FeatureStore.open(store, "r+") as writer:
            writer.reopen("v0")
            writer.reopen("v1")
            writer.commit()
        damaged = done_path(folder, "v1")
        content = bytearray(damaged.read_bytes())
        content[3] ^= 1
        damaged.write_bytes(content)
        with Crew(store) as crew:
            assert crew.first and crew.deliver() == 1
            assert reader.video_ids == ["v0"]
            assert "damaged" in caplog.text
            assert _extract_one(crew, reader, "v1") and _extract_one(crew, reader, "v2")
            damaged.write_bytes(b"")
            crew.deliver()
        assert reader.video_ids == ["v0", "v2"]


def test_failures_reach_the_store(store: Path) -> None:
    with Crew(store) as crew, FeatureStore.open(store) as reader:
        for video_id, value in (("v0", np.nan), ("v1", 1e6)):
            spool = crew.claim(reader.video(video_id), reader)
            assert spool is not None
            spool.add(0, np.full((4, 4), value, np.float32))
            spool.add(4, np.zeros((1, 4), np.float32))
            spool.finish()
        assert crew.deliver() == 2
        assert [reader.video(v).state for v in ("v0", "v1")] == ["failed", "failed"]
        assert "not finite as float16" in reader.video("v1").reason
        assert crew.is_done(reader.video("v0"), reader)


def test_a_store_that_something_else_writes_is_refused(store: Path) -> None:
    with FeatureStore.open(store, "r+"), Crew(store) as crew:
        busy = pytest.raises(StoreLockedError, match="being written by process")
        with busy, crew.writing(wait_s=0.0):
            raise AssertionError("nobody may write now")


# -- real processes ------------------------------------------------------------------------------------------

_ENCODER = EncoderConfig(name="timm:test_resnet", clip_frames=8, frame_stride=2, size=40, crop=32)
_SCRIPT = """
import sys, time
from pathlib import Path
from tests.pipelines.extract.test_extract_crew import HOW, run_config
from pipelines.extract import extract, run
write = run._Extraction._write
def slow(self, spool, encoded):
    time.sleep(float(sys.argv[3]))
    print(encoded.key, flush=True)
    return write(self, spool, encoded)
run._Extraction._write = slow
report = extract(run_config(Path(sys.argv[1]), Path(sys.argv[2])), HOW)
print("end", len(report.done), len(report.others), *report.failed, flush=True)
"""


HOW = ExtractOptions(workers=0, batch_clips=2, device="cpu", commit_every_s=0.0)


def run_config(videos: Path, store: Path) -> RunConfig:
    data = {"videos": str(videos), "store": str(store), "fps": 10.0}
    return parse_config({"data": data, "encoder": _ENCODER})


def _start(videos: Path, store: Path, seconds_a_clip: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _SCRIPT, str(videos), str(store), str(seconds_a_clip)]
    return subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True)


def _everything(store: Path) -> dict[str, object]:
    """All that a store says, but when it was written."""
    found: dict[str, object] = {}
    with FeatureStore.open(store) as opened:
        assert opened.verify().empty
        found["videos"] = opened.videos().to_csv()
        for video_id in opened.video_ids:
            count = opened.video(video_id).num_rows
            ledger = opened.ledger(video_id, 0, count)
            names = ("time_s", "step", "writes", "crc32c")
            found[video_id] = [opened.read(video_id, 0, count).tobytes()]
            found[video_id] += [np.asarray(ledger[name]).tobytes() for name in names]
    return found


@pytest.mark.slow
def test_processes_share_the_work_and_outlive_one_that_is_killed(tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    for number in range(8):
        options = {"preset": "ultrafast", "bf": "0"}
        make = Make(f"video_{number}", "libx264", pictures=90 + 25 * number, gop=20, options=options)
        make_video(make, videos)
    (videos / "broken.mp4").write_bytes(b"no video at all" * 50)
    store = tmp_path / "shared.zarr"
    processes = [_start(videos, store, 0.3) for _ in range(3)]
    victim, *others = processes
    assert victim.stdout is not None
    in_hand = [victim.stdout.readline().strip() for _ in range(2)][-1]
    os.kill(victim.pid, signal.SIGKILL)
    victim.wait()
    victim.stdout.close()
    ends, taken = [], []
    for process in others:
        lines = process.communicate(timeout=300)[0].split("\n")
        assert process.returncode == 0
        ends.append(lines[-2].split())
        taken.append(set(lines[:-2]))
    assert in_hand in set.union(*taken), "another process takes over what the dead one had begun"
    assert all(taken) and sum(int(e[1]) for e in ends) in (7, 8)
    for _, done, elsewhere, failed in ends:
        assert int(done) + int(elsewhere) == 8 and failed == "broken", "each reports on the whole"
    assert not (store / "extract").exists()
    alone = tmp_path / "alone.zarr"
    extract(run_config(videos, alone), HOW)
    assert _everything(store) == _everything(alone)
