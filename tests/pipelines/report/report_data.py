"""Made-up data for the report's tests: annotations, imperfect predictions, videos, a run's log."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

LABELS = ("chest press", "curl", "deadlift", "jump", "lunge", "plank", "push-up", "squat")


def make_annotations(
    folder: Path, num_videos: int = 6, labels=LABELS, seed: int = 0, duration_s: float = 40.0
) -> Path:
    """ActivityNet JSON with one subset, `validation`."""
    rng = np.random.default_rng(0)
    database = {}
    for number in range(num_videos):
        starts = np.sort(rng.uniform(0, duration_s - 6, 5))
        ends = starts + rng.uniform(2, 5.5, 5)
        segments = [
            {"label": str(rng.choice(labels)), "segment": [round(float(s), 3), round(float(e), 3)]}
            for s, e in zip(starts, ends, strict=True)
        ]
        video = {"subset": "validation", "duration": duration_s, "annotations": segments}
        database[f"video_{number:02d}"] = video
    path = folder / "annotations.json"
    path.write_text(json.dumps({"version": "1", "taxonomy": [], "database": database}))
    return path


def make_predictions(folder: Path, annotations: Path, seed: int = 1) -> Path:
    """Most actions found, some badly or twice, some of another class, some out of nothing."""
    rng = np.random.default_rng(seed)
    content = json.loads(annotations.read_text())["database"]
    labels = sorted({a["label"] for v in content.values() for a in v["annotations"]})
    results = {}
    for video_id, video in content.items():
        rows = []

        def add(label, start, end, score, video=video, rows=rows):
            start, end = max(0.0, start), min(video["duration"], end)
            if end > start:
                rows.append(
                    {"label": label, "score": float(np.clip(score, 0.01, 0.99)), "segment": [start, end]}
                )

        for action in video["annotations"]:
            start, end = action["segment"]
            kind = rng.uniform()
            if kind < 0.7:
                add(
                    action["label"],
                    start + rng.normal(0, 0.3),
                    end + rng.normal(0, 0.3),
                    rng.normal(0.8, 0.12),
                )
            elif kind < 0.85:
                add(action["label"], start - 2, end + 3, rng.normal(0.6, 0.1))
            if rng.uniform() < 0.25:
                add(action["label"], start + 0.4, end + 0.4, rng.normal(0.5, 0.1))
            if rng.uniform() < 0.25:
                add(str(rng.choice(labels)), start, end, rng.normal(0.45, 0.15))
        for _ in range(8):
            start = rng.uniform(0, video["duration"] - 3)
            add(str(rng.choice(labels)), start, start + rng.uniform(1, 4), rng.uniform(0.02, 0.45))
        results[video_id] = rows
    path = folder / "predictions.json"
    path.write_text(
        json.dumps(
            {"version": "VERSION 1.3", "results": results, "external_data": {"used": False, "details": ""}}
        )
    )
    return path


def make_log(path: Path, steps: int = 600, seed: int = 2) -> Path:
    """Steps and validations as a run logs them, with a line cut short at the end."""
    rng = np.random.default_rng(seed)
    lines = []
    for step in range(1, steps + 1):
        loss = 2.2 * np.exp(-step / 180) + 0.25 + rng.normal(0, 0.05)
        record = {
            "kind": "step",
            "step": step,
            "epoch": step // 60,
            "loss": loss,
            "cls": 0.6 * loss,
            "reg": 0.4 * loss,
            "finite": True,
            "lr": 1e-3 * min(1, step / 60) * 0.5 * (1 + np.cos(np.pi * step / steps)),
            "grad_norm": 1 + rng.exponential(0.5),
        }
        lines.append(json.dumps(record))
        if step % 60 == 0:
            lines.append(
                json.dumps({"kind": "validation", "step": step, "mAP": 0.6 * (1 - np.exp(-step / 200))})
            )
    path.write_text("\n".join(lines) + '\n{"kind": "step", "st')
    return path


def make_video(
    path: Path, duration_s: float = 40.0, fps: int = 10, size: tuple[int, int] = (160, 120)
) -> Path:
    """An H.264 file whose brightness tells the second."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = 160, 120
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"preset": "ultrafast", "g": str(fps)})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        ramp = np.linspace(0, 80, width, dtype=np.float32)[None, :, None]
        for number in range(int(duration_s * fps)):
            picture = (
                np.broadcast_to(ramp + 150 * number / (duration_s * fps), (height, width, 3))
                .astype(np.uint8)
                .copy()
            )
            at = int((number / fps * 20) % width)
            picture[40:80, at : at + 20] = (240, 200, 60)
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path
