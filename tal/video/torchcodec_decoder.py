"""Decode chosen pictures with torchcodec, where it is asked for and its times are the container's."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featstore.documents import why
from tal.errors import VideoError
from tal.video.index import PacketIndex
from tal.video.pyav_decoder import refreshes_gradually

# In MPEG-TS and MPEG-PS it lands behind the picture that is wanted, in ASF it numbers B-frames otherwise.
_CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2",
    "matroska,webm",
    "avi",
    "flv",
    "gif",
    "ivf",
    "mjpeg",
    "mxf",
    "nut",
    "ogg",
)
_CHUNK_PICTURES = 32
# What it raises: STD_TORCH_CHECK is a RuntimeError, an index that its own scan lacks an IndexError.
_ERRORS = (RuntimeError, IndexError, ValueError, OSError)


def why_missing() -> str:
    """Why torchcodec cannot be used on this machine; empty where it can."""
    if find_spec("torchcodec") is None:
        return "torchcodec is not installed here: pip install 'longtal[torchcodec]', or name pyav"
    try:
        import torchcodec
    except (ImportError, OSError, RuntimeError) as error:
        return (
            f"torchcodec cannot be loaded ({_cause(error)}): install the one that goes with this torch, or "
            "name pyav"
        )
    # Without FFmpeg it is imported for its image decoders, and fails when a video is opened.
    if torchcodec.ffmpeg_major_version is None:
        return (
            "torchcodec finds no FFmpeg libraries of a version that it knows: install ffmpeg (apt install "
            "ffmpeg, conda install ffmpeg), or name pyav"
        )
    return ""


def why_not(index: PacketIndex) -> str:
    """Why torchcodec must not read this video; empty when its pictures and times are those of the index.

    Compares the count and the first and last stamps, which takes a scan of the packets and one seek; the
    stamp of each picture is compared when it is decoded.
    """
    if index.container not in _CONTAINERS:
        return f"{index.container} is not a container in which torchcodec is known to find every picture"
    if index.counted or index.numbering is not None:
        return "its packets do not tell their pictures' times"
    if index.interlaced:
        return "its pictures are interlaced, which torchcodec scales otherwise than PyAV"
    if index.codec == "h264" and refreshes_gradually(index):
        return "no key frames but a gradual refresh, which torchcodec gets wrong after a seek"
    try:
        decoder = _open(index, index.width, index.height, 1)
    except _ERRORS as error:
        return f"torchcodec cannot open it ({_cause(error)})"
    if len(decoder) != len(index.pts):
        return f"torchcodec counts {len(decoder)} pictures, the container has {len(index.pts)}"
    # The last comes first, by a seek: where a key frame is near the end, nothing may be found behind it.
    for k in (len(index.pts) - 1, 0):
        try:
            theirs_s = decoder.get_frame_at(k).pts_seconds
        except _ERRORS as error:
            return f"torchcodec does not find its picture {k} ({_cause(error)})"
        ours_s = float(_stamps_s(index, np.array([k]))[0])
        if abs(theirs_s - ours_s) > _tolerance_s(index):
            return (
                f"picture {k} comes at {theirs_s:.6f} s with torchcodec and {ours_s:.6f} s in the container"
            )
    return ""


class TorchcodecDecoder:
    """Gives pictures by their index; one torchcodec decoder for each size that is asked for.

    It decodes on the CPU: decoding is done by several processes beside the one that computes, each of which
    would hold a CUDA context of its own.
    """

    def __init__(self, index: PacketIndex, threads: int = 1) -> None:
        self._index = index
        self._threads = threads
        self._size = (0, 0)
        self._decoder: Any = None

    def pictures(self, wanted: NDArray[np.int64], width: int, height: int) -> Iterator[NDArray[np.uint8]]:
        """Pictures [height, width, 3] RGB for picture indices in increasing order (repeats allowed).

        Raises
        ------
        VideoError
            torchcodec gives up (a damaged file), or gives a picture of another time.
        """
        for start in range(0, len(wanted), _CHUNK_PICTURES):
            yield from self._decode(wanted[start : start + _CHUNK_PICTURES], width, height)

    def close(self) -> None:
        self._decoder = None

    def _decode(self, wanted: NDArray[np.int64], width: int, height: int) -> NDArray[np.uint8]:
        """The pictures, uint8 [n, height, width, 3], each held to its time."""
        try:
            if self._decoder is None or self._size != (width, height):
                self._decoder = _open(self._index, width, height, self._threads)
                self._size = (width, height)
            batch = self._decoder.get_frames_at(wanted.tolist())
        except _ERRORS as error:
            at_s = self._index.times_s[wanted[0]]
            raise VideoError(
                f"{self._index.path}: torchcodec fails near {at_s:.2f} s ({_cause(error)}); use --reader pyav"
            ) from error
        theirs_s, ours_s = batch.pts_seconds.numpy(), _stamps_s(self._index, wanted)
        wrong = np.flatnonzero(~(np.abs(theirs_s - ours_s) <= _tolerance_s(self._index)))
        if len(wrong):
            k = int(wrong[0])
            raise VideoError(
                f"{self._index.path}: picture {wanted[k]} comes at {theirs_s[k]:.6f} s with torchcodec "
                f"and {ours_s[k]:.6f} s in the container; use --reader pyav"
            )
        pictures: NDArray[np.uint8] = batch.data.numpy()
        assert pictures.shape == (len(wanted), height, width, 3)
        return pictures


open_decoder = TorchcodecDecoder


def _open(index: PacketIndex, width: int, height: int, threads: int) -> Any:
    from torchcodec.decoders import VideoDecoder
    from torchcodec.transforms import Resize

    return VideoDecoder(
        str(index.path),
        stream_index=index.stream,
        dimension_order="NHWC",
        num_ffmpeg_threads=threads,
        # not torch's default device, which a program may have set to a GPU
        device="cpu",
        # numbers pictures by a scan of the packets, not by the rate that the header promises
        seek_mode="exact",
        # at the video's own size too: pictures of a video may change theirs
        transforms=[Resize((height, width))],
    )


def _stamps_s(index: PacketIndex, pictures: NDArray[np.int64]) -> NDArray[np.float64]:
    """Stamps of pictures, seconds on the stream's own clock, which torchcodec's are on."""
    return index.pts[pictures].astype(np.float64) * float(index.time_base)


def _tolerance_s(index: PacketIndex) -> float:
    """Half a tick: stamps that are further apart are not the same."""
    return 0.5 * float(index.time_base)


def _cause(error: Exception) -> str:
    return why(error)[:100]
