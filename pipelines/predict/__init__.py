"""Detections of new videos, in the formats that other tools read."""
