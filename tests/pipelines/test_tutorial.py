"""docs/tutorial.md, command by command."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TUTORIAL = ROOT / "docs" / "tutorial.md"


def blocks(language):
    """Code blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", TUTORIAL.read_text(), flags=re.S | re.M)


def test_the_tutorial_names_commands_that_exist():
    import cli

    named = re.findall(r"^longtal (\w+)", "\n".join(blocks("sh")), flags=re.M)
    assert {"init", "train", "report", "predict"} <= set(named) <= set(cli.COMMANDS)


@pytest.mark.slow
def test_the_tutorial_runs(tmp_path):
    scripts = tmp_path / "bin"
    scripts.mkdir()
    (scripts / "longtal").write_text(f'#!/bin/sh\nexec "{sys.executable}" "{ROOT / "cli.py"}" "$@"\n')
    (scripts / "longtal").chmod(0o755)
    (scripts / "python").symlink_to(sys.executable)
    work = tmp_path / "work"
    work.mkdir()
    environment = {
        **os.environ,
        "PATH": f"{scripts}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "2",
    }
    for block in blocks("sh"):
        done = subprocess.run(
            ["bash", "-ec", block], cwd=work, env=environment, capture_output=True, text=True, timeout=900
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
    for name in (
        "project/longtal.yaml",
        "project/report.html",
        "found/video_0000.srt",
        "found/video_0000.eaf",
        "found/predictions.csv",
        "found/report.html",
    ):
        assert (work / name).is_file(), name
    (python,) = blocks("python")
    done = subprocess.run(
        [sys.executable, "-c", python], cwd=work, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0 and "score" in done.stdout, done.stderr
