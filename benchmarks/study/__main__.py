"""`python -m benchmarks.study NAME`: a comparison of several trainings, and its table."""

from __future__ import annotations

import shlex
import sys

import click

from benchmarks.command_line import run

NAMES = (
    "hapt",
    "hapt-ablations",
    "hapt-release",
    "gym-memory",
    "gym-decoders",
    "gym-shares",
    "gym-windows",
    "gym-tcm",
    "gym-ages",
    "gym-motion",
    "mocap-motion",
)  # of benchmarks.study.studies, which --help does not import


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("name", type=click.Choice(NAMES))
@click.option(
    "--data",
    required=True,
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False),
    help="Folder of the data set.",
)
@click.option(
    "--out", required=True, metavar="DIR", type=click.Path(file_okay=False), help="Folder of runs and table."
)
@click.option(
    "--seeds", default=3, show_default=True, type=click.IntRange(1), help="Number of trainings per variant."
)
@click.option(
    "--first-seed", default=0, show_default=True, type=click.IntRange(0), help="First of the seeds."
)
@click.option("--only", metavar="VARIANT", multiple=True, help="Only these variants; may be given often.")
@click.option("--set", "sets", metavar="A.B=C", multiple=True, help="Change one value of every training.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    name: str,
    data: str,
    out: str,
    seeds: int,
    first_seed: int,
    only: tuple[str, ...],
    sets: tuple[str, ...],
    as_json: bool,
) -> None:
    """Run a comparison of several trainings, one after another, and write its table.

    Mean ± sd over the seeds, time, memory, size; every pair of variants by a paired bootstrap.

    Run again after an interruption, it goes on where it stopped.

    \b
    Example:
      python -m benchmarks.study hapt --data data/hapt --out studies/hapt
      python -m benchmarks.study gym-memory --data data/gym --out studies/gym --seeds 3
    """
    from pathlib import Path

    from benchmarks.study.matrix import as_records, compare_variants, run_matrix
    from benchmarks.study.studies import STUDIES, data_settings, make_store
    from benchmarks.study.table import markdown, write_study
    from pipelines.shared import console

    study, folder = STUDIES[name], Path(out)
    variants = study.variants([*data_settings(name, Path(data), folder), *sets])
    known = {alias: v for v in variants for alias in (v.folder, v.name)}
    if unknown := [v for v in only if v not in known]:
        names = ", ".join(v.name for v in variants)
        raise click.UsageError(f"no variant {unknown[0]!r} in {name}; there are {names}")
    chosen = [v for v in variants if not only or v in [known[given] for given in only]]
    folder.mkdir(parents=True, exist_ok=True)
    make_store(name, Path(data), chosen)
    made_by = "python -m benchmarks.study " + shlex.join(sys.argv[1:])
    for results in run_matrix(
        chosen, range(first_seed, first_seed + seeds), folder, study.protocols, study.rows
    ):
        written, _ = write_study(folder, results, study.yardsticks, made_by)
    compared = compare_variants(results, chosen, folder, next(iter(study.protocols.values())))
    written, _ = write_study(folder, results, study.yardsticks, made_by, compared)
    if as_json:
        console.print_json(as_records(results))
    else:
        console.out.print(markdown(results, study.yardsticks, made_by, compared), markup=False)
        console.out.print(f"written to {written}")


def main() -> None:
    from pipelines.shared import console

    console.set_quiet(False)
    run(command, "benchmarks.study")


if __name__ == "__main__":
    main()
