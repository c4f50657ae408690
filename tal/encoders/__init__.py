"""Encoders: clips of frames -> feature rows, each with its own preprocessing; rows of whole videos."""

from tal.encoders.base import Encoder, EncoderEntry
from tal.encoders.build import build_encoder
from tal.encoders.config import EncoderConfig
from tal.encoders.hf import self_contained
from tal.encoders.preprocess import Preprocess
from tal.encoders.registry import list_encoders
from tal.encoders.spec import feature_spec
from tal.encoders.streaming import clips_at_once, encode_video, fastest_batch

__all__ = [
    "Encoder",
    "EncoderConfig",
    "EncoderEntry",
    "Preprocess",
    "build_encoder",
    "clips_at_once",
    "encode_video",
    "fastest_batch",
    "feature_spec",
    "list_encoders",
    "self_contained",
]
