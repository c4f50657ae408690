"""The review's page with a two-hour video and 5,000 segments: `python -m benchmarks.review_page`.

Processor time of one change in a headless Chromium: that of the page's main thread, layout and painting
included, and that of the server, from the key to "Saved". Other work on the machine does not count. A change
should take at most 50 ms of both together, which is what people take for at once.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

_MOST_MS = 50.0
_FPS = 5
_LABELS = [f"class {n}" for n in range(10)]
_SEED = 0
# Detections among the segments, the others are known actions.
_FOUND = 0.2
# What is pressed before a change, and the change itself.
_CHANGES = {
    "accept": (["n"], ["a"]),
    "nudge an edge": (["j"], ["r"]),
    "another class": (["j"], ["2"]),
    "new segment": (["Escape", "j", "Escape", "i", *["."] * 3], ["o"]),
    "delete": (["j"], ["d"]),
    "undo": ([], ["u"]),
    "redo": ([], ["U"]),
}
_MOVES = {"next bar (no change)": ([], ["j"])}

_SAVED = """() => new Promise((done) => {
  const look = () => {
    if (document.getElementById('saving').textContent !== 'Saved') setTimeout(look, 15);
    else requestAnimationFrame(() => requestAnimationFrame(done));
  };
  requestAnimationFrame(look);
})"""


def make_video(path: Path, seconds: int) -> None:
    """Tiny pictures, five a second."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=_FPS, options={"preset": "ultrafast", "g": "25"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(seconds * _FPS):
            picture = np.full((48, 64, 3), number % 200, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def make_segments(folder: Path, count: int, seconds: int) -> None:
    """``annotations.json`` and ``predictions.json`` of one video, with so many segments together."""
    rng = np.random.default_rng(_SEED)
    start = np.sort(rng.uniform(0, seconds - 10, count)).round(2)
    end = (start + rng.uniform(0.6, 6, count)).round(2)
    label = rng.integers(len(_LABELS), size=count)
    found = rng.uniform(size=count) < _FOUND
    segments = [
        {"label": _LABELS[c], "segment": [s, e]}
        for s, e, c in zip(start.tolist(), end.tolist(), label.tolist(), strict=True)
    ]
    known = [item for item, is_found in zip(segments, found, strict=True) if not is_found]
    scored = [
        {**item, "score": round(float(rng.uniform(0.1, 1)), 3)}
        for item, is_found in zip(segments, found, strict=True)
        if is_found
    ]
    entry = {"subset": "", "duration": seconds, "annotations": known}
    (folder / "annotations.json").write_text(json.dumps({"database": {"video": entry}}))
    (folder / "predictions.json").write_text(json.dumps({"results": {"video": scored}}))


@contextmanager
def serving(folder: Path) -> Iterator[tuple[str, int]]:
    """A review in a process of its own; (address, process id)."""
    command = [sys.executable, "cli.py", "review", str(folder / "predictions.json"), "--no-open"]
    command += ["--annotations", str(folder / "annotations.json"), "--videos", str(folder / "videos")]
    command += ["--max-per-video", "100000", "--out", str(folder / "corrections.json")]
    root = Path(__file__).resolve().parents[1]
    with subprocess.Popen(
        command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[0], process.pid
        finally:
            process.kill()


class Meter:
    """Processor time so far, seconds: of the page's main thread and of the server."""

    def __init__(self, page: Any, server: int) -> None:
        self._cdp = page.context.new_cdp_session(page)
        self._cdp.send("Performance.enable", {"timeDomain": "threadTicks"})
        self._stat = Path(f"/proc/{server}/stat")

    def read(self) -> np.ndarray[Any, Any]:
        metrics = {m["name"]: m["value"] for m in self._cdp.send("Performance.getMetrics")["metrics"]}
        fields = self._stat.read_text().rpartition(")")[2].split()
        return np.array(
            [metrics["TaskDuration"], (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")]
        )


def measure(
    page: Any, meter: Meter, ways: dict[str, tuple[list[str], list[str]]], times: int
) -> dict[str, np.ndarray[Any, Any]]:
    """Milliseconds (page, server) of one change of each kind, the mean of ``times``."""
    spent = {}
    for name, (before, keys) in ways.items():
        total = np.zeros(2)
        for repeat in range(times + 1):
            for key in before:
                page.keyboard.press(key)
            page.evaluate(_SAVED)
            begun = meter.read()
            for key in keys:
                page.keyboard.press(key)
            page.evaluate(_SAVED)
            if repeat:  # the first one warms up
                total += meter.read() - begun
        spent[name] = 1000 * total / times
    return spent


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--segments", type=int, default=5000)
    parser.add_argument("--seconds", type=int, default=7200)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--zoom", type=int, default=0, help="how often + is pressed before")
    parser.add_argument("--chromium", default=os.environ.get("CHROMIUM", "/usr/bin/chromium"))
    options = parser.parse_args()
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as name, sync_playwright() as driver:
        folder = Path(name)
        (folder / "videos").mkdir()
        make_video(folder / "videos" / "video.mp4", options.seconds)
        make_segments(folder, options.segments, options.seconds)
        with serving(folder) as (address, server):
            browser = driver.chromium.launch(executable_path=options.chromium, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1366, "height": 900})
            page.set_default_timeout(300_000)
            page.goto(address, wait_until="load")
            while "picture" not in page.locator("#clock").inner_text():
                page.wait_for_timeout(50)
            for _ in range(options.zoom):
                page.keyboard.press("+")
            spent = measure(page, Meter(page, server), _CHANGES | _MOVES, options.times)
            size = (folder / "corrections.json").stat().st_size / 1e6
            browser.close()
    print(f"{options.segments} segments in {options.seconds} s of video; corrections.json {size:.2f} MB")
    print(f"{'':22}{'page':>8}{'server':>8}{'both':>8}   ms a change, and both of {_MOST_MS:g} ms")
    for what, (page_ms, server_ms) in spent.items():
        both = page_ms + server_ms
        print(f"{what:22}{page_ms:8.1f}{server_ms:8.1f}{both:8.1f}{both / _MOST_MS:8.2f}")


if __name__ == "__main__":
    main()
