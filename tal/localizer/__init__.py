"""The part after the encoder: temporal downsampling, consistency module, decoder, row classifier."""

from tal.localizer.localizer import Localizer, LocalizerConfig

__all__ = ["Localizer", "LocalizerConfig"]
