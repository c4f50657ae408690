"""TriDet (Shi et al., 2023): scalable-granularity blocks, boundaries by relative distributions."""

from tal.decoders.tridet.config import TriDetConfig
from tal.decoders.tridet.decoder import TriDet

__all__ = ["TriDet", "TriDetConfig"]
