"""One probe for `plan` and `init`: what it is asked and answers, and what counts as too little memory."""

import io
import json
import signal
import subprocess

import numpy as np
import pytest
import torch

from pipelines.budget import probe, probe_process
from pipelines.budget.estimate import DataSizes, estimate
from pipelines.budget.plan import plan
from pipelines.budget.probe import measure
from pipelines.budget.probe_process import Probe, ProbeError, Prober
from pipelines.budget.tries import time_tries
from pipelines.config import parse_config
from tests.pipelines.budget.test_plan import TINY

CPU = torch.device("cpu")
ANSWER = json.dumps({"peak_bytes": 2e9, "tries_s": [3.0, 2.0]})
SIZES = DataSizes(np.array([20.0, 30.0]), num_train=1, num_classes=20)


class FakeProcess:
    """Stands for `subprocess.run`: notes what is asked, ends as told."""

    def __init__(self, code=0, stdout=ANSWER, stderr=""):
        self.code, self.stdout, self.stderr, self.requests = code, stdout, stderr, []

    def __call__(self, command, **options):
        self.requests.append(json.loads(options["input"]))
        return subprocess.CompletedProcess(command, self.code, self.stdout, self.stderr)


@pytest.fixture
def answer_as(monkeypatch):
    def put(**kwargs):
        process = FakeProcess(**kwargs)
        monkeypatch.setattr(probe_process.subprocess, "run", process)
        return process

    return put


def test_init_asks_what_plan_asked_and_says_the_same(monkeypatch):
    """Of a configuration that plan chose, init says plan's own figures."""
    requests = []

    def run(command, **options):
        asked = json.loads(options["input"])
        requests.append(asked)
        windows = asked["config"]["train"]["batch_size"]
        cost = windows * (1 + asked["config"]["memory"]["ratio"])
        answer = {"peak_bytes": 1e9 * cost, "tries_s": [1.5 * cost, cost]}
        return subprocess.CompletedProcess(command, 0, json.dumps(answer), "")

    monkeypatch.setattr(probe_process.subprocess, "run", run)
    planned = plan(parse_config(TINY), int(4e9))
    assert (planned.clips, planned.micro_batch, planned.accumulate) == (8, 2, 2)
    (best,) = [r for r in requests if r["config"]["train"]["batch_size"] == 2]
    train = {"batch_size": planned.batch_size, "accumulate": planned.accumulate, "device": "cpu"}
    chosen = parse_config(TINY | {"memory": {"ratio": planned.ratio}, "train": train})
    cost = estimate(chosen, SIZES, "cpu")
    asked = requests[-1]
    assert all(asked[key] == best[key] for key in ("config", "channels", "num_classes"))
    assert cost.memory_bytes == planned.peak_bytes == 4e9
    assert cost.best.step_s == planned.optimizer_step_s == 8.0 and cost.slowest.step_s == 12.0


def test_a_probe_answers_with_its_best_try(answer_as):
    process = answer_as(stdout=f"a library says hello\n{ANSWER}\n")
    found = Prober(parse_config(TINY), num_classes=3, limit_bytes=7)(clips=5, micro_batch=2)
    assert found == Probe(5, 2, 2e9, (3.0, 2.0)) and found.step_s == 2.0
    (asked,) = process.requests
    assert asked["config"]["memory"]["ratio"] == 0.625
    assert (asked["config"]["train"]["batch_size"], asked["config"]["train"]["accumulate"]) == (2, 1)
    assert (asked["num_classes"], asked["steps"], asked["limit_bytes"]) == (3, 3, 7)


@pytest.mark.parametrize(
    "end",
    [
        {"stdout": json.dumps({"full": "CUDA out of memory"})},
        {"code": -signal.SIGKILL},
        {
            "code": -signal.SIGABRT,
            "stderr": "terminate called after throwing an instance of 'std::bad_alloc'",
        },
    ],
)
def test_a_candidate_without_memory_does_not_fit(end, answer_as):
    answer_as(**end)
    found = Prober(parse_config(TINY), 3)(1, 1)
    assert found == Probe(1, 1, None) and found.step_s is None


@pytest.mark.parametrize(
    ("end", "words"),
    [
        ({"code": 1, "stderr": "Traceback\nValueError: no such thing\n"}, "ValueError: no such thing"),
        ({"code": -signal.SIGSEGV}, "SIGSEGV"),
        ({"code": -signal.SIGABRT, "stderr": "free(): invalid pointer"}, "SIGABRT: free"),
    ],
)
def test_a_candidate_that_fails_otherwise_is_an_error(end, words, answer_as):
    answer_as(**end)
    with pytest.raises(ProbeError, match=words):
        Prober(parse_config(TINY), 3)(1, 1)


def cpu_allocation():
    torch.empty(2**58)


def raising(error):
    def fail():
        raise error

    return fail


def answer(monkeypatch, capsys, fail):
    """What the probe's process prints when its measurement ends by ``fail``."""
    request = Prober(parse_config(TINY), 3).request(1, 1)
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(request) + "\n"))
    monkeypatch.setattr(probe, "_limit", lambda device, num_bytes: None)
    monkeypatch.setattr(probe, "measure", lambda *_: fail())
    probe.main()
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    "fail",
    [
        cpu_allocation,
        raising(MemoryError()),
        raising(torch.OutOfMemoryError("Tried to allocate 2.00 GiB")),
        raising(RuntimeError("CUDA error: out of memory")),
        raising(RuntimeError("MPS backend out of memory (MPS allocated: 5.00 GB)")),
    ],
)
def test_too_little_memory_is_an_answer(fail, monkeypatch, capsys):
    assert answer(monkeypatch, capsys, fail).keys() == {"full"}


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("expected a tensor in channels-last memory format"),
        ValueError("out of memory"),
    ],
)
def test_another_failure_is_not_taken_for_too_little_memory(error, monkeypatch, capsys):
    with pytest.raises(type(error), match="memory"):
        answer(monkeypatch, capsys, raising(error))


def test_the_first_run_is_not_timed_and_patience_ends_the_tries(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("pipelines.budget.tries.time.perf_counter", lambda: clock[0])
    lengths = iter([9.0, 3.0, 1.0, 2.0, 5.0])

    def work():
        clock[0] += next(lengths)

    assert time_tries(work, CPU, most=2, patience_s=100) == (3.0, 1.0)
    assert time_tries(work, CPU, most=3, patience_s=1) == (5.0,)  # one try, however long it takes


def test_without_patience_two_steps_are_trained():
    found = measure(parse_config(TINY), channels=0, num_classes=3, steps=9, patience_s=0)
    assert len(found["tries_s"]) == 1


@pytest.mark.slow
def test_init_and_plan_measure_the_same():
    """Two processes apart: allocators leave some per cent of difference."""
    config = parse_config(TINY)
    cost = estimate(config, SIZES, "cpu")
    planned = Prober(config, 20)(2, 4)
    assert cost.memory_bytes == pytest.approx(planned.peak_bytes, rel=0.1)
