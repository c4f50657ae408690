"""`longtal presets`."""

from __future__ import annotations

import click


@click.command()
@click.argument("name", required=False)
@click.option(
    "--set", "sets", metavar="A.B=C", multiple=True, help="Change one value of the configuration shown."
)
@click.option("--json", "as_json", is_flag=True, help="Print the presets, or the configuration, as JSON.")
def command(name: str | None, sets: tuple[str, ...], as_json: bool) -> None:
    """List the presets; with NAME (or a YAML file) show its whole configuration.

    Presets are composed of parts, which your own file may extend too; the NAME of a part shows it alone.
    The list says for each preset what it was seen to give where longtal was developed (docs/results.md).

    \b
    Example:
      longtal presets
      longtal presets gym > my.yaml
    """
    import pandas as pd
    import yaml

    from pipelines.config import load_config, read_tree
    from pipelines.presets import list_parts, list_presets
    from pipelines.presets.seen import NOT_SEEN, SEEN
    from pipelines.shared import console

    if name is None:
        presets = [
            {"name": key, "seen": SEEN.get(key, NOT_SEEN), "description": read_tree(path)["description"]}
            for key, path in list_presets().items()
        ]
        if as_json:
            console.print_json(presets)
            return
        console.print_table(pd.DataFrame(presets), title="presets")
        parts = [
            {"name": key, "description": read_tree(path)["description"]} for key, path in list_parts().items()
        ]
        console.print_table(pd.DataFrame(parts), title="parts, for `extends`")
        return
    part = None if sets else list_parts().get(name)
    tree = read_tree(part) if part else load_config(name, sets).model_dump(mode="json")
    if as_json:
        console.print_json(tree)
    else:
        click.echo(yaml.safe_dump(tree, sort_keys=False, allow_unicode=True), nl=False)
