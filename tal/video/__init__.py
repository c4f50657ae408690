"""Video reading by time stamp: with PyAV, or with decord or torchcodec where they are named and right."""

from tal.video.info import VideoInfo
from tal.video.reader import VideoReader, open_video, require_reader, resolve_reader

__all__ = ["VideoInfo", "VideoReader", "open_video", "require_reader", "resolve_reader"]
