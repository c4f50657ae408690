"""Long sequences in chunks: what one pass over the whole gives, in the memory of a chunk."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from tal.errors import ConfigError
from tal.grid import FeatureGrid
from tal.inference.chunks import chunked_candidates, context_rows
from tal.inference.localize import InferenceConfig, localize
from tal.localizer import Localizer, LocalizerConfig
from tal.suppression import SuppressionConfig

GRID = FeatureGrid(fps=30.0, stride_frames=4, window_frames=4)
RAW = SuppressionConfig(method="none", max_segments=0, min_score=0.0)
SMALL = {"embed_dim": 16, "head_dim": 16, "levels": 4, "min_score": 0.0}
LOCAL = {
    "actionformer": {"name": "actionformer", **SMALL, "heads": 2, "window": 5},
    "actionformer-relative": {
        "name": "actionformer",
        **SMALL,
        "heads": 2,
        "window": (3, 3, 5, 9),
        "relative_position": True,
        "first_level": 0,
    },
    "actionformer-coarse": {"name": "actionformer", **SMALL, "levels": 3, "first_level": 1, "window": 7},
    "temporalmaxer": {"name": "temporalmaxer", **SMALL},
    "temporalmaxer-wide": {"name": "temporalmaxer", **SMALL, "head_kernel": 5, "neck_norm": "none"},
}


def make(decoder, channels=6, classes=3, **options):
    torch.manual_seed(0)
    localizer = Localizer(LocalizerConfig(decoder=decoder, **options), channels, classes, 256).eval()
    with torch.no_grad():
        for parameter in localizer.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return localizer


def detections(localizer, rows, valid=None, suppression=RAW, **options):
    config = InferenceConfig(
        **{"max_candidates": 10**6, "min_score": 0.0, "suppression": suppression, **options}
    )
    return localize(localizer, rows, GRID, config, len(rows) * GRID.step_s, valid)


def same(found, wanted, atol=2e-3):
    """Rows equal up to order: of equal scores the order is nobody's."""
    assert len(found) == len(wanted) > 0
    tables = [
        f.sort_values(["label_index", "start_s", "end_s", "score"]).to_numpy(dtype=float)
        for f in (found.round(3), wanted.round(3))
    ]
    assert np.abs(tables[0] - tables[1]).max() < atol


@pytest.mark.parametrize("name", LOCAL)
@pytest.mark.parametrize("downsample", [1, 4])
def test_chunks_give_what_one_pass_gives(name, downsample):
    localizer = make(LOCAL[name], downsample=downsample, width=16)
    torch.manual_seed(1)
    rows = torch.randn(2933, 6).numpy()  # no multiple of anything
    valid = np.ones(2933, bool)
    valid[700:1100] = False
    valid[-100:] = False
    for holes in (None, valid):
        whole = detections(localizer, rows, holes)
        same(detections(localizer, rows, holes, long="chunks", window_rows=500), whole)


@pytest.mark.parametrize("name", ["actionformer", "temporalmaxer"])
def test_without_context_chunks_differ(name, monkeypatch):
    localizer = make(LOCAL[name])
    rows = torch.randn(1000, 6).numpy()
    whole = detections(localizer, rows)
    monkeypatch.setattr("tal.inference.chunks.context_rows", lambda _: 0)
    with pytest.raises(AssertionError):
        same(detections(localizer, rows, long="chunks", window_rows=250), whole)


@pytest.mark.parametrize("name", ["actionformer", "temporalmaxer"])
def test_caps_count_the_whole_sequence(name):
    """The best candidates of a level are those of all chunks together, and short ones are dropped after."""
    localizer = make({**LOCAL[name], "topk_per_level": 300, "min_duration": 2.0, "min_score": 0.001})
    rows = torch.randn(3000, 6).numpy()
    soft = SuppressionConfig(max_segments=100)
    for options in ({}, {"max_candidates": 400}, {"max_candidates": 400, "suppression": soft}):
        whole = detections(localizer, rows, **options)
        same(detections(localizer, rows, long="chunks", window_rows=256, **options), whole)
    assert 0 < len(whole) <= 100


