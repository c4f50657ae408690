"""docs/tutorial.md, command by command."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.config import load_config
from pipelines.data.run_annotations import read_run_annotations
from tal.annotations.corrections import read_corrections

ROOT = Path(__file__).resolve().parents[2]
TUTORIAL = ROOT / "docs" / "tutorial.md"


def blocks():
    """(language, content) of the code blocks that run, in order."""
    return re.findall(r"^```(sh|python)\n(.*?)^```", TUTORIAL.read_text(), flags=re.S | re.M)


def test_the_tutorial_names_commands_that_exist():
    import cli

    shell = "\n".join(block for language, block in blocks() if language == "sh")
    named = re.findall(r"^longtal (\w+)", shell, flags=re.M)
    assert {"init", "train", "report", "predict", "review"} <= set(named) <= set(cli.COMMANDS)


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
    said = [ran(language, block, work, environment) for language, block in blocks()]
    for name in (
        "project/longtal.yaml",
        "project/report.html",
        "found/video_0007.srt",
        "found/video_0007.eaf",
        "found/predictions.csv",
        "found/report.html",
        "review.html",
    ):
        assert (work / name).is_file(), name
    detections, _ = (text for (language, _), text in zip(blocks(), said, strict=True) if language == "python")
    assert "score" in detections
    corrected = read_corrections(work / "corrections.json").videos["video_0007"]
    assert len(corrected.actions) == 4 and corrected.reviewed_s > 20
    assert re.search(r"on \d+ held-out videos: mAP [\d.]+ before, [\d.]+ after", " ".join(said[-1].split()))
    again = load_config(work / "project" / "run2" / "config.yaml")
    assert "video_0007" in read_run_annotations(again.data).train.videos


def ran(language, block, work, environment):
    """What a block prints."""
    command = ["bash", "-ec", block] if language == "sh" else [sys.executable, "-c", block]
    done = subprocess.run(
        command, cwd=work, env=environment, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
    return done.stdout
