"""AFSD: anchor-free segments refined at their boundaries (TALLFormer for ActivityNet and HACS)."""

from tal.decoders.afsd.config import AFSDConfig
from tal.decoders.afsd.decoder import AFSD

__all__ = ["AFSD", "AFSDConfig"]