def test_no_read_is_longer_than_a_chunk_and_its_context():
    localizer = make(LOCAL["actionformer"], downsample=2, width=16)
    rows, reads = torch.randn(2000, 6), []

    def read(start, stop):
        reads.append(stop - start)
        return rows[start:stop], torch.ones(stop - start, dtype=torch.bool)

    chunked_candidates(localizer, read, 2000, 100)
    coarsest = 8 * 2
    assert len(reads) == -(-2000 // 112) and max(reads) <= 112 + 2 * (context_rows(localizer) + coarsest)


def test_a_sequence_of_one_chunk_and_an_empty_one():
    localizer = make(LOCAL["temporalmaxer"])
    rows = torch.randn(40, 6).numpy()
    same(detections(localizer, rows, long="chunks"), detections(localizer, rows))
    assert len(detections(localizer, rows[:0], long="chunks")) == 0


@pytest.mark.parametrize(
    ("decoder", "options", "reason"),
    [
        ({"name": "cltdr_gmg", "embed_dim": 16, "head_dim": 16, "mlp_dim": 16}, {}, "looks at the whole"),
        ({"name": "tridet", "embed_dim": 16, "head_dim": 16, "mlp_dim": 16}, {}, "looks at the whole"),
        ({"name": "actionformer", **SMALL, "window": (5, 5, 5, -1)}, {}, "looks at the whole"),
        ({"name": "actionformer", **SMALL, "absolute_position": True}, {}, "looks at the whole"),
        ({"name": "temporalmaxer", **SMALL, "neck_norm": "group"}, {}, "looks at the whole"),
        ({"name": "temporalmaxer", **SMALL, "masking": "release"}, {}, "masking is not strict"),
        (LOCAL["temporalmaxer"], {"tcm": {"layers": 1, "heads": 2}, "width": 16}, "consistency module"),
    ],
)
def test_what_is_not_exact_in_chunks_is_refused(decoder, options, reason):
    localizer = make(decoder, **options)
    rows = torch.randn(64, 6).numpy()
    with pytest.raises(ConfigError, match=f"(?s){reason}.*inference.long=windows"):
        detections(localizer, rows, long="chunks", window_rows=32)


# Runs alone, so that no other test's memory counts. Arguments: decoder (JSON), long, window_rows, rows, file.
_SCRIPT = """
import json, re, sys, threading, time
from pathlib import Path
import numpy as np, torch
from tal.grid import FeatureGrid
from tal.inference import InferenceConfig, localize
from tal.localizer import Localizer, LocalizerConfig

torch.set_num_threads(1)
decoder, long, window, total, out = sys.argv[1:6]
window, total = int(window), int(total)
torch.manual_seed(0)
localizer = Localizer(LocalizerConfig(decoder=json.loads(decoder)), 32, 3, 2304).eval()
rows = np.memmap(sys.argv[6], dtype=np.float32, mode="r", shape=(total, 32))
config = InferenceConfig(
    long=long, window_rows=window, batch_windows=1, max_candidates=500, suppression={"max_segments": 200}
)
grid = FeatureGrid(30.0, 4, 4)

def anonymous_mb():
    text = Path("/proc/self/status").read_text()
    return int(re.search(r"RssAnon:\\s+(\\d+)", text)[1]) / 1024

localize(localizer, rows[:256], grid, config, 30.0)  # what is allocated once is allocated now
base, peak, running = anonymous_mb(), [0.0], [True]

def watch():
    while running[0]:
        peak[0] = max(peak[0], anonymous_mb())
        time.sleep(0.005)

thread = threading.Thread(target=watch)
thread.start()
began = time.process_time()
found = localize(localizer, rows, grid, config, total * grid.step_s)
seconds = time.process_time() - began
running[0] = False
thread.join()
found.to_csv(out, index=False)
print(json.dumps({"growth_mb": peak[0] - base, "cpu_s": seconds}))
"""
HOUR_ROWS = 27_000  # 30 frames a second, a row every 4
WIDE = {"embed_dim": 64, "head_dim": 64, "min_score": 0.0}
LONG = {
    "actionformer": {"name": "actionformer", **WIDE},
    "temporalmaxer": {"name": "temporalmaxer", **WIDE},
    "tridet": {"name": "tridet", **WIDE, "mlp_dim": 96},
    "cltdr_gmg": {"name": "cltdr_gmg", **WIDE, "mlp_dim": 96},
}


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("name", LONG)
def test_three_hours_of_rows_in_the_memory_of_half_an_hour(tmp_path, name):
    """Memory beside the rows; for decoders of bounded reach also the detections of one pass."""
    import pandas as pd

    generator = np.random.default_rng(0)
    path = tmp_path / "rows.f32"
    values = (
        np.lib.stride_tricks.sliding_window_view(
            generator.standard_normal((3 * HOUR_ROWS + 15, 32), dtype=np.float32), 16, axis=0
        ).mean(-1)
        * 4
    )  # neighbours are alike, as in videos
    values.astype(np.float32).tofile(path)

    def run(long, window_rows, rows):
        out = tmp_path / f"{long}-{window_rows}-{rows}.csv"
        arguments = [json.dumps(LONG[name]), long, str(window_rows), str(rows), str(out), str(path)]
        done = subprocess.run(
            [sys.executable, "-c", _SCRIPT, *arguments], check=True, capture_output=True, text=True
        )
        return json.loads(done.stdout.splitlines()[-1]), pd.read_csv(out)

    chunked = name in ("actionformer", "temporalmaxer")
    long = "chunks" if chunked else "windows"
    half_hour, _ = run(long, 2304, HOUR_ROWS // 2)
    three_hours, found = run(long, 2304, 3 * HOUR_ROWS)
    figures = {"half an hour": half_hour, "three hours": three_hours}
    if chunked:
        figures["one pass"], whole = run("windows", 0, 3 * HOUR_ROWS)
        same(found, whole, atol=0.01)
        assert figures["one pass"]["growth_mb"] > 4 * three_hours["growth_mb"]
    else:
        # what fits the window is one pass
        _, in_window = run(long, 2304, 2304)
        _, whole = run(long, 0, 2304)
        pd.testing.assert_frame_equal(in_window, whole)
    print(name, figures)
    assert three_hours["growth_mb"] < 1.25 * half_hour["growth_mb"] + 20, figures
