"""Checkpoints of the code bases that published ActionFormer, TemporalMaxer, TriDet and CLTDR-GMG."""

from tal.checkpoints.infer import infer_config
from tal.checkpoints.names import SYSTEMS, Place, locate, to_state
from tal.checkpoints.options import complete_options, decoder_config, suppression_config
from tal.checkpoints.read import read_weights

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
