"""The command line: `python cli.py COMMAND` or, installed, `longtal COMMAND`.

Each command lives in `pipelines/commands/NAME.py` as a click command called ``command``: it parses, calls one
pipeline and prints. They are imported only when asked for, so that `--help` does not wait for torch.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
from pathlib import Path

import click

from featstore.errors import LongtalError

# name -> help line; the module is pipelines.commands.NAME
COMMANDS = {
    "demo": "Make videos, extract, train, evaluate and predict, in minutes.",
    "synth": "Make a data set of synthetic untrimmed videos.",
    "init": "Derive a ready configuration from your own videos and annotations.",
    "check": "Report everything wrong with a data set.",
    "prepare": "Re-encode videos at a run's rate and size, for fast random access.",
    "extract": "Encode videos into a feature store, the long memory.",
    "train": "Train a localizer, or encoder and localizer end to end through the memory.",
    "evaluate": "Measure predictions against annotations; compare prediction files.",
    "predict": "Find actions in new videos.",
    "push": "Send a trained model to the Hugging Face hub, with a model card.",
    "report": "Write or serve a self-contained page about a run or predictions.",
    "review": "Judge and mend detections in the browser, or annotate videos anew.",
    "plot": "Draw timelines of ground truth and predictions.",
    "staleness": "Show how old the rows of a store are.",
    "store": "Look after feature stores: info, status, verify, repair, copy, merge, import, export.",
    "annotations": "Convert annotation files between formats.",
    "encoders": "List the encoders.",
    "presets": "List the presets and their parts, or show one.",
    "convert": "Turn a released checkpoint of another code base into a model folder.",
    "plan": "Measure a few steps and choose what fits a memory budget.",
}
# former name -> today's command and option; hidden, and gone with the next release
RENAMED = {"compare": ("evaluate", "--compare"), "view": ("report", "--serve")}


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] in RENAMED:
            now = RENAMED[args[0]]
            click.echo(f"`longtal {args[0]}` is now `longtal {' '.join(now)}`", err=True)
            args = [*now, *args[1:]]
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name == "study":
            return _study()
        if cmd_name not in COMMANDS:
            return None
        return importlib.import_module(f"pipelines.commands.{cmd_name}").command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _study() -> click.Command:
    """The former `longtal study`: only a checkout has benchmarks/ beside this file."""
    click.echo("`longtal study` is now `python -m benchmarks.study`", err=True)
    sys.path.append(str(Path(__file__).resolve().parent))
    try:
        return importlib.import_module("benchmarks.study.__main__").command
    except ModuleNotFoundError as error:
        raise click.UsageError("studies are part of a checkout of longtal, not of its package") from error


@click.command(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(package_name="longtal")
@click.option("--quiet", "-q", is_flag=True, help="Print only results, warnings and errors.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(quiet: bool, debug: bool) -> None:
    """Find actions in long, untrimmed videos.

    Start with `longtal demo --out demo`; for your own videos, `longtal init`.
    """
    from pipelines.shared import console

    console.set_quiet(quiet)


def main() -> None:
    """Run the command line; exit codes: 0 done, 1 done with failures, 2 wrong input, 130 interrupted."""
    for stream in (sys.stdout, sys.stderr):
        _any_name_fits(stream)
    try:
        code = cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = 2
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted: what was finished is kept; run the same command again to go on", err=True)
        code = 130
    except LongtalError as error:
        if "--debug" in sys.argv:
            raise
        click.echo("error: " + "\n".join(map(_on_one_line, error.lines)), err=True)
        code = 2
    except BrokenPipeError:  # `longtal … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code if isinstance(code, int) else 0)


def _on_one_line(text: str) -> str:
    """A message as one line: what a name in a file may hold beside letters is escaped, as in ``\\x1b``."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _any_name_fits(stream: object) -> None:
    """Let a stream take any label or name: pipes and files in UTF-8, terminals by ``\\u4e2d`` if need be.

    Pipes on Windows and under cron have encodings that lack letters: a result would end in a traceback.
    """
    if isinstance(stream, io.TextIOWrapper):
        named = "PYTHONIOENCODING" in os.environ or stream.isatty()
        stream.reconfigure(encoding=None if named else "utf-8", errors="backslashreplace")


if __name__ == "__main__":
    main()
