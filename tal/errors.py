"""Errors of `tal` and what builds on it, by what the user can mend; each is also a child of a builtin."""

from featstore.errors import LongtalError

__all__ = [
    "AnnotationError",
    "CheckpointError",
    "ConfigError",
    "DeviceMemoryError",
    "EvaluationError",
    "LongtalError",
    "OutputError",
    "VideoError",
    "WeightsError",
]


class AnnotationError(LongtalError, ValueError):
    """Annotations or predictions that cannot be read as what they claim to be, or cannot be written."""


class CheckpointError(LongtalError, ValueError):
    """A checkpoint or model folder that is incomplete or belongs to something else."""


class ConfigError(LongtalError, ValueError):
    """A configuration value or key that makes no sense."""


class DeviceMemoryError(LongtalError, MemoryError):
    """A network that does not fit in the device's memory with the least of input."""


class EvaluationError(LongtalError, ValueError):
    """Nothing can be measured: no ground truth, no predictions, disjoint ids, unknown subset."""


class OutputError(LongtalError, OSError):
    """An output file or folder that cannot be written."""


class VideoError(LongtalError, OSError):
    """A video file that cannot be decoded; the message names file and cause."""


class WeightsError(LongtalError, ValueError):
    """Weights that do not fit the model, or are not available."""
