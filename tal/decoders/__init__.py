"""Decoders: features [B, C, T] and a mask in, segments out. See `tal.decoders.base` for the contract."""

from tal.decoders.base import Candidates, Decoder, Targets
from tal.decoders.registry import DecoderConfig, build_decoder, list_decoders

__all__ = ["Candidates", "Decoder", "DecoderConfig", "Targets", "build_decoder", "list_decoders"]
