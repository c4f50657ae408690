"""Results on streams whose encoding lacks letters: Windows' pipes, cron, a terminal in ASCII."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
LABEL = "Sprung mit Äpfeln 跳"


@pytest.fixture
def annotations(tmp_path):
    entry = {"subset": "test", "annotations": [{"label": LABEL, "segment": [1, 2]}]}
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"database": {"v": entry}}))
    predictions = {"results": {"v": [{"label": LABEL, "score": 0.5, "segment": [1, 2]}]}}
    (tmp_path / "p.json").write_text(json.dumps(predictions))
    return path


def longtal(folder, *words, **environment):
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONIOENCODING", "PYTHONUTF8")}
    return subprocess.run(
        [sys.executable, str(ROOT / "cli.py"), *words],
        cwd=folder,
        env=clean | environment,
        capture_output=True,
    )


def test_a_pipe_is_utf_8_whatever_the_locale(annotations):
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = longtal(annotations.parent, "annotations", "show", "a.json", "--json", **plain)
    assert done.returncode == 0, done.stderr
    assert LABEL in done.stdout.decode("utf-8")
    json.loads(done.stdout.decode("utf-8"))


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_what_an_encoding_lacks_is_spelled_out(annotations, encoding):
    words = ["evaluate", "--annotations", "a.json", "p.json", "p.json", "--per-class", "--no-diagnosis"]
    done = longtal(annotations.parent, *words, PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    assert b"\\u8df3" in done.stdout and b"100.00" in done.stdout
    assert b"Traceback" not in done.stderr
