"""TemporalMaxer (Tang et al., 2023): a pyramid of max-pools."""

from tal.decoders.temporalmaxer.config import TemporalMaxerConfig
from tal.decoders.temporalmaxer.decoder import TemporalMaxer

__all__ = ["TemporalMaxer", "TemporalMaxerConfig"]
