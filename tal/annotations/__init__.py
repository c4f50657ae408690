"""Annotations and predictions: one representation, many file formats."""

from tal.annotations.detection import Detection
from tal.annotations.ids import VIDEO_SUFFIXES
from tal.annotations.predictions import (
    PREDICTION_COLUMNS,
    prediction_frame,
    read_predictions,
    write_predictions,
)
from tal.annotations.read import read_annotations, write_annotations
from tal.annotations.types import AnnotationSet, Exclusion, Segment, VideoAnnotation
from tal.annotations.videos import VideoFolder, find_video

__all__ = [
    "PREDICTION_COLUMNS",
    "VIDEO_SUFFIXES",
    "AnnotationSet",
    "Detection",
    "Exclusion",
    "Segment",
    "VideoAnnotation",
    "VideoFolder",
    "find_video",
    "prediction_frame",
    "read_annotations",
    "read_predictions",
    "write_annotations",
    "write_predictions",
]
