"""Slow: prediction of a video of three hours takes no more memory of its own than that of ten minutes."""

import json
import subprocess
import sys

import numpy as np
import pytest
import yaml

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

# Runs alone, so that no other test's memory counts; prints the largest anonymous memory in MB.
_SCRIPT = """
import json, re, sys, threading, time
from pathlib import Path
from tal import Detector

def anonymous_mb():
    text = Path("/proc/self/status").read_text()
    return int(re.search(r"RssAnon:\\s+(\\d+)", text)[1]) / 1024

detector = Detector.load(sys.argv[1])
detector.predict(sys.argv[2])  # what is allocated once is allocated now
base, peak, running = anonymous_mb(), [0.0], [True]

def watch():
    while running[0]:
        peak[0] = max(peak[0], anonymous_mb())
        time.sleep(0.02)

thread = threading.Thread(target=watch)
thread.start()
found = detector.predict(sys.argv[3])
running[0] = False
thread.join()
print(json.dumps({"growth_mb": peak[0] - base, "found": len(found)}))
"""


def _video(path, minutes):
    from tal.video.writer import VideoWriter

    rng = np.random.default_rng(0)
    pictures = [
        np.kron(rng.integers(0, 255, (2, 2, 3), np.uint8), np.ones((16, 16, 1), np.uint8)) for _ in range(8)
    ]
    with VideoWriter(path, 1.0, gop=10, preset="ultrafast") as writer:
        for i in range(minutes * 60):
            writer.add(pictures[i % 8])
    return path


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_three_hours_need_no_more_than_ten_minutes(tmp_path):
    import torch
    from safetensors.torch import save_file

    from tal.encoders import EncoderConfig, build_encoder
    from tal.localizer import Localizer, LocalizerConfig

    model = tmp_path / "model"
    model.mkdir()
    encoder_tree = {"name": "timm:test_efficientnet", "clip_frames": 8, "size": 32, "crop": 32}
    decoder_tree = {"name": "temporalmaxer", "embed_dim": 16, "head_dim": 16, "levels": 2}
    encoder = build_encoder(EncoderConfig(**encoder_tree))
    torch.manual_seed(0)
    localizer = Localizer(LocalizerConfig.model_validate({"decoder": decoder_tree}), encoder.channels, 2, 64)
    weights = {f"encoder.{k}": v.contiguous() for k, v in encoder.state_dict().items()}
    save_file(
        weights | {f"localizer.{k}": v for k, v in localizer.state_dict().items()},
        model / "model.safetensors",
    )
    tree = {
        "data": {"fps": 5.0},
        "encoder": encoder_tree,
        "window": {"num_rows": 64},
        "localizer": {"decoder": decoder_tree},
    }
    (model / "config.yaml").write_text(yaml.safe_dump(tree))
    for name, value in (("labels", ["a", "b"]), ("thresholds", {}), ("provenance", {})):
        (model / f"{name}.json").write_text(json.dumps(value))
    grown = {}
    short = _video(tmp_path / "short.mp4", 2)
    for minutes in (10, 180):
        path = _video(tmp_path / f"{minutes}.mp4", minutes)
        done = subprocess.run(
            [sys.executable, "-c", _SCRIPT, str(model), str(short), str(path)],
            check=True,
            capture_output=True,
            text=True,
        )
        result = json.loads(done.stdout.splitlines()[-1])
        assert result["found"] > 0
        grown[minutes] = result["growth_mb"]
    print(grown)
    assert grown[180] < grown[10] + 100, grown
