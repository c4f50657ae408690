"""The sections of `python -m benchmarks.gpu` at toy size on a CPU: figures, and what they say of CUDA."""

import dataclasses
import functools
import importlib
import json

import pytest
import torch
from accelerate.state import AcceleratorState

from benchmarks.golden import FOLDER
from benchmarks.gpu import memory, plan
from benchmarks.gpu.equality_decoders import compare_decoder
from benchmarks.gpu.matching import matched
from benchmarks.gpu.report import _EMPTY
from benchmarks.gpu.results import NOT_ON_CPU, Results, Workplace
from benchmarks.gpu.sections import SECTIONS
from benchmarks.gpu.settings import DECODERS
from pipelines.budget.probe_process import Probe, Prober
from tal.decoders.base import Candidates
from tests.pretend_cuda import PretendCuda

pytestmark = pytest.mark.usefixtures("one_thread")
# Sections, and keys that each row of their figures has.
ROWS = {
    "golden": {"file", "tf32", "excess", "absolute"},
    "steps": {
        *("decoder", "precision", "finite", "losses", "encoder_grad_norm", "seconds", "overflows", "waits"),
        "waits_at",
    },
    "extract": {
        *(
            "encoder",
            "precision",
            "batch",
            "workers",
            "decode_clips_s",
            "bare_clips_s",
            "of_bare",
            "of_slower",
        ),
        *("clip_encoder_clips_s", "pipeline_clips_s", "peak_gb"),
    },
    "memory": {"r", "clips", "precision", "allocated_gb", "step_s", "paper_gb", "oom"},
    "train": {
        *("encoder", "precision", "workers", "step_s", "resident_s", "window_frames_s", "encoded_frames_s"),
        *("waiting", "parts_s"),
    },
    "predict": {"long", "matched", "seconds"},
}

SLOW = ("extract", "train")  # a run and a decoding process each


@pytest.fixture(autouse=True)
def _as_before():
    """What sections set for their process: accelerate's precision, and deterministic kernels."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    torch.use_deterministic_algorithms(False)


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
    importlib.import_module(section.where).run(Workplace("cpu", folder, FOLDER, results, toy=True))
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


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in ROWS]
)
def test_every_row_has_its_figures(folder, name):
    rows = found(name, folder).figures[name]
    assert rows and all(ROWS[name] <= row.keys() for row in rows)


def test_steps_of_all_decoders_learn_and_waits_are_not_made_up(folder):
    results = found("steps", folder)
    assert [row["decoder"] for row in results.figures["steps"]] == list(DECODERS)
    assert {"steps.bf16", "steps.fp16", "steps.compiled", "steps.afsd.fp32.waits"} <= of_cuda(results)
    assert all(row["waits"] is None for row in results.figures["steps"])


def test_equality_compares_every_encoder_and_decoder_and_holds_none_of_it_on_a_cpu(folder):
    results = found("equality", folder)
    figures = results.figures["equality"]
    assert [row["mode"] for row in figures["encoders"]] == ["fp32", "tf32"]
    assert [row["name"] for row in figures["decoders"]] == list(DECODERS)
    assert all(row["outputs"] == row["gradients"] == 0 for row in figures["decoders"])  # the CPU with itself
    assert {check["name"] for check in results.checks} == of_cuda(results)


def test_a_pretended_card_computes_what_the_cpu_does(folder):
    """The comparison's own CUDA branches: what is moved there, and what comes back."""
    results = Results(folder / "pretended.json", on_cuda=True)
    work = Workplace("cuda", folder, FOLDER, results, toy=True)
    with PretendCuda().active():
        for name in DECODERS:
            row = compare_decoder(work, name, "fp32")
            assert row["outputs"] < 1 and row["gradients"] < 1e-4 and row["loss"] < 1e-5, row
            assert row["detections_matched"] == 1


def test_a_refused_step_moves_nothing_and_the_run_beside_it_ends(folder):
    figures = found("scaler", folder).figures["scaler"]
    assert figures["refused"] and not figures["refused_step_moved_weights"]
    assert figures["steps"] > 0 and figures["forced"] == figures["nonfinite"] == 0


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_bit(folder):
    results = found("resume", folder)
    (row,) = results.figures["resume"]
    assert row["equal"] and row["max_abs"] == 0
    assert "resume.fp16" in of_cuda(results)


@pytest.mark.slow
def test_rows_are_those_of_one_process_without_overlap(folder):
    verdicts = {check["name"]: check["ok"] for check in found("extract", folder).checks}
    assert verdicts["extract.fp32.rows"] and verdicts["extract.workers_change_nothing"]
    assert verdicts["extract.fp32.batches"] and verdicts["extract.of_bare"] is None


def test_plans_are_held_within_their_budget_by_as_many_processes_as_it_takes(folder, monkeypatch):
    @dataclasses.dataclass(frozen=True)
    class Linear(Prober):
        def __call__(self, clips, micro_batch):
            return Probe(clips, micro_batch, (1.0 + 0.3 * clips * micro_batch) * 1e9, (0.1,))

    monkeypatch.setattr(plan, "Prober", Linear)
    (folder / memory.FIT_FILE).write_text(json.dumps({"bf16": {"base_gb": 0.2, "gb_a_clip": 0.3}}))
    results = Results(folder / "plan.json", on_cuda=True)  # as on a card, which the processes alone use
    plan.run(Workplace("cpu", folder, FOLDER, results, toy=True))
    (row,) = results.figures["plan"]
    assert row["clips"] == 6 and row["trains"] and row["device_gb"] == pytest.approx(2.8)
    assert [(check["name"], check["ok"]) for check in results.checks] == [
        ("plan.3GB", True),
        ("plan.3GB.line", True),
    ]


def test_a_line_through_memory_finds_what_made_it():
    rows = [{"clips": c, "windows": 4, "allocated_gb": 2.5 + 1.1 * 4 * c} for c in (2, 4, 6, 9)]
    fit = memory.fit(rows)
    assert fit["base_gb"] == pytest.approx(2.5) and fit["gb_a_clip"] == pytest.approx(1.1)
    assert fit["misfit"] < 1e-9
    rows[-1]["allocated_gb"] *= 1.5
    assert memory.fit(rows)["misfit"] > memory.MISFIT


def test_too_little_memory_is_a_figure_of_its_share_alone(folder, monkeypatch):
    real = memory.make_steps

    def make_steps(config, count):
        if config.memory.ratio == 1.0:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return real(config, count)

    monkeypatch.setattr(memory, "make_steps", make_steps)
    work = Workplace("cpu", folder, FOLDER, Results(folder / "memory.json", False), toy=True)
    small, large = (memory.measure(work, ratio, "fp32") for ratio in (0.25, 1.0))
    assert large["oom"] and "allocated_gb" not in large
    assert not small["oom"] and small["step_s"] > 0


def test_detections_are_compared_as_sets():
    segments = torch.tensor([[0.0, 10.0], [5.0, 9.0], [20.0, 30.0]])
    scores, labels = torch.tensor([0.9, 0.5, 0.2]), torch.tensor([0, 1, 0])
    one, order = Candidates(segments, scores, labels), torch.tensor([2, 0, 1])
    assert matched(one, one[order]) == 1
    assert matched(one, Candidates(segments + 0.2, scores, labels)) < 1
    assert matched(one, Candidates(segments, scores - 0.01, labels)) == 0
    assert matched(one, Candidates(segments, scores, 1 - labels)) == 0
    assert matched(one, one[order[:2]]) == pytest.approx(2 / 3)
