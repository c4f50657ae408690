"""Every command of README and docs is run, on data so small that it takes a moment.

A command that is new in the docs runs here by itself; one that cannot must be listed with its reason.
`docs/tutorial.md` runs as it stands, in `test_tutorial.py`.
"""

import glob
import os
import re
import shlex
import shutil
import socketserver
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

import cli
from tests.pipelines.docs_commands import (
    PAGES,
    PROGRAMS,
    ROOT,
    Told,
    fences,
    is_drawing,
    tiny,
    told,
    translated,
)
from tests.pipelines.docs_world import make_world

# Not run, and why.
NOT_RUN = {
    "make demo": "set-up and the whole demo, for minutes: `longtal demo` runs in its place",
    "make test": "these tests themselves",
    "make slow": "these tests themselves",
    "make check": "lint and types, which CI runs",
    "python -m build": "tests/test_package.py builds wheel and sdist",
    "make golden": "tests/tal/released/test_golden.py compares the same files",
    "python -m benchmarks.loader_video": "a minute, no options; test_video_corpus.py reads both ways",
    "python -m benchmarks.golden": "as `make golden`",
    "python -m benchmarks.heap": "minutes, and no options",
    "python -m benchmarks.video_readers": "minutes, and no options",
    **{
        f"torchrun --nnodes 2 --node-rank {host} --nproc-per-node 8 --master-addr HOST0 --master-port 29500 "
        f"cli.py train --config longtal.yaml --set data.store=/local/{host + 1}-of-2.zarr --out /local/run": (
            "waits for the other host: test_train_hosts.py starts two"
        )
        for host in range(2)
    },
}
# Parts of a command that a page speaks of, with what makes them whole.
PARTS = {
    "longtal evaluate --drop-empty": "--annotations anno.json --subset test -p test.json",
    "longtal extract --repair": "--config project/longtal.yaml",
    "longtal predict --format json,csv,srt,vtt,eaf,boris,boris_project,label_studio,vtrace": (
        "holiday.mp4 --model RUN --out OUT"
    ),
    "longtal predict --model RUN": "holiday.mp4 --out OUT",
    "longtal report --serve": "report.html",
}
# What a minute goes by with: processes, many steps, many videos.
SLOW = re.compile(
    r"longtal (train|extract|plan|demo|synth|prepare|convert|evaluate.*--plots)|torchrun|python"
)
# Benchmarks with few of everything; of the others, which take minutes or gigabytes, --help runs.
BENCHMARKS = {
    "crash": ["--kills", "3"],
    "decoders": ["--size", "small", "--decoders", "", "--loop-seconds", "0.2"],
    "evaluate": ["--videos", "40", "--predictions", "3000", "--labels", "10", "--sample", "10"],
    "extract": ["--videos", "1", "--seconds", "2", "--rounds", "1", "--workers", "1"],
    "fuzz": ["--examples", "2"],
    "ray": ["--videos", "2", "--many", "16"],
    "report": ["--videos", "4", "--detections", "400", "--moves", "4"],
}
COMMANDS = [command for command in told() if command.page != "tutorial.md" or command.inline]


def marked(command: Told):
    return pytest.param(
        command, id=str(command), marks=[pytest.mark.slow] if SLOW.match(command.text) else []
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    make_world(folder)
    return folder


@pytest.fixture
def here(world, tmp_path, monkeypatch):
    """``here(words)``: a folder with the world's files by their names, without what ``words`` make."""

    def enter(words):
        made = {Path(word) for word in outputs(words)}
        for place in whole(world):
            if not made & {place, *place.parents}:
                (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / place).symlink_to((world / place).resolve())
        if "--resume" in words:  # the run is written to
            shutil.copytree(world / "runs" / "gym", tmp_path / made.pop())
        (tmp_path / "cli.py").symlink_to(ROOT / "cli.py")
        monkeypatch.setenv("LONGTAL_CACHE", str(tmp_path / "cache"))
        monkeypatch.chdir(tmp_path)
        return tmp_path

    return enter


def whole(world, folder=Path()):
    """Paths of files; and of folders that are one thing: links, stores, runs."""
    for entry in sorted((world / folder).iterdir()):
        one = (
            entry.is_symlink()
            or entry.is_file()
            or entry.suffix == ".zarr"
            or (entry / "labels.json").exists()
        )
        if one:
            yield folder / entry.name
        else:
            yield from whole(world, folder / entry.name)


def outputs(words):
    """What a command writes."""
    writes = {"--out", "--write", "--csv", "--plots", "--html", "--calibrate"}
    writes |= {"--store"} if words[:1] == ["extract"] else set()
    writes |= {"--json"} if words[:1] == ["evaluate"] else set()
    unnamed = ["corrections.json"] if words[:1] == ["review"] else []
    return unnamed + [words[at + 1] for at, word in enumerate(words[:-1]) if word in writes]


def arguments(command):
    """Words after `longtal`."""
    text = translated(f"{command.text} {PARTS.get(command.text, '')}")
    return tiny(shlex.split(text)[1:])


def expanded(words):
    """As a shell does it with patterns that are not in quotes; the commands expand theirs alike."""
    return [found for word in words for found in (sorted(glob.glob(word)) if "*" in word else []) or [word]]


def subprocess_of(words, folder, timeout=400):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, text=True, timeout=timeout, check=False
    )
    assert done.returncode == 0, f"{words}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout


