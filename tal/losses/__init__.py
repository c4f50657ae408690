"""Losses of the decoders: classification on logits, overlap of segments or of distances from a point."""

from tal.losses.classification import quality_focal, sigmoid_focal, smooth_labels, varifocal
from tal.losses.overlap import diou, diou_offsets, giou, giou_offsets, iou

__all__ = [
    "diou",
    "diou_offsets",
    "giou",
    "giou_offsets",
    "iou",
    "quality_focal",
    "sigmoid_focal",
    "smooth_labels",
    "varifocal",
]
