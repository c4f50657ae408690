"""Decoder names -> configuration and class. A new decoder is two lines here."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tal.decoders.actionformer import ActionFormer, ActionFormerConfig
from tal.decoders.afsd import AFSD, AFSDConfig
from tal.decoders.base import Decoder
from tal.decoders.cltdr_gmg import CltdrGmg, CltdrGmgConfig
from tal.decoders.daotad import DaoTAD, DaoTADConfig
from tal.decoders.temporalmaxer import TemporalMaxer, TemporalMaxerConfig
from tal.decoders.tridet import TriDet, TriDetConfig
from tal.errors import ConfigError

# The configuration of any decoder; `name` says of which.
DecoderConfig = Annotated[
    ActionFormerConfig | TemporalMaxerConfig | TriDetConfig | CltdrGmgConfig | DaoTADConfig | AFSDConfig,
    Field(discriminator="name"),
]

_BUILDERS: dict[type, type[Decoder]] = {
    ActionFormerConfig: ActionFormer,
    TemporalMaxerConfig: TemporalMaxer,
    TriDetConfig: TriDet,
    CltdrGmgConfig: CltdrGmg,
    DaoTADConfig: DaoTAD,
    AFSDConfig: AFSD,
}


def build_decoder(config: DecoderConfig, in_channels: int, num_classes: int) -> Decoder:
    """A decoder with random weights for features [B, in_channels, T].

    Raises ConfigError for impossible sizes.
    """
    if in_channels < 1 or num_classes < 1:
        raise ConfigError(
            f"a decoder needs channels and classes; got {in_channels} channels, {num_classes} classes"
        )
    return _BUILDERS[type(config)](config, in_channels, num_classes)


def list_decoders() -> list[str]:
    """Names that a configuration's `decoder.name` can have."""
    return sorted(str(config.model_fields["name"].default) for config in _BUILDERS)  # type: ignore[attr-defined]
