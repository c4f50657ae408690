"""The sections of `python -m benchmarks.gpu` at toy size on a CPU: figures, and what they say of CUDA."""

import functools
import importlib
import json

import pytest

from benchmarks.gpu.report import _EMPTY
from benchmarks.gpu.results import NOT_ON_CPU, Results, Workplace
from benchmarks.gpu.sections import SECTIONS

pytestmark = pytest.mark.usefixtures("one_thread")
# Sections, and keys that each row of their figures has.
ROWS = {
    "steps": {"decoder", "precision", "finite", "loss", "encoder_grad_norm", "seconds", "waits", "waits_at"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """With the videos that the sections look at."""
    folder = tmp_path_factory.mktemp("gpu")
    assert found("videos", folder).checks == [
        {"name": "videos.whole", "ok": True, "value": 4, "limit": 4, "unit": "videos", "note": ""}
    ]
    return folder


@functools.cache
def found(name, folder):
    """What a section finds on the CPU, in this process; also as it stands on the disk."""
    section = next(section for section in SECTIONS if section.name == name)
    results = Results(folder / f"{name}.json", on_cuda=False)
    importlib.import_module(section.where).run(Workplace("cpu", folder, folder / "golden", results))
    if results.figures or results.checks:
        written = json.loads(results.path.read_text())
        assert written["checks"] == results.checks and written["figures"].keys() == results.figures.keys()
    assert results.figures.keys() <= _EMPTY.keys()
    assert all(check["name"].startswith(f"{name}.") for check in results.checks)
    assert [check for check in results.checks if check["ok"] is False] == []
    return results


def of_cuda(results):
    return {check["name"] for check in results.checks if check["note"] == NOT_ON_CPU}


def test_env_knows_the_machine(folder):
    facts = found("env", folder).figures["env"]
    assert facts["gpu"] is None and facts["cores"] >= 1 and facts["torch"]


@pytest.mark.parametrize("name", ROWS)
def test_every_row_has_its_figures(folder, name):
    rows = found(name, folder).figures[name]
    assert rows and all(ROWS[name] <= row.keys() for row in rows)


def test_steps_of_all_decoders_learn_and_waits_are_not_made_up(folder):
    results = found("steps", folder)
    assert len(results.figures["steps"]) == 12
    assert {"steps.fp16", "steps.compiled", "steps.afsd.bf16.waits"} <= of_cuda(results)
    assert all(row["waits"] is None for row in results.figures["steps"])
