"""Checkpoints of the code bases that published ActionFormer, TemporalMaxer, TriDet and CLTDR-GMG."""

from tal.released.infer import infer_config
from tal.released.names import SYSTEMS, Place, locate, to_state
from tal.released.options import complete_options, decoder_config, suppression_config
from tal.released.read import read_weights

__all__ = [
    "SYSTEMS",
    "Place",
    "complete_options",
    "decoder_config",
    "infer_config",
    "locate",
    "read_weights",
    "suppression_config",
    "to_state",
]
