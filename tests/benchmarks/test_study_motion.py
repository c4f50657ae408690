"""The study of motion: what its arms differ in, and its measure of single rows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.study.matrix import RunResult
from benchmarks.study.motion import motion
from benchmarks.study.row_precision import mean_precision
from benchmarks.study.table import write_study
from tests.pipelines.presets.test_resolved import leaves

SETS = ("data.annotations=a.json", "data.videos=v", "data.store=out/features.zarr")
DIFFER = {
    "frozen": {"memory/ratio"},
    "temporal_shift": {"encoder/temporal_shift", "data/store"},
    "adapters": {"encoder/adapter"},
    "adapters+stages": {"encoder/adapter"},
    "frozen-equal-minutes": {"memory/ratio", "train/epochs", "train/validate_from"},
}


def test_arms_differ_in_what_learns_alone() -> None:
    arms = {variant.name: leaves(variant.config.model_dump(mode="json")) for variant in motion(7)(SETS)}
    full = arms.pop("full")
    assert arms.keys() == DIFFER.keys()
    for name, tree in arms.items():
        changed = {k for k in full.keys() | tree.keys() if full.get(k) != tree.get(k)}
        changed = {"encoder/adapter" if k.startswith("encoder/adapter") else k for k in changed}
        assert changed == DIFFER[name], name


def test_a_study_of_runs_that_encoded_nothing_is_json(tmp_path: Path) -> None:
    scores = {"0.3:0.7": 0.2}
    run = RunResult("frozen", 0, scores, scores, 1, 1, 0.1, 1.0, 1, rows=(0.2, 0.1, 0.3))
    table, tree = write_study(tmp_path, [run], (), "a command")
    (kept,) = json.loads(tree.read_text(), parse_constant=pytest.fail)["runs"]
    assert kept["drift"] is None and kept["age"] is None
    assert "| frozen | 0.200 | 0.100 | 0.300 | – | – |" in table.read_text()


def test_precision_of_rows_is_the_mean_at_each_true_row() -> None:
    rng = np.random.default_rng(0)
    score, truth = rng.random((60, 3)).astype(np.float32), rng.random((60, 3)) < 0.3
    truth[:, 2] = False  # a class that does not occur counts nothing
    expected = []
    for of_class, true in zip(score.T[:2], truth.T[:2], strict=True):
        # at each true row: of the rows that score as high or higher, the share that is true
        at = [true[of_class >= of_class[i]].mean() for i in np.flatnonzero(true)]
        expected.append(np.mean(at))
    assert mean_precision(score, truth) == pytest.approx(np.mean(expected))
