"""The parts of a run folder that a report shows: configuration, training log, thresholds, memory's age."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from featstore.documents import read_json
from featstore.remote import is_url
from pipelines.shared.fetched import file_here
from pipelines.shared.run_folder import located, parse_records, record_kind, validation_predictions
from tal.annotations import VIDEO_SUFFIXES
from tal.errors import ConfigError, LongtalError
from tal.inference.thresholds import thresholds_in
from tal.shared.documents import read_yaml

if TYPE_CHECKING:
    import pandas as pd

    from featstore import FeatureStore

# Stores with more rows are counted clip by clip.
_ROWS_ONE_BY_ONE = 2_000_000
# Curves are thinned to this many points: more than a chart has pixels.
MAX_POINTS = 400
# Shown first, in this order; the log's other numbers follow by name.
_FIRST = (
    "loss",
    "validation: mAP",
    "lr",
    "grad_norm",
    "epoch: age_mean",
    "epoch: share_refreshed",
    "epoch: drift_cosine",
    "epoch: peak_memory_mib",
)
_DEEPEST = 3  # sections inside of one another in a log line
# Numbers of a log line that are not a curve.
_NOT_CURVES = {"step", "epoch", "time", "time_s", "seed"}


@dataclass(frozen=True)
class RunFolder:
    """Paths and contents of a run that a report needs; None for what is missing.

    ``lost``: "annotations" or "videos" -> what to say where the run names some that are not there.
    """

    name: str
    annotations: Path | None
    subset: str | None
    videos: Path | None
    predictions: Path | None
    thresholds: dict[str, float] | None
    log: Path
    memory: Path
    lost: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Series:
    """One curve: ``value`` at optimizer ``step``."""

    name: str
    step: list[int]
    value: list[float]

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "step": self.step, "value": self.value}


def read_run(folder: Path) -> RunFolder | None:
    """A run folder's parts; None when ``folder`` is not a run."""
    config_path = folder / "config.yaml"
    if not config_path.is_file() or not (folder / "log.jsonl").is_file():
        return None
    try:
        config = read_yaml(config_path, ConfigError)
    except ConfigError:
        config = None
    data = located(config, folder).get("data") if isinstance(config, dict) else None
    data = data if isinstance(data, dict) else {}

    def path(key: str) -> Path | None:
        return Path(str(data[key])) if data.get(key) else None

    annotations, videos = path("annotations"), path("videos")
    lost = {}
    if is_url(named := str(data.get("annotations") or "")):
        try:
            annotations = file_here(named)
        except LongtalError as error:
            lost["annotations"] = f"No ground truth: {error}"
            annotations = None
    if annotations is not None and not os.path.isfile(annotations):
        lost["annotations"] = f"No ground truth: {annotations} is not there; give --annotations FILE"
    if videos is not None and not os.path.isdir(videos):
        lost["videos"] = f"No video files: {videos} is not there; give --videos DIR"
    return RunFolder(
        name=folder.absolute().name,
        annotations=annotations if annotations is not None and os.path.isfile(annotations) else None,
        subset=str(data["val_subset"]) if data.get("val_subset") else None,
        videos=videos if videos is not None and os.path.isdir(videos) else None,
        predictions=_predictions(folder),
        thresholds=thresholds_in(_read_json(folder / "model" / "thresholds.json")) or None,
        log=folder / "log.jsonl",
        memory=folder / "memory.zarr",
        lost=lost,
    )


@dataclass(frozen=True)
class Predicted:
    """The manifest of a folder that `predict` wrote: the videos' files and the thresholds used."""

    videos: dict[str, Path]
    thresholds: dict[str, float] | None


def read_predicted(folder: Path) -> Predicted:
    """The manifest; an empty one when there is none, or it is another program's."""
    manifest = _read_json(folder / "manifest.json")
    if not isinstance(manifest, dict):
        return Predicted({}, None)
    entries = manifest.get("videos")
    paths = {
        str(video_id): Path(entry["path"])
        for video_id, entry in (entries if isinstance(entries, dict) else {}).items()
        if isinstance(entry, dict) and isinstance(entry.get("path"), str)
    }
    files = {name: path for name, path in paths.items() if path.suffix.lower() in VIDEO_SUFFIXES}
    return Predicted(
        {name: path for name, path in files.items() if os.path.isfile(path)}, thresholds_in(manifest) or None
    )


def _predictions(run: Path) -> Path | None:
    """Validation predictions of the run's final model; while there is none, of the latest validation."""
    model = _read_json(run / "model" / "provenance.json")
    step = model.get("step") if isinstance(model, dict) else None
    if (
        isinstance(step, int)
        and 0 <= step < 1 << 53
        and (chosen := validation_predictions(run, step)).is_file()
    ):
        return chosen
    found = (run / "validation").glob("*predictions.json")
    return max((path for path in found if path.is_file()), default=None)


