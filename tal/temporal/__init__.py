"""What stands between rows and decoder: temporal downsampling (SRM) and the consistency module (TCM)."""

from tal.temporal.downsampling import TemporalDownsampling
from tal.temporal.tcm import ConsistencyModule, TcmConfig

__all__ = ["ConsistencyModule", "TcmConfig", "TemporalDownsampling"]
