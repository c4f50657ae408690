"""The report's threshold slider with many detections: `python -m benchmarks.report`.

Processor time of the main thread for one move of the slider in a headless Chromium, layout included; other
work on the machine does not count. Yardstick, same run, same page: the plain way, which walks through all
detections, counts those of each video and class, and draws a rectangle for each that is on show.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.report import Report, write_report
from pipelines.report.run import ReportVideo

_SECONDS, _ACTIONS = 600.0, 10

# Moves the slider, a frame each; or, `plain`, draws everything anew by itself.
_MOVES = """async ([values, plain]) => {
  const slider = document.getElementById('threshold');
  const frame = () => new Promise(requestAnimationFrame);
  window.readData ??= JSON.parse(document.getElementById('data').textContent);
  const data = window.readData;
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [1200, data.labels.length];
  const paint = canvas.getContext('2d');
  const redraw = (cut) => {
    paint.clearRect(0, 0, canvas.width, canvas.height);
    const byClass = data.labels.map(() => 0);
    const byVideo = data.videos.map((video) => {
      const { start, end, label, score } = video.found;
      let shown = 0;
      for (let i = 0; i < start.length; i += 1) {
        if (score[i] < cut) continue;
        shown += 1;
        byClass[label[i]] += 1;
        const scale = 1200 / video.duration;
        paint.fillRect(scale * start[i], label[i], scale * (end[i] - start[i]), 1);
      }
      return shown;
    });
    return byClass.length + byVideo.length;
  };
  for (const value of values) {
    await frame();
    if (plain) redraw(value);
    else {
      slider.value = String(value);
      slider.dispatchEvent(new Event('input', { bubbles: true }));
    }
    await frame();
  }
  await frame();
}"""
_PARTS = {"TaskDuration": "in all", "ScriptDuration": "script", "LayoutDuration": "layout"}


def work_ms(page: Any, cdp: Any, cuts: list[float], plain: bool) -> dict[str, float]:
    """Processor time of the page's main thread, in milliseconds per move, without the tables that follow."""

    def metrics() -> dict[str, float]:
        return {m["name"]: m["value"] for m in cdp.send("Performance.getMetrics")["metrics"]}

    page.evaluate(_MOVES, [cuts[:2], plain])  # what is made at the first move only
    page.wait_for_timeout(1500)
    before = metrics()
    page.evaluate(_MOVES, [cuts, plain])
    after = metrics()
    page.wait_for_timeout(1500)
    return {name: 1000 * (after[key] - before[key]) / len(cuts) for key, name in _PARTS.items()}


def made_up(videos: int, detections: int, labels: int) -> Report:
    """Videos of ten minutes with ten true actions each; a quarter of the detections lies near one."""
    rng = np.random.default_rng(0)
    entries, count = [], detections // videos
    for number in range(videos):
        start = np.sort(rng.uniform(0, _SECONDS - 20, _ACTIONS))
        action = np.stack([start, start + rng.uniform(3, 15, _ACTIONS), rng.integers(labels, size=_ACTIONS)])
        begin = rng.uniform(0, _SECONDS - 15, count)
        detected = np.stack([begin, begin + rng.uniform(2, 15, count), rng.integers(labels, size=count)])
        score, near = rng.beta(1, 4, count), rng.uniform(size=count) < 0.25
        detected[:, near] = action[:, rng.integers(_ACTIONS, size=near.sum())]
        detected[:2, near] += rng.normal(0, 1, (2, near.sum()))
        score[near] **= 0.5
        columns = (
            np.round(np.maximum(detected[:2], 0), 3).tolist(),
            detected[2].astype(int).tolist(),
            score.round(5),
        )
        rows = sorted(zip(*columns[0], columns[1], columns[2].tolist(), strict=True))
        truth = [(s, e, int(label)) for s, e, label in action.T.tolist()]
        entries.append(ReportVideo(f"video_{number:05d}", _SECONDS, None, truth, rows))
    return Report("many detections", "made up", [f"class {n}" for n in range(labels)], entries)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--videos", type=int, default=2000)
    parser.add_argument("--detections", type=int, default=400_000)
    parser.add_argument("--labels", type=int, default=200)
    parser.add_argument("--moves", type=int, default=60)
    parser.add_argument("--chromium", default=os.environ.get("CHROMIUM", "/usr/bin/chromium"))
    options = parser.parse_args()
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        page_file = Path(folder) / "report.html"
        write_report(made_up(options.videos, options.detections, options.labels), page_file)
        browser = driver.chromium.launch(executable_path=options.chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1366, "height": 900})
        page.set_default_timeout(600_000)
        begun = time.perf_counter()
        page.goto(page_file.as_uri(), wait_until="load")
        loaded_s = time.perf_counter() - begun
        cuts = [round(0.02 + 0.9 * i / options.moves, 2) for i in range(options.moves)]
        cdp = page.context.new_cdp_session(page)
        cdp.send("Performance.enable", {"timeDomain": "threadTicks"})
        ours, plain = (work_ms(page, cdp, cuts, way) for way in (False, True))
        browser.close()
        size = page_file.stat().st_size / 1e6
    print(
        f"{options.detections} detections, {options.videos} videos, {options.labels} classes: {size:.1f} MB"
    )
    print(f"page open and drawn after {loaded_s:.1f} s")
    for title, times in (("the page", ours), ("plain redraw", plain)):
        print(f"{title}, ms a move: " + ", ".join(f"{name} {value:.1f}" for name, value in times.items()))
    print(f"ratio plain / page: {plain['in all'] / ours['in all']:.1f}")


if __name__ == "__main__":
    main()
