"""Trident decoding (TriDet): boundaries as weighted means over bins."""
