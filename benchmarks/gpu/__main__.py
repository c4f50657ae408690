"""`python -m benchmarks.gpu --out gpu.json`: whether all that runs on CUDA is right there, and how fast."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from benchmarks.command_line import run
from benchmarks.gpu.sections import SECTIONS, chosen_sections

_GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden"


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--out", required=True, metavar="JSON", type=click.Path(dir_okay=False), help="The report.")
@click.option(
    "--seconds",
    default=900.0,
    show_default=True,
    type=click.FloatRange(0),
    help="Time for all sections; what is not begun by then fails as skipped.",
)
@click.option(
    "--only",
    multiple=True,
    type=click.Choice([section.name for section in SECTIONS]),
    help="This section and those that it needs; may be given often.",
)
@click.option(
    "--golden",
    default=str(_GOLDEN),
    metavar="DIR",
    type=click.Path(file_okay=False),
    help="Folder of reference tensors; tests/golden by default.",
)
@click.option("--device", default="cuda:0", show_default=True, help="cuda, cuda:1, or cpu for a toy run.")
def command(out: str, seconds: float, only: tuple[str, ...], golden: str, device: str) -> None:
    """Hold the CUDA path to its promises on one card, without network, in a quarter of an hour on an H100.

    Each section runs in a process with a deadline; the report is written again after each. Exit code 0: all
    checks hold (on a CPU: those that can be run there), 1: one fails, 2: there is no such device.

    \b
    Example:
      python -m benchmarks.gpu --out gpu.json
      python -m benchmarks.gpu --out gpu.json --only steps --only memory
      python -m benchmarks.gpu --out toy.json --device cpu
    """
    from benchmarks.gpu.report import Report
    from benchmarks.gpu.runner import require_device, run_sections

    require_device(device)
    chosen = chosen_sections(SECTIONS, only)
    report = Report(Path(out), device)
    for section in SECTIONS:
        if section not in chosen:
            report.leave_out(section.name)
    run_sections(chosen, report, device, Path(golden), seconds, tell=lambda line: click.echo(line, err=True))
    click.echo(f"{'a check fails' if report.ok is False else 'no check fails'}; written to {out}", err=True)
    sys.exit(1 if report.ok is False else 0)


def main() -> None:
    run(command, "benchmarks.gpu")


if __name__ == "__main__":
    main()
