"""`longtal evaluate`: measure predictions against annotations."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.commands.options import FileOrUrl

if TYPE_CHECKING:
    from pipelines.evaluate.run import EvaluateOptions

_FILE = click.Path(path_type=Path)


@click.command()
@click.option("--annotations", required=True, type=FileOrUrl(), help="Ground truth, in any supported format.")
@click.option(
    "--predictions",
    "-p",
    multiple=True,
    type=_FILE,
    help="Predictions, ActivityNet JSON or CSV; several files (or arguments) give mean ± sd.",
)
@click.option("--subset", help="Subset to measure on; default: the protocol's, or the only one.")
@click.option("--tiou", help="tIoU thresholds start:stop:step, both ends included (0.3:0.7:0.1), or a list.")
@click.option(
    "--protocol",
    default="generic",
    show_default=True,
    help="Benchmark whose tIoU thresholds, subset and columns are used.",
)
@click.option("--json", "json_path", type=_FILE, help="Write everything as JSON ('-': print it).")
@click.option("--csv", "csv_path", type=_FILE, help="Write AP by class and tIoU as CSV.")
@click.option("--plots", type=_FILE, help="Write plots as PNG into this folder.")
@click.option("--html", type=_FILE, help="Write the page of `longtal report` about the (first) predictions.")
@click.option("--manifest", type=_FILE, help="Write the ids of the videos and instances that count.")
@click.option("--per-class", is_flag=True, help="Print AP by class too.")
@click.option(
    "--threshold",
    type=float,
    help="Score threshold of precision, recall and F1; default: that of best F1, per class.",
)
@click.option(
    "--thresholds",
    type=_FILE,
    help="File of score thresholds per class, chosen elsewhere (thresholds.json of a model).",
)
@click.option("--calibrate", type=_FILE, help="Write the score thresholds of best F1 per class.")
@click.option("--blocked", type=_FILE, help="File of videos to leave out: a JSON list, or text.")
@click.option(
    "--ignore-label",
    multiple=True,
    default=("Ambiguous",),
    show_default=True,
    help="Label of segments that are not counted; may be given often.",
)
@click.option("--keep-duplicates", is_flag=True, help="Keep annotations that repeat another within 1e-3 s.")
@click.option("--drop-empty", is_flag=True, help="Leave out annotations whose end is not after their start.")
@click.option(
    "--annotation-format",
    default="auto",
    show_default=True,
    help="Format of the annotations; `longtal annotations formats` lists them.",
)
@click.option("--no-diagnosis", is_flag=True, help="Leave out the error diagnosis.")
@click.option(
    "--compare", is_flag=True, help="Compare with the first predictions: paired bootstrap over videos."
)
@click.option("--samples", default=1000, show_default=True, help="Number of bootstrap samples of --compare.")
@click.option("--seed", default=0, show_default=True, help="Seed of the bootstrap samples.")
@click.argument("more", nargs=-1, type=_FILE, metavar="[PREDICTIONS]...")
def command(
    annotations: Path,
    predictions: tuple[Path, ...],
    subset: str | None,
    tiou: str | None,
    protocol: str,
    json_path: Path | None,
    csv_path: Path | None,
    plots: Path | None,
    html: Path | None,
    manifest: Path | None,
    per_class: bool,
    threshold: float | None,
    thresholds: Path | None,
    calibrate: Path | None,
    blocked: Path | None,
    ignore_label: tuple[str, ...],
    keep_duplicates: bool,
    drop_empty: bool,
    annotation_format: str,
    no_diagnosis: bool,
    compare: bool,
    samples: int,
    seed: int,
    more: tuple[Path, ...],
) -> None:
    """Measure predictions against annotations: mAP by the official evaluator's rules, and error diagnosis.

    Annotations that are there twice are counted once, as in ActionFormer and OpenTAD; the official evaluator
    counts them twice, as is done with --keep-duplicates. The result says which number it is.

    \b
    Example:
      longtal evaluate --annotations anno.json --subset test --predictions pred.json \\
          --tiou 0.3:0.7:0.1 --json result.json --html result.html
      longtal evaluate --compare old.json new.json --annotations anno.json --subset test
    """
    import json

    predictions = (*predictions, *more)
    if not predictions:
        raise click.UsageError("name a prediction file: --predictions FILE, or as an argument")

    from pipelines.evaluate.run import EvaluateOptions, evaluate_files, write_json, write_thresholds
    from pipelines.evaluate.tables import class_table, paper_table, summary_lines, write_csv
    from pipelines.shared import console
    from tal.metrics import parse_tiou
    from tal.shared.files import write_text

    options = EvaluateOptions(
        annotations=annotations,
        predictions=predictions,
        subset=subset,
        protocol=protocol,
        tiou=parse_tiou(tiou) if tiou else (),
        blocked=blocked,
        ignore_labels=ignore_label,
        keep_duplicates=keep_duplicates,
        drop_empty=drop_empty,
        annotation_format=annotation_format,
        threshold=threshold,
        thresholds_file=thresholds,
        diagnosis=not (no_diagnosis or compare),
    )
    if compare:
        _compare(options, samples, seed, json_path)
        return
    evaluated = evaluate_files(options)
    for note in evaluated.notes:
        console.log.warning(note)
    if str(json_path) == "-":
        console.print_json(evaluated.report)
    else:
        for line in summary_lines(evaluated):
            console.out.print(line, markup=False)
        console.print_table(paper_table(evaluated))
        if per_class:
            console.print_table(class_table(evaluated))
        if json_path is not None:
            write_json(evaluated, json_path)
    if csv_path is not None:
        write_csv(evaluated, csv_path)
    if manifest is not None:
        write_text(manifest, json.dumps(evaluated.report["manifest"], indent=1, ensure_ascii=False) + "\n")
    if calibrate is not None:
        write_thresholds(evaluated, calibrate)
    if plots is not None:
        from pipelines.evaluate.plots import write_plots

        write_plots(evaluated, plots)
    if html is not None:
        from pipelines.report import collect, write_report

        page = collect(
            predictions[0], annotations, tiou=evaluated.report["tiou"], ground_truth=evaluated.annotations
        )
        write_report(page, html, overwrite=True)
        if len(predictions) > 1:
            console.log.warning(
                "%s is about the first of %d files: %s", html, len(predictions), predictions[0]
            )


def _compare(options: EvaluateOptions, samples: int, seed: int, json_path: Path | None) -> None:
    """Print, or write as JSON, the comparison of each prediction file with the first."""
    import json

    from pipelines.evaluate.compare import compare_files, comparison_table, verdict
    from pipelines.shared import console
    from tal.shared.files import write_text

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
        f"mean ± sd of {len(compared.paths)}: {mean:.2f} ± {sd:.2f} %; {samples} samples, seed {seed}"
    )
    if json_path is not None:
        write_text(json_path, json.dumps(compared.report, indent=1, ensure_ascii=False) + "\n")
