"""What holds for every command: help imports little, options are explained, exit codes, completion."""

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

import cli
from tal.annotations.formats.registry import PREDICTION_FILES

ROOT = Path(__file__).resolve().parents[2]
# Numbers and models: none of them is needed to show help.
HEAVY = ("torch", "numpy", "pandas", "zarr", "matplotlib", "pydantic", "av", "accelerate")


def run(*arguments, **environment):
    return subprocess.run(
        [sys.executable, str(ROOT / "cli.py"), *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def leaves(command, name):
    """(name, command) of a command and of those below it."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        for child in command.list_commands(context):
            yield from leaves(command.get_command(context, child), f"{name} {child}")
    else:
        yield name, command


def commands():
    for name in cli.COMMANDS:
        yield from leaves(importlib.import_module(f"pipelines.commands.{name}").command, name)


def test_help_of_every_command_imports_nothing_heavy():
    code = (
        "import sys, cli\n"
        "from click.testing import CliRunner\n"
        "for words in [[], *[[name] for name in cli.COMMANDS]]:\n"
        "    result = CliRunner().invoke(cli.cli, [*words, '--help'])\n"
        "    assert result.exit_code == 0, (words, result.output, result.exception)\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_every_command_has_help_with_an_example():
    with_example = {
        name.split()[0] for name, command in commands() if command.help and "longtal " in command.help
    }
    assert sorted(set(cli.COMMANDS) - with_example) == []


def test_commands_with_tables_give_json_too():
    folder = ROOT / "pipelines" / "commands"
    lacking = [
        path.name
        for path in folder.glob("*.py")
        if "print_table" in (text := path.read_text()) and "--json" not in text
    ]
    assert lacking == []


def test_every_option_is_explained():
    silent = [
        f"{name} {parameter.opts[0]}"
        for name, command in commands()
        for parameter in command.params
        if isinstance(parameter, click.Option) and not parameter.help
    ]
    assert silent == []


def test_help_of_predict_names_the_formats_that_there_are():
    """By hand, since help imports no registry."""
    option = next(p for p in dict(commands())["predict"].params if p.name == "formats")
    named = option.help.removeprefix("Formats of the results: ").split(";")[0].split(", ")
    assert sorted(named) == sorted(PREDICTION_FILES)


def test_docs_name_every_command_once():
    table = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "commands.md").read_text(), flags=re.M)
    assert table == list(cli.COMMANDS)


def test_exit_codes(tmp_path):
    assert run("--version").returncode == 0
    for wrong in (["nosuch"], ["report"], ["report", tmp_path / "none.json"], ["predict", "--nosuch"]):
        done = run(*wrong)
        assert done.returncode == 2 and "Traceback" not in done.stderr, wrong
    done = run("report", tmp_path / "none.json")
    assert done.stderr.startswith("error: ") and len(done.stderr.splitlines()) == 1
    assert "Traceback" in run("--debug", "report", tmp_path / "none.json").stderr


def test_output_for_scripts(tmp_path):
    (tmp_path / "p.json").write_text('{"results": {"a": [{"label": "x", "score": 0.5, "segment": [1, 2]}]}}')
    done = run("report", tmp_path / "p.json", "--out", tmp_path / "r.html", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["videos"] == 1
    quiet = run("--quiet", "report", tmp_path / "p.json", "--out", tmp_path / "q.html")
    assert quiet.stderr == "" and "q.html" in quiet.stdout
    plain = run("annotations", "formats", NO_COLOR="1", FORCE_COLOR="1")
    assert plain.returncode == 0 and "\x1b[3" not in plain.stdout
    again = run("report", tmp_path / "p.json", "--out", tmp_path / "r.html")
    assert again.returncode == 2 and "--overwrite" in again.stderr


@pytest.mark.parametrize(
    ("words", "expected"), [("longtal rep", "report"), ("longtal predict --form", "--format")]
)
def test_shell_completion(words, expected):
    done = subprocess.run(
        [sys.executable, "-c", "import sys, cli; sys.argv[0] = 'longtal'; cli.main()"],
        cwd=ROOT,
        env={
            **os.environ,
            "_LONGTAL_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(words.count(" ")),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert f"plain,{expected}" in done.stdout.split()


def documented_commands():
    """(file, line) of each command line in a code block of README and docs."""
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]:
        for block in re.findall(r"^```\w*\n(.*?)^```", path.read_text(), flags=re.S | re.M):
            for line in block.replace("\\\n", " ").splitlines():
                if found := re.match(r"\s*(?:\$ )?(?:python cli\.py|(?:\.venv/bin/)?longtal) (.+)", line):
                    yield path.name, found.group(1).split("  #")[0]


def test_documented_commands_and_options_exist():
    wrong = []
    for name, line in documented_commands():
        words = [word for word in line.split() if word not in ("--quiet", "--debug")]
        command, path = cli.cli, []
        while isinstance(command, click.Group) and words and not words[0].startswith("-"):
            path.append(words.pop(0))
            command = command.get_command(click.Context(command), path[-1])
        known = {option for parameter in getattr(command, "params", []) for option in parameter.opts}
        known |= {option for p in getattr(command, "params", []) for option in p.secondary_opts} | {"--help"}
        options = {word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        if command is None or (path and options - known):
            wrong.append((name, line, sorted(options - known)))
    assert wrong == []
