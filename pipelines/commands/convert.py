"""`longtal convert`: turn a released checkpoint into a model folder."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("convert")
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option(
    "--from",
    "-f",
    "system",
    required=True,
    type=click.Choice(["actionformer", "temporalmaxer", "tridet", "cltdr", "tallformer"]),
    help="Code base that wrote the checkpoint.",
)
@click.option("--out", "-o", required=True, type=click.Path(path_type=Path), help="Model folder to make.")
@click.option(
    "--config",
    "-c",
    type=click.Path(path_type=Path),
    help="YAML file that the checkpoint was trained with, in that code base's keys; for tallformer a preset "
    "or a configuration of longtal.",
)
@click.option(
    "--labels",
    "-l",
    type=click.Path(path_type=Path),
    help="File of the class names in order: a JSON list, or one name per line.",
)
@click.option(
    "--last", is_flag=True, help="Take the last weights, not their running average, where the file has both."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    checkpoint: Path,
    system: str,
    out: Path,
    config: Path | None,
    labels: Path | None,
    last: bool,
    as_json: bool,
) -> None:
    """Turn a released CHECKPOINT (.pth, .pth.tar, .safetensors) into a model folder.

    Without --config, settings that the shapes of the weights do not tell are assumed and listed.

    \b
    Examples:
      longtal convert epoch_040.pth.tar --from tridet --config thumos_i3d.yaml --out models/tridet
      longtal convert epoch_1000_weights.pth --from tallformer --config tallformer/thumos14 --out models/t14
    """
    from pipelines.convert.labels import read_labels
    from pipelines.convert.run import convert
    from pipelines.shared import console

    made = convert(checkpoint, system, out, config, read_labels(labels) if labels else None, ema=not last)
    if as_json:
        console.print_json(
            {
                "model": str(made.folder),
                "decoder": made.decoder,
                "parameters": made.parameters,
                "channels": made.channels,
                "classes": made.classes,
                "assumed": list(made.assumed),
            }
        )
        return
    console.out.print(
        f"{made.folder}: {made.decoder}, {made.parameters / 1e6:.2f} M parameters, "
        f"features of {made.channels} channels, {made.classes} classes"
    )
    if made.assumed:
        why = "" if config else ", as there is no --config"
        console.log.warning("assumed%s: %s", why, "; ".join(made.assumed))
