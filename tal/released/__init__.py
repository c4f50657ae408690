"""Checkpoints of the releases of ActionFormer, TemporalMaxer, TriDet, CLTDR-GMG and TALLFormer."""

from tal.released.infer import infer_config
from tal.released.names import SYSTEMS, Place, locate, to_state
from tal.released.options import complete_options, decoder_config, suppression_config
from tal.released.read import read_weights
from tal.released.tallformer import TALLFORMER, split_encoder, to_localizer
from tal.released.tallformer_shapes import Sizes, infer_sizes

__all__ = [
    "SYSTEMS",
    "TALLFORMER",
    "Place",
    "Sizes",
    "complete_options",
    "decoder_config",
    "infer_config",
    "infer_sizes",
    "locate",
    "read_weights",
    "split_encoder",
    "suppression_config",
    "to_localizer",
    "to_state",
]
