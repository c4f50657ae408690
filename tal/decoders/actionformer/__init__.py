"""ActionFormer (Zhang et al., 2022): local attention on a feature pyramid."""

from tal.decoders.actionformer.config import ActionFormerConfig
from tal.decoders.actionformer.decoder import ActionFormer

__all__ = ["ActionFormer", "ActionFormerConfig"]
