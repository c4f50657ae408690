"""Masked layers that the decoders share."""
