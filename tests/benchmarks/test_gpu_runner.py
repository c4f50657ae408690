"""`python -m benchmarks.gpu`: what report and exit code say of sections that fail, hang or end well."""

import json
import sys
import warnings

import pytest

from benchmarks.gpu import __main__ as gpu
from benchmarks.gpu import runner
from benchmarks.gpu.report import Report
from benchmarks.gpu.sections import SECTIONS, Section, chosen_sections
from benchmarks.gpu.waits import counted_waits
from tal.errors import ConfigError

MODULES = {
    "fine": "work.results.put('env', {'gpu': 'none'}); work.results.check('fine.sum', True, 2, 2)",
    "wrong": "work.results.check('wrong.sum', False, 3, 2, 'apples')",
    "absent": "work.results.check('absent.card', True, needs_cuda=True)",
    "broken": "work.results.add('steps', {'loss': float('nan')}); raise RuntimeError('no such kernel')",
    "gone": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "endless": (
        "import subprocess, sys, time; work.results.check('endless.begin', True);"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(99)']);"
        "time.sleep(99)"
    ),
}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run made-up sections by name; the report, read from its file."""
    for name, body in MODULES.items():
        (tmp_path / f"gpu_section_{name}.py").write_text(f"def run(work):\n    {body}\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def run(*names, seconds=600.0, limit_s=60.0):
        sections = [Section(name, limit_s / 2, module=f"gpu_section_{name}") for name in names]
        report = Report(tmp_path / "gpu.json", "cpu")
        runner.run_sections(sections, report, "cpu", tmp_path / "golden", seconds, tell=lambda line: None)
        return json.loads((tmp_path / "gpu.json").read_text())

    return run


def verdicts(report):
    return {check["name"]: check["ok"] for check in report["checks"]}


def test_a_section_that_crashes_costs_itself_alone(run):
    report = run("broken", "gone", "fine")
    assert verdicts(report) == {
        "broken.ran": False,
        "gone.ran": False,
        "fine.sum": True,
        "fine.ran": True,
    }
    notes = {check["name"]: check["note"] for check in report["checks"]}
    assert "RuntimeError: no such kernel" in notes["broken.ran"] and "SIGKILL" in notes["gone.ran"]
    assert "Traceback" in "\n".join(report["said"]["broken"]) and "fine" not in report["said"]
    assert report["steps"] == [{"loss": "nan"}]  # what it had found before
    assert report["env"] == {"gpu": "none"} and report["ok"] is False
    assert all(c.keys() == {"name", "ok", "value", "limit", "unit", "note"} for c in report["checks"])


def test_a_section_past_its_deadline_is_killed_with_what_it_started(run):
    report = run("endless", "absent", limit_s=12.0)
    assert verdicts(report) == {
        "endless.begin": True,
        "endless.ran": False,
        "absent.card": None,
        "absent.ran": True,
    }
    assert "deadline" in next(c["note"] for c in report["checks"] if c["name"] == "endless.ran")
    assert 12 <= report["section_s"]["endless"] < 60  # not the 99 s that it would take


def test_what_has_no_time_left_fails_as_skipped(run):
    report = run("fine", "wrong", seconds=0.0)
    assert report["skipped"] == {"fine": "time", "wrong": "time"}
    assert verdicts(report) == {"fine.ran": False, "wrong.ran": False}


def test_what_only_cuda_can_show_is_not_said_to_hold(run):
    report = run("absent")
    assert report["ok"] is None
    assert report["checks"][0]["note"] == "not run on CPU"


@pytest.mark.parametrize(("name", "code", "ok"), [("fine", 0, True), ("wrong", 1, False)])
def test_the_exit_code_says_whether_a_check_fails(run, tmp_path, monkeypatch, name, code, ok):
    monkeypatch.setattr(gpu, "SECTIONS", (Section(name, 30, module=f"gpu_section_{name}"),))
    monkeypatch.setattr(sys, "argv", ["gpu", "--out", str(tmp_path / "out.json"), "--device", "cpu"])
    with pytest.raises(SystemExit) as ended:
        gpu.main()
    assert ended.value.code == code
    assert json.loads((tmp_path / "out.json").read_text())["ok"] is ok


def test_without_cuda_the_exit_code_is_2_and_no_report_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(runner, "_count", lambda: 0)
    monkeypatch.setattr(sys, "argv", ["gpu", "--out", str(tmp_path / "out.json")])
    with pytest.raises(SystemExit) as ended:
        gpu.main()
    assert ended.value.code == 2 and not (tmp_path / "out.json").exists()
    assert "torch finds 0 CUDA devices here" in capsys.readouterr().err


def test_the_chosen_card_is_the_first_of_its_processes(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(runner, "_count", lambda: 3)
    assert runner.child_environment("cuda:2")["CUDA_VISIBLE_DEVICES"] == "2,0,1"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    assert runner.child_environment("cuda:1")["CUDA_VISIBLE_DEVICES"] == "7,5"
    assert runner.child_environment("cpu")["CUDA_VISIBLE_DEVICES"] == ""
    for device in ("cuda:3", "mps", "cuda:x"):
        with pytest.raises(ConfigError):
            runner.require_device(device)


def test_a_section_brings_those_that_it_needs():
    sections = (Section("a", 1), Section("b", 1), Section("c", 1, needs=("a",)))
    assert [s.name for s in chosen_sections(sections, ("c",))] == ["a", "c"]
    assert len({s.name for s in SECTIONS}) == len(SECTIONS)
    names = [s.name for s in SECTIONS]
    for section in SECTIONS:
        assert all(names.index(needed) < names.index(section.name) for needed in section.needs)


def test_waits_are_counted_by_the_place_that_waits():
    def wait():
        warnings.warn("called a synchronizing CUDA operation (Triggered internally)", stacklevel=1)

    with counted_waits(on_cuda=False) as waits:
        wait()
        wait()
        warnings.warn("something else", stacklevel=1)
    ((place, count),) = waits.items()
    assert count == 2 and place.startswith("tests/benchmarks/test_gpu_runner.py:")
