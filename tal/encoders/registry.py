"""Encoder names -> families. A new family is a file and a line here."""

from __future__ import annotations

import difflib

from tal.encoders.base import EncoderEntry, EncoderFamily
from tal.encoders.hf import HF
from tal.encoders.i3d import I3D
from tal.encoders.mvit import MVIT
from tal.encoders.r2plus1d import R2PLUS1D
from tal.encoders.s3d import S3D
from tal.encoders.swin import SWIN
from tal.encoders.timm_encoder import TIMM
from tal.errors import ConfigError

FAMILIES: tuple[EncoderFamily, ...] = (TIMM, SWIN, MVIT, R2PLUS1D, S3D, I3D, HF)


def list_encoders() -> tuple[EncoderEntry, ...]:
    """Named encoders; any other timm image model is ``timm:MODEL``, a folder or repository ``hf:NAME``."""
    return tuple(entry for family in FAMILIES for entry in family.entries)


def find_entry(name: str) -> EncoderEntry | None:
    """The entry of a name or an alias, of ``hf:NAME`` by its config.json; None for timm models not listed."""
    for family in FAMILIES:
        listed = family.aliases.get(name, name)
        for entry in family.entries:
            if entry.name == listed:
                return entry
        if family.describe is not None and name.startswith(family.prefix):
            return family.describe(name)
    return None


def find_family(name: str) -> tuple[EncoderFamily, str]:
    """The family of a name or an alias, and the name without alias.

    Raises
    ------
    ConfigError
        there is no such encoder; names the nearest.
    """
    for family in FAMILIES:
        own = family.aliases.get(name, name)
        if any(e.name == own for e in family.entries) or (family.prefix and own.startswith(family.prefix)):
            return family, own
    near = difflib.get_close_matches(name, [e.name for e in list_encoders()], n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ConfigError(
        f"no encoder {name!r}{hint} `longtal encoders` lists them, and any timm:MODEL works, and hf:NAME"
    )
