"""Presets: named configurations, as data. ``NAME.yaml`` here is the preset NAME; sub-folders give
``folder/NAME``.
"""

from __future__ import annotations

import difflib
from pathlib import Path

from tal.errors import ConfigError

FOLDER = Path(__file__).parent


def list_presets() -> dict[str, Path]:
    """Name -> file, sorted by name."""
    files = sorted(FOLDER.rglob("*.yaml"))
    return {path.relative_to(FOLDER).with_suffix("").as_posix(): path for path in files}


def find_preset(name: str) -> Path:
    """File of a preset; ConfigError names the nearest ones when there is no such preset."""
    known = list_presets()
    if name in known:
        return known[name]
    by_stem = [path for full, path in known.items() if full.rsplit("/", 1)[-1] == name]
    if len(by_stem) == 1:
        return by_stem[0]
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    hint = f"did you mean {', '.join(near)}?" if near else "`longtal presets` lists the presets"
    raise ConfigError(f"{name!r} is neither a file nor a preset; {hint}")
