"""Video reading by time stamp: decord where it agrees with PyAV, PyAV elsewhere."""

from tal.video.info import VideoInfo
from tal.video.reader import BACKENDS, VideoReader, open_video

__all__ = ["BACKENDS", "VideoInfo", "VideoReader", "open_video"]
