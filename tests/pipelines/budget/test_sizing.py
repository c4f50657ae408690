"""What a data set takes, against stores that are really made."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from featstore import FeatureSpec, FeatureStore
from featstore.sizes import store_size
from pipelines.budget.estimate import rough_time
from pipelines.budget.sizing import KNOWN, DataSetSize, parse_size, sizing
from pipelines.config import load_config, parse_config
from pipelines.store.run import human_bytes
from tal.encoders import build_encoder, feature_spec
from tal.errors import ConfigError
from tal.grid import FrameGrid
from tests.pipelines.budget.test_plan import TINY
from tests.pipelines.store.test_store_cli import run


def on_disk(path):
    """(bytes that are taken, files)."""
    files = [file.stat() for file in path.rglob("*") if file.is_file()]
    return sum(status.st_blocks * 512 for status in files), len(files)


def fill(path, spec, lengths, chunk_bytes):
    """A store as an extraction makes it: all videos reserved at once, then filled one by one."""
    names = [f"video_{number:06d}" for number in range(len(lengths))]
    with FeatureStore.create(path, spec, chunk_bytes=chunk_bytes) as store:
        store.add_videos({"id": name, "num_rows": n} for name, n in zip(names, lengths, strict=True))
        store.commit()
        for name, count in zip(names, lengths, strict=True):
            store.write(name, 0, np.ones((count, spec.channels), spec.dtype), 0)
            store.complete(name)
        store.commit()


@pytest.mark.parametrize(
    ("videos", "rows", "chunk_bytes"), [(7, 1000, 1 << 16), (300, 500, 1 << 18), (40, 4000, 128 << 20)]
)
def test_bytes_and_files_are_those_of_a_store_that_is_made(tmp_path, videos, rows, chunk_bytes):
    spec = FeatureSpec("net", "none", 64, clip_frames=16, frame_stride=4, fps=15.0)
    fill(tmp_path / "s.zarr", spec, [rows] * videos, chunk_bytes)
    planned = store_size(spec, rows * videos, videos, videos * 12, chunk_bytes)
    num_bytes, num_files = on_disk(tmp_path / "s.zarr")
    assert num_files == planned.num_files
    # each file takes whole blocks of 4 KiB, and there are a few KiB of zarr.json
    assert planned.num_bytes <= num_bytes <= planned.num_bytes + 4096 * num_files + (1 << 16)


def test_a_plan_of_a_smaller_data_set_against_its_store(tmp_path):
    """60 videos of 20 to 60 s, as `extract` would reserve them, against the plan by their number and mean."""
    config = parse_config(TINY)
    durations = np.random.default_rng(0).uniform(20, 60, 60)
    encoder = build_encoder(config.encoder)
    frames = [FrameGrid(config.data.fps).num_frames(float(d)) for d in durations]
    spec = feature_spec(encoder, config.data.fps)
    fill(tmp_path / "s.zarr", spec, list(map(encoder.grid.num_rows, frames)), 1 << 27)
    plan = sizing(config, DataSetSize(60, float(durations.mean())), clips_per_s=10.0)
    with FeatureStore.open(tmp_path / "s.zarr") as store:
        assert plan.store.num_rows == pytest.approx(store.num_rows, rel=0.01)
    num_bytes, num_files = on_disk(tmp_path / "s.zarr")
    assert plan.store.num_files == num_files
    assert (
        plan.store.num_bytes <= num_bytes * 1.01
        and num_bytes <= plan.store.num_bytes * 1.01 + 4096 * num_files
    )
    assert plan.num_clips == pytest.approx(sum(map(encoder.grid.num_clips, frames)), rel=0.02)
    assert plan.device_hours == pytest.approx(plan.num_clips / 36_000)


def test_long_videos_are_sampled_more_slowly():
    config = parse_config({**TINY, "data": {**TINY["data"], "max_frames": 16}})
    rows = sizing(config, DataSetSize(10, 3600), clips_per_s=1.0).store.num_rows
    assert rows == 10 * 16 // config.encoder.frame_stride


def test_devices_share_and_a_rate_is_measured_where_none_is_given(monkeypatch):
    monkeypatch.setattr("pipelines.budget.sizing.time_encoding", lambda *_: (7, (0.5, 0.25)))
    plan = sizing(parse_config(TINY), DataSetSize(100, 60), num_devices=4)
    assert plan.clips_per_s == 4 and plan.device == "cpu"
    assert "measured on this machine's cpu" in plan.lines()[2] and "on 4" in plan.lines()[2]
    assert plan.bytes_per_s == pytest.approx(4 * plan.store.num_bytes / plan.device_hours / 3600)


def test_names_and_numbers():
    assert parse_size("19994x117.5") == DataSetSize(19994, 117.5) and parse_size("hacs") is KNOWN["hacs"]
    for text in ("", "0x5", "5x0", "many", "1e6x10", "5x", "5X10", "-1x5"):
        with pytest.raises(ConfigError, match="VIDEOSxSECONDS"):
            parse_size(text)
    with pytest.raises(ConfigError, match="encoder"):
        sizing(parse_config({}), KNOWN["hacs"])


def test_the_command(tmp_path):
    (tmp_path / "run.yaml").write_text(json.dumps(TINY))
    words = (
        "plan",
        "--config",
        tmp_path / "run.yaml",
        "--dataset-size",
        "thumos14",
        "--clips-per-second",
        50,
    )
    text = run(*words, "--devices", 8)
    assert "413 videos of 212 s" in text and "files" in text and "at 10 Gbit/s" in text and "on 8" in text
    shown = json.loads(run(*words, "--json"))
    assert shown["num_videos"] == 413 and shown["store"]["num_files"] > 20 and shown["hours"] > 0


PAGE = Path(__file__).resolve().parents[3] / "docs" / "sizing.md"
LINES = re.findall(r"^\| .* \| `[a-z0-9/]+` \| .*$", PAGE.read_text(), flags=re.M)


@pytest.mark.parametrize(("name", "line"), list(zip(KNOWN, LINES, strict=True)))
def test_the_page_has_what_the_command_says(name, line):
    preset = re.search(r"`(.+?)`", line)[1]
    plan = sizing(load_config(preset), KNOWN[name], clips_per_s=100.0, num_devices=8)
    size = plan.store
    assert [cell.strip() for cell in line.split("|")[2:-1]] == [
        f"{plan.data.num_videos:,} × {plan.data.mean_s:g} s",
        f"`{preset}`",
        f"{size.num_rows:,}",
        human_bytes(size.num_bytes),
        f"{size.num_files:,}",
        f"{plan.num_clips:,}",
        f"{plan.device_hours:,.1f}",
        f"{human_bytes(plan.bytes_per_s)}/s",
        rough_time(size.num_bytes / 1.25e9),
    ]
