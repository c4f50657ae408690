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

    \b
    Example:
      longtal presets
      longtal presets gym > my.yaml
    """
    import pandas as pd
    import yaml

    from pipelines.config import load_config, read_tree
    from pipelines.presets import list_parts, list_presets
    from pipelines.shared import console

    if name is None:
        for title, files in (("presets", list_presets()), ("parts, for `extends`", list_parts())):
            rows = [
                {"name": key, "description": read_tree(path)["description"]} for key, path in files.items()
            ]
            if as_json:
                console.print_json(rows)
                return
            console.print_table(pd.DataFrame(rows, columns=["name", "description"]), title=title)
        return
    part = None if sets else list_parts().get(name)
    tree = read_tree(part) if part else load_config(name, sets).model_dump(mode="json")
    if as_json:
        console.print_json(tree)
    else:
        click.echo(yaml.safe_dump(tree, sort_keys=False, allow_unicode=True), nl=False)
