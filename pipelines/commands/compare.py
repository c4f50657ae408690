"""`longtal compare`: is one detector better than another?"""

from __future__ import annotations

from pathlib import Path

import click

_FILE = click.Path(path_type=Path)


@click.command()
@click.argument("predictions", nargs=-1, required=True, type=_FILE)
@click.option("--annotations", required=True, type=_FILE, help="Ground truth, in any format that is known.")
@click.option("--subset", help="Subset to measure on; default: the protocol's, or the only one.")
@click.option("--tiou", help="Thresholds start:stop:step, both ends included, or a list.")
@click.option("--protocol", default="generic", show_default=True, help="Benchmark: tIoU, subset.")
@click.option("--blocked", type=_FILE, help="Videos to leave out: JSON list or a text file.")
@click.option("--samples", default=1000, show_default=True, help="Bootstrap samples of the videos.")
@click.option("--seed", default=0, show_default=True)
@click.option("--json", "json_path", type=_FILE, help="Write the comparison as JSON ('-': print it).")
def command(
    predictions: tuple[Path, ...],
    annotations: Path,
    subset: str | None,
    tiou: str | None,
    protocol: str,
    blocked: Path | None,
    samples: int,
    seed: int,
    json_path: Path | None,
) -> None:
    """Compare prediction files with the first of them: paired bootstrap over videos; mean ± sd of all.

    \b
    Example:
      longtal compare old.json new.json --annotations anno.json --subset test
    """
    import json

    from pipelines.evaluate.compare import compare_files, comparison_table, verdict
    from pipelines.evaluate.run import EvaluateOptions
    from pipelines.shared import console
    from tal.annotations.files import write_text
    from tal.metrics import parse_tiou

    options = EvaluateOptions(
        annotations=annotations,
        predictions=predictions,
        subset=subset,
        protocol=protocol,
        tiou=parse_tiou(tiou) if tiou else (),
        blocked=blocked,
        diagnosis=False,
    )
    compared = compare_files(options, samples, seed)
    for note in compared.notes:
        console.log.warning(note)
    if str(json_path) == "-":
        console.print_json(compared.report)
        return
    console.print_table(comparison_table(compared))
    for line in verdict(compared):
        console.out.print(line, markup=False)
    mean, sd = 100 * compared.report["mean"], 100 * compared.report["sd"]
    console.out.print(
        f"mean ± sd of {len(predictions)}: {mean:.2f} ± {sd:.2f} %; {samples} samples, seed {seed}"
    )
    if json_path is not None:
        write_text(json_path, json.dumps(compared.report, indent=1, ensure_ascii=False) + "\n")
