"""Labels that people take for one are findings, and commands say what was taken and what was left."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli import cli
from pipelines.data.check import check

BORIS = (
    "Observation id\tBehavior\tBehavior type\tStart (s)\tStop (s)\n"
    "v\tjump\tSTATE\t1\t2\nv\tclap\tPOINT\t3\t3\nv\tjump\tSTATE\t1\t2\n"
)


def _labelled(folder: Path, *labels: str) -> Path:
    actions = [{"label": label, "segment": [k, k + 1]} for k, label in enumerate(labels)]
    path = folder / "a.json"
    path.write_text(json.dumps({"database": {"v": {"subset": "x", "duration": 99, "annotations": actions}}}))
    return path


@pytest.mark.parametrize(
    ("labels", "details"),
    [
        (["jump", "jump ", "jump\n", "Jump"], ["'Jump' (1 times) looks like 'jump' (3 times)"]),
        (["jump", "Jump"], ["'Jump' (1 times) looks like 'jump' (1 times)"]),
        (["high jump", "high  jump", "High_Jump"], ["'high  jump' (1 times)", "'High_Jump' (1 times)"]),
        (["stra\u00dfe", "STRASSE"], ["looks like"]),
        (["\uff4aump", "jump"], ["looks like"]),
        (["a-b", "ab", "+", "-", "1-1", "11"], []),
        (["jump"] * 9 + ["jumpp"], ["'jumpp' (1 times) looks like 'jump' (9 times)"]),
    ],
)
def test_labels_that_differ_in_case_or_blanks_are_errors_also_when_tied(
    tmp_path: Path, labels: list[str], details: list[str]
) -> None:
    found = [p for p in check(_labelled(tmp_path, *labels)).problems if p.check == "label"]
    assert len(found) == len(details) and all(p.severity == "error" for p in found)
    assert all(detail in p.detail for detail, p in zip(details, found, strict=True)), found


def _run(*arguments: object) -> str:
    done = CliRunner().invoke(cli, ["-q", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.parametrize("command", ["show", "convert", "check"])
def test_commands_say_what_was_taken_and_what_was_left(tmp_path: Path, command: str) -> None:
    path = tmp_path / "b.tsv"
    path.write_text(BORIS)
    arguments: list[object] = {
        "show": ["annotations", "show", path],
        "convert": ["annotations", "convert", path, "--out", tmp_path / "o.json"],
        "check": ["check", "--annotations", path],
    }[command]
    assert "1 annotations taken, 2 left out: 1 point events, 1 duplicates" in _run(*arguments)
    account = json.loads(_run(*arguments, "--json"))["account"]
    assert account == {"taken": 1, "left": {"point events": 1, "duplicates": 1}}
