"""The recipes of docs/extending.md, put into a copy of the source and held to the conformance suites."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "extending.md").read_text()
BLOCK = re.compile(r"^`([\w./-]+)`[^\n]*\n\n((?:```\w+\n.*?^```\n+)+)", flags=re.S | re.M)
FENCE = re.compile(r"```(\w+)\n(.*?)^```", flags=re.S | re.M)


def recipes():
    """(file, language, content) of each block under a file's name, in the order of the page."""
    return [(file, *fence) for file, blocks in BLOCK.findall(PAGE) for fence in FENCE.findall(blocks)]


def apply(copy, file, language, content):
    """A whole file, or lines that replace (`-`) and follow (` `) others, which stand there once."""
    path = copy / file
    if language == "python":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return
    assert language == "diff"
    lines = content.splitlines(keepends=True)
    before = "".join(line[1:] for line in lines if line[0] in " -")
    after = "".join(line[1:] for line in lines if line[0] in " +")
    text = path.read_text()
    assert text.count(before) == 1, f"{file} does not have, once:\n{before}"
    path.write_text(text.replace(before, after))


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    copy = tmp_path_factory.mktemp("extended")
    for name in ("featstore", "tal", "pipelines", "tests", "docs"):
        shutil.copytree(
            ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "golden", "0.*")
        )
    for name in ("cli.py", "pyproject.toml"):
        shutil.copy(ROOT / name, copy / name)
    for recipe in recipes():
        apply(copy, *recipe)
    return copy


def run(copy, *words):
    environment = {**os.environ, "PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1"}
    environment.pop("LONGTAL_ALL", None)
    done = subprocess.run(
        [sys.executable, *words],
        cwd=copy,
        env=environment,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    return done.stdout


def test_the_page_has_a_recipe_of_each_kind():
    files = [file for file, _, _ in recipes()]
    assert {
        "tal/decoders/registry.py",
        "tal/encoders/registry.py",
        "tal/annotations/formats/registry.py",
    } <= set(files)
    assert len([1 for _, language, _ in recipes() if language == "python"]) == 5


@pytest.mark.parametrize(
    ("suite", "name", "least"),
    [
        ("tests/tal/decoders/test_conformance.py", "meanpool", 5),
        ("tests/tal/encoders/test_conformance.py", "small3d", 4),
        ("tests/tal/annotations/test_format_contract.py", "jsonl or documented or registry", 6),
        ("tests/tal/annotations/test_labels_and_account.py", "jsonl", 5),
        ("tests/tal/annotations/test_reader_fuzz.py", "jsonl and not thorough", 10),
    ],
)
def test_the_conformance_suite_holds_the_recipe(extended, suite, name, least):
    printed = run(
        extended, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", suite, "-k", name
    )
    assert int(re.search(r"(\d+) passed", printed)[1]) >= least, printed


def test_commands_know_the_new_names(extended, tmp_path):
    (tmp_path / "a.jsonl").write_text(
        '{"lines": "actions, seconds"}\n{"video": "a", "start": 1, "end": 2.5, "label": "jump"}\n'
    )
    shown = run(extended, "cli.py", "annotations", "show", str(tmp_path / "a.jsonl"))
    assert "jsonl" in shown and "jump" not in shown
    assert "small3d" in run(extended, "cli.py", "encoders", "small3d")
    code = (
        "from pipelines.config import load_config\n"
        "print(type(load_config('hapt', ['localizer.decoder.name=meanpool']).localizer.decoder).__name__)\n"
    )
    assert run(extended, "-c", code).strip() == "MeanPoolConfig"
