"""Presets: named configurations, as data.

``NAME.yaml`` in this folder is the preset NAME; sub-folders give ``folder/NAME``. Those of the folders in
`PARTS` are parts: settings that the presets of one data set, or of one decoder, have in common. A preset
extends them, and so may your own file; a part alone is not a configuration to train.
"""

from __future__ import annotations

import difflib
from pathlib import Path

from tal.errors import ConfigError

FOLDER = Path(__file__).parent
PARTS = ("data", "decoder", "encoder", "memory")


def list_presets() -> dict[str, Path]:
    """Name -> file of the configurations to train, sorted by name."""
    return {name: path for name, path in _files().items() if not _is_part(name)}


def list_parts() -> dict[str, Path]:
    """Name -> file of the parts that presets are composed of, sorted by name."""
    return {name: path for name, path in _files().items() if _is_part(name)}


def find_preset(name: str) -> Path:
    """File of a preset or a part by its name; of a preset also by the last piece of it, where that is unique.

    Raises
    ------
    ConfigError
        there is none of that name; names the nearest ones.
    """
    files = _files()
    if name in files:
        return files[name]
    by_stem = [path for full, path in list_presets().items() if full.rsplit("/", 1)[-1] == name]
    if len(by_stem) == 1:
        return by_stem[0]
    near = difflib.get_close_matches(name, files, n=3, cutoff=0.4)
    hint = f"did you mean {', '.join(near)}?" if near else "`longtal presets` lists the presets"
    raise ConfigError(f"{name!r} is neither a file nor a preset; {hint}")


def _files() -> dict[str, Path]:
    files = sorted(FOLDER.rglob("*.yaml"))
    return {path.relative_to(FOLDER).with_suffix("").as_posix(): path for path in files}


def _is_part(name: str) -> bool:
    return name.split("/")[0] in PARTS