def run_longtal(words, monkeypatch):
    """In this process; a server ends as if by Ctrl-C."""

    def ended(*_args, **_kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(socketserver.BaseServer, "serve_forever", ended)
    result = CliRunner().invoke(cli.cli, words, prog_name="longtal")
    assert result.exit_code == 0, (
        f"longtal {shlex.join(words)}\n{result.output[-3000:]}\n{result.exception!r}"
    )


def run_python(words, folder):
    """`python -m benchmarks.NAME …`; `python cli.py …`."""
    if words[:2] == ["-m", "benchmarks.study"]:
        words = ["-m", "benchmarks.study", *tiny(["study", *words[2:]])[1:]]
    elif words[0] == "-m" and words[1].startswith("benchmarks."):
        words = [*words, *BENCHMARKS.get(words[1].removeprefix("benchmarks."), ["--help"])]
        folder = ROOT
    subprocess_of([sys.executable, *words], folder)


@pytest.mark.parametrize("command", [marked(c) for c in COMMANDS if c.text not in NOT_RUN])
def test_command(command, here, request, monkeypatch, tmp_path):
    program, *words = shlex.split(translated(command.text))
    if program == "longtal":
        words = arguments(command)
        folder = here(words)
        if words[0] == "convert":
            released_checkpoint(folder)
        run_longtal(expanded(words), monkeypatch)
    elif program == "torchrun":
        at = words.index("cli.py") + 1
        folder = here(words[at:])
        launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", *words[:at]]
        subprocess_of([*launch, *tiny(words[at:])], folder)
    elif program == "python":
        run_python(words, here(words))
    else:  # shell completion: what the shell evaluates
        shell = re.search(r"_LONGTAL_COMPLETE=(\w+)", command.text).group(1)
        code = "import sys, cli; sys.argv[0] = 'longtal'; cli.main()"
        monkeypatch.setenv("_LONGTAL_COMPLETE", shell)
        assert "longtal" in subprocess_of([sys.executable, "-c", code], tmp_path)


def released_checkpoint(folder):
    """Reference weights of TriDet and of TALLFormer in the form of a release."""
    from tests.pipelines.convert.tallformer_files import behind_consistency
    from tests.pipelines.convert.test_convert import golden, released, released_yaml

    tensors, config = golden("tridet")
    torch.save({"state_dict": released(tensors)}, folder / "epoch_040.pth.tar")
    released_yaml(config, folder / "thumos_i3d.yaml")
    torch.save(behind_consistency("daotad"), folder / "epoch_1000_weights.pth")
    (folder / "names.txt").write_text("run\njump\nsit\nstand\nlie\n")


@pytest.mark.parametrize("target", ["demo", "test", "slow", "check", "golden"])
def test_targets_of_make_exist(target):
    words = ["make", "--dry-run", "--always-make", target, "GOLDEN=DIR"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and target in done.stdout, done.stderr


def test_every_command_is_run_or_listed():
    """What stands in a code block is a command that is known here; the lists name nothing that is gone."""
    texts = {command.text for command in told()}
    strange = [str(command) for command in told() if command.text.split()[0] not in PROGRAMS]
    assert strange == [], "neither run nor listed: teach test_command the program, or list the command"
    assert sorted(set(NOT_RUN) - texts) == [] and sorted(set(PARTS) - texts) == []
    assert all(reason for reason in NOT_RUN.values()) and len(NOT_RUN) < len(texts) / 6
    assert {c.page for c in COMMANDS} >= {
        "README.md",
        "predict.md",
        "report.md",
        "training.md",
        "own-data.md",
    }
    benches = {
        c.text: re.match(r"python -m (benchmarks\.\w+)", c.text) for c in COMMANDS if c.text not in NOT_RUN
    }
    scripts = {text: ROOT / found[1].replace(".", "/") for text, found in benches.items() if found}
    assert [t for t, script in scripts.items() if not has_help(script)] == [], "it has no --help"
    placeholders = [c.text for c in COMMANDS if c.text not in NOT_RUN and "…" in translated(c.text)]
    assert placeholders == [], "say in docs_commands.MEANS what stands for the dots"


def has_help(script):
    """A module or a package that reads its options with argparse or click."""
    path = script / "__main__.py" if script.is_dir() else script.with_suffix(".py")
    return any(f"import {name}" in path.read_text() for name in ("argparse", "click"))


def test_code_blocks_are_of_known_languages():
    known = {"", "sh", "text", "python", "yaml", "json", "diff", "xml"}
    assert {language for page in PAGES for language, _ in fences(page)} <= known
    assert is_drawing("a ─► b") and not is_drawing("longtal train --config a")


PYTHON = [(page.name, code) for page in PAGES for language, code in fences(page) if language == "python"]
NEEDS = {
    "featstore.md": "import numpy as np\nfrom featstore import FeatureSpec, FeatureStore\n"
    "rows = np.zeros((700, 1280))\n",
    "demo.md": "from tal.annotations import read_annotations\nannotations = read_annotations('anno.json')\n",
}


@pytest.mark.parametrize(("page", "code"), PYTHON, ids=[page for page, _ in PYTHON])
def test_python(page, code, here):
    """Blocks with names of the reader's own program (`barrier()`) are compiled only."""
    compile(code, page, "exec")
    if "barrier()" in code or page in ("tutorial.md", "extending.md"):  # run by tests of their own
        return
    here(["--out", "features.zarr"] if page == "featstore.md" else [])
    code = code.replace("video_test_0000004", "video_0004").replace("s3://bucket/gym", "packed.zarr")
    exec(compile(NEEDS.get(page, "") + code, page, "exec"), {})
