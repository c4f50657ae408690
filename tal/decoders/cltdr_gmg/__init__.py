"""CLTDR-GMG (AAAI 2025): gated multi-granularity blocks, cross-layer task decoupling and refinement."""

from tal.decoders.cltdr_gmg.config import CltdrGmgConfig
from tal.decoders.cltdr_gmg.decoder import CltdrGmg

__all__ = ["CltdrGmg", "CltdrGmgConfig"]
