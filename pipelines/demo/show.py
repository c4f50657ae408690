"""What the demo says: a line of each stage, and what came of it at the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from pipelines.shared import console
from tal.annotations.clock import clock

_MOST_FALSE = 4
_TITLES = {
    "synth": "make videos",
    "extract": "fill the memory",
    "frozen": "train, rows at rest",
    "train": "train through the memory",
    "evaluate": "measure",
    "predict": "look at a new video",
}


def stage(number: int, count: int, name: str, state: dict[str, Any], reused: bool) -> None:
    """The line of a finished stage: its time, and what came of it."""
    seconds = clock(state["seconds"][name])
    after = ", reused" if reused else ""
    console.out.print(
        f"{number}/{count} {_TITLES[name]:<24} {seconds:>6}{after}  {_said(name, state['done'][name])}",
        markup=False,
    )


def _said(name: str, done: dict[str, Any]) -> str:
    match name:
        case "synth":
            split = ", ".join(f"{n} {subset}" for subset, n in done["videos"].items())
            long = f"{done['video_s'] / 60:.0f} minutes"
            return f"{long}, {done['segments']} actions; videos: {split}; nobody is in two of them"
        case "extract":
            return f"{done['rows']} rows of {done['videos']} videos"
        case "train":
            times = done["row_writes"] / max(done["rows_refreshed"], 1)
            return (
                f"{done['steps']} steps; {done['rows_refreshed']} rows encoded anew, {times:.1f} times each; "
                f"generation {done['store_generation']}"
            )
        case "frozen" | "evaluate":
            people = f"{done['instances']} actions of {done['videos']} people never seen"
            return f"mAP@0.5 {done['mAP']['0.5']:.3f}, average {done['average_mAP']:.3f}: {people}"
        case _:
            found = sum(bool(_right(segment, done["found"])) for segment in done["truth"])
            return f"{found} of {len(done['truth'])} actions found"


def result(out: Path, done: dict[str, Any], summary: dict[str, Any]) -> None:
    """The tables at the end, where everything lies, and what to try next."""
    ages = pd.read_csv(out / "staleness_after.csv")
    columns = [c for c in ("video", "rows", "age_mean", "age_max", "writes", "never") if c in ages]
    refreshed = ages.sort_values("writes", ascending=False)[columns]
    console.print_table(
        refreshed.head(3), title=f"staleness of the memory (3 of {len(ages)} videos)", digits=1
    )
    _show_new(done["predict"])
    seconds = summary["seconds"]
    rows = [
        {
            "localizer trained on": name,
            **{f"mAP@{t}": v for t, v in measured["mAP"].items()},
            "average": measured["average_mAP"],
            "seconds": round(seconds[stage_name]),
        }
        for name, measured, stage_name in (
            ("rows at rest", done["frozen"], "frozen"),
            ("rows of the memory", done["evaluate"], "train"),
        )
    ]
    console.print_table(pd.DataFrame(rows), title="what the memory is good for: people never seen")
    console.out.print(
        f"{clock(summary['seconds_total'])} in all, peak memory {summary['peak_memory_mb']:.0f} MB\n"
        f"picture: {out / 'timeline.png'} · page: {out / 'report.html'} · numbers: {out / 'summary.json'}\n\n"
        "Try next:",
        markup=False,
    )
    for text, why in (
        (f"longtal predict YOUR.mp4 --model {out / 'run'} --out found --format srt", "your own video"),
        (f"longtal report {out / 'run'} --serve", "the page with its videos"),
        (f"longtal staleness {out / 'run/memory.zarr'}", "how old is which row"),
        ("longtal init --videos DIR --annotations FILE --out PROJECT", "train on your own data"),
        (f"longtal demo --out {out}-2 --seed 1", "other people, other rooms"),
    ):
        console.out.print(f"  {text}   # {why}", soft_wrap=True, markup=False)


def _at(segment: dict[str, Any], detections: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Detections that overlap a true action."""
    start_s, end_s = segment["start_s"], segment["end_s"]
    return [r for r in detections if min(r["end_s"], end_s) > max(r["start_s"], start_s)]


def _right(segment: dict[str, Any], detections: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Detections that are right about a true action."""
    return [r for r in _at(segment, detections) if r["right"] and r["found"] == segment["label"]]


def _show_new(done: dict[str, Any]) -> None:
    rows = []
    detections = sorted(done["found"], key=lambda r: r["start_s"])
    for segment in done["truth"]:
        mine = _right(segment, detections) or _at(segment, detections)
        best = max(mine, key=lambda r: r["score"], default=None)
        if best in detections:
            detections.remove(best)
        rows.append({"truth": _span(segment["label"], segment), **_found(best)})
    rest = sorted(detections, key=lambda r: -r["score"])
    rows += [{"truth": "", **_found(r)} for r in rest[:_MOST_FALSE]]
    console.print_table(pd.DataFrame(rows), title=f"{done['video']}: ground truth beside detections")
    if len(rest) > _MOST_FALSE:
        console.out.print(f"… and {len(rest) - _MOST_FALSE} more false detections")


def _span(label: str, item: dict[str, Any]) -> str:
    return f"{label} {item['start_s']:.1f}–{item['end_s']:.1f} s"


def _found(item: dict[str, Any] | None) -> dict[str, Any]:
    if item is None:
        return {"found": "—", "score": "", "right": "missed"}
    verdict = "yes" if item["right"] else "no"
    return {"found": _span(item["found"], item), "score": f"{item['score']:.2f}", "right": verdict}