def _read_json(path: Path) -> Any:
    """A JSON file's content; None when it is missing or damaged."""
    try:
        return read_json(path, ConfigError)
    except ConfigError:
        return None


def training_series(log: Path) -> list[Series]:
    """Every number of the log against its step; damaged lines (a killed run's last one) are left out."""
    curves: dict[str, tuple[list[int], list[float]]] = {}
    with log.open(encoding="utf-8", errors="replace") as lines:
        for _, record in parse_records(lines):
            if record is None:
                continue
            step = record["step"]
            kind = record_kind(record)
            prefix = "" if kind == "step" else f"{kind}: "
            for name, value in _numbers(record):
                steps, values = curves.setdefault(prefix + name, ([], []))
                steps.append(step)
                values.append(value)

    def rank(name: str) -> tuple[int, str]:
        return (_FIRST.index(name) if name in _FIRST else len(_FIRST), name)

    return [_thinned(name, *curves[name]) for name in sorted(curves, key=rank)]


def _numbers(record: dict[str, Any], prefix: str = "") -> Iterable[tuple[str, float]]:
    for key, value in record.items():
        if isinstance(value, dict):
            if prefix.count("/") < _DEEPEST:
                yield from _numbers(value, f"{prefix}{key}/")
        elif isinstance(value, bool) or (not prefix and key in _NOT_CURVES):
            continue
        elif isinstance(value, int | float) and abs(value) <= sys.float_info.max:
            yield prefix + key, float(value)


def _thinned(name: str, step: list[int], value: list[float]) -> Series:
    """At most MAX_POINTS points: means over equal stretches, the last one kept."""
    if len(step) > MAX_POINTS:
        parts = np.array_split(np.arange(len(step)), MAX_POINTS)
        step = [step[part[-1]] for part in parts]
        value = [float(np.mean(np.asarray(value)[part])) for part in parts]
    return Series(name, step, [float(f"{v:.6g}") for v in value])


def memory_age(path: Path, notes: list[str]) -> dict[str, Any] | None:
    """Ages of a run's store: a histogram over rows and the videos whose rows are oldest."""
    if not path.exists():
        return None
    from featstore import FeatureStore

    try:
        with FeatureStore.open(path) as store:
            everything = store.staleness(by="video")
            # Validation videos are in the store too, and no step ever writes them.
            touched = everything[everything["never_refreshed"] < 1]
            videos = touched if len(touched) else everything
            now, counts, edges = _age_histogram(store, videos)
    except LongtalError as error:
        notes.append(f"The memory's age is not shown: {error}")
        return None
    if videos.empty:
        return None
    rows = videos["rows"].to_numpy(np.float64)
    shares = videos["never_refreshed"].to_numpy(np.float64)
    oldest = videos.sort_values(["age_mean", "video"], ascending=[False, True]).head(12)
    return {
        "now": now,
        "untouched": len(everything) - len(videos),
        "neverShare": float((shares * rows).sum() / rows.sum()),
        "edges": edges,
        "counts": counts,
        "videos": [
            {
                "id": str(row["video"]),
                "rows": int(row["rows"]),
                "never": float(row["never_refreshed"]),
                "ageMean": round(float(row["age_mean"]), 2) if row["age_mean"] >= 0 else None,
                "ageMax": int(row["age_max"]) if row["age_max"] >= 0 else None,
                "writes": round(float(row["writes"]) / max(1, int(row["rows"])), 2),
            }
            for row in oldest.to_dict("records")
        ],
    }


def _age_histogram(store: FeatureStore, videos: pd.DataFrame) -> tuple[int, list[int], list[float]]:
    """(newest step, rows of ``videos`` by age, edges of the ages); of very large stores clips are counted."""
    by_row = int(videos["rows"].sum()) <= _ROWS_ONE_BY_ONE
    table = store.staleness(by="row" if by_row else "clip")
    table = table[table["video"].isin(videos["video"].tolist())]
    age = table["age" if by_row else "age_mean"].to_numpy(np.float64)
    weight = np.ones(len(table)) if by_row else table["rows"].to_numpy(np.float64)
    has_age = np.isfinite(age) & (age >= 0)
    top = float(age[has_age].max(initial=1.0))
    edges = np.linspace(0, top, min(24, max(1, int(top))) + 1)
    counts, _ = np.histogram(age[has_age], edges, weights=weight[has_age])
    ledger = (
        store.ledger(video_id, 0, store.video(video_id).num_rows)["step"] for video_id in store.video_ids
    )
    now = max((int(step.max()) for step in ledger if len(step)), default=0)
    return now, counts.astype(int).tolist(), edges.round(2).tolist()
