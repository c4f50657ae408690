"""DaoTAD: anchors on a feature pyramid (TALLFormer for THUMOS14)."""

from tal.decoders.daotad.config import DaoTADConfig
from tal.decoders.daotad.decoder import DaoTAD

__all__ = ["DaoTAD", "DaoTADConfig"]
