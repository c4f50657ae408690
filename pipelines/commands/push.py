"""`longtal push`: send a trained model to the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(short_help="Send a trained model to the Hugging Face hub, with a model card.")
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN|MODEL")
@click.option("--to", required=True, metavar="hf:OWNER/NAME", help="Repository of the hub; made if need be.")
@click.option("--private", is_flag=True, help="A new repository is private.")
@click.option("--message", default="", help="Message of the commit.")
@click.option("--dataset", default="", metavar="NAME", help="Name of the data set, for the card.")
@click.option(
    "--license",
    "license_name",
    default="",
    metavar="ID",
    help="Licence of the model (apache-2.0, …).  [default: that of the encoder's weights where it is known]",
)
@click.option("--dry-run", is_flag=True, help="Show the files and the card, and send nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON only.")
def command(
    run: Path,
    to: str,
    private: bool,
    message: str,
    dataset: str,
    license_name: str,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Send a trained model to the Hugging Face hub (feature stores go by `longtal store push`).

    What prediction needs is sent, as one commit: weights (safetensors), classes, thresholds, the
    configuration that prediction reads, and provenance without command line, machine and folders. The
    card says what the model finds, what it learnt from, how well it does, and the licence of the encoder's
    weights. A push that was interrupted changed nothing: the same command goes on.

    \b
    Example:
      longtal push runs/gym --to hf:me/gym --dry-run
      longtal push runs/gym --to hf:me/gym --private --dataset "our gym"
      longtal predict NEW.mp4 --model hf:me/gym --out found
    """
    from pipelines.push.run import prepare_push, push
    from pipelines.shared import console
    from pipelines.store.run import human_bytes

    shipment = prepare_push(run, to, dataset, license_name)
    sizes = shipment.parcel.sizes()
    if not as_json:
        for name, size in sizes.items():
            console.out.print(f"{name}: {human_bytes(size)}", markup=False)
        for note in shipment.parcel.notes:
            console.out.print(f"note: {note}", markup=False)
    facts = {"repository": shipment.repository, "files": sizes, "notes": list(shipment.parcel.notes)}
    if dry_run:
        if as_json:
            console.print_json({**facts, "card": shipment.card})
        else:
            console.out.print(f"\n{shipment.card}", markup=False)
        return
    done = push(shipment, private, message)
    if as_json:
        console.print_json({**facts, **done, "notes": [*facts["notes"], *done["notes"]]})
        return
    for note in done["notes"]:
        console.out.print(f"note: {note}", markup=False)
    console.out.print(f"sent to hf:{shipment.repository}: {done['url']}", markup=False)
