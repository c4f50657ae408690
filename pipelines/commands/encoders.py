"""`longtal encoders`: list the encoders."""

from __future__ import annotations

import click


@click.command()
@click.argument("names", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print the table as JSON.")
def command(names: tuple[str, ...], as_json: bool) -> None:
    """List the encoders: channels, frames per row, parameters, operations per clip, weights.

    \b
    Example:
      longtal encoders
      longtal encoders timm:resnet18 timm:convnext_small
    """
    from pipelines.encoders.run import encoders_table
    from pipelines.shared import console

    table = encoders_table(list(names))
    if as_json:
        console.print_json(table.to_dict("records"))
        return
    console.print_table(table.drop(columns=["weights", "licence", "note"]), digits=1)
    for row in table.to_dict("records"):
        licence = f"licence {row['licence']}" if row["licence"] else ""
        said = "; ".join(filter(None, [f"weights {row['weights']}", licence, str(row["note"])]))
        console.out.print(f"{row['encoder']}: {said}")
    console.out.print(
        "Any other timm image model: timm:NAME; VideoMAE or V-JEPA 2 of the hub or a folder: hf:NAME. "
        "stride: frames per row of the network itself; encoder.frame_stride is a multiple of it."
    )
