"""Many makes of small videos: containers, codecs, kinds of pixels and of rate."""

from __future__ import annotations

from fractions import Fraction

from tests.tal.video.video_corpus import CORPUS, Make

_X = {"preset": "ultrafast", "bf": "0"}
_B = {"preset": "veryfast", "bf": "2"}
_H = {"preset": "ultrafast", "x265-params": "log-level=none"}
_V = {"deadline": "realtime", "cpu-used": "8"}
_ALT = {"auto-alt-ref": "1", "lag-in-frames": "12", "cpu-used": "8"}  # with pictures that are never shown
_FRAGMENTS = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
_PAL, _NTSC = (720, 576), (720, 480)


def _make(  # type: ignore[no-untyped-def]
    container: str, codec: str, pix_fmt: str = "yuv420p", options: dict[str, str] | None = None, **more
) -> Make:
    """A make with a name of its own; ``more``: other fields of `Make`."""
    told = [container, codec, pix_fmt, *(options or {}).values(), *more.get("mux", {}).values()]
    told += [str(value) for value in more.values() if isinstance(value, int)]
    name = "".join(c if c.isalnum() else "_" for c in "_".join(told))
    return Make(name, codec, container, pix_fmt=pix_fmt, options=options or {}, **{"pictures": 26, **more})


# a file of each of the commonest containers and codecs
QUICK = (
    _make("mp4", "libx264", "yuv420p", _B),
    _make("mov", "prores", "yuv422p10le"),
    _make("mkv", "libx265", "yuv420p10le", _H),
    _make("webm", "libvpx-vp9", "yuv420p", _V),
    _make("webm", "libvpx", "yuv420p", _ALT),
    _make("avi", "mpeg4", "yuv420p", {"bf": "2"}),
    _make("mts", "libx264", "yuv420p", _B, muxer="mpegts", mux={"mpegts_m2ts_mode": "1"}),
    _make("mpg", "mpeg2video", "yuv420p", {"bf": "2"}),
    _make("flv", "libx264", "yuv420p", _B),
    _make("wmv", "wmv2", muxer="asf"),
    _make("3gp", "h263", size=(176, 144)),
    _make("gif", "gif", "rgb8"),
    _make("h264", "libx264", "yuv420p", _B),
    _make("dv", "dvvideo", size=_PAL, pictures=4),
)

REST = (
    *CORPUS,
    # MP4 and MOV
    _make("mp4", "libx264", "yuv422p", _X),
    _make("mp4", "libx264", "yuv444p", _B),
    _make("mp4", "libx264", "yuv420p10le", _B),
    _make("mp4", "libx264", "yuv422p10le", _X),
    _make("mp4", "libx264", "gray", _X),
    _make("mp4", "libx264", "yuvj420p", _X),
    _make("mp4", "libx264", "yuv420p", _B, mux=_FRAGMENTS, gop=7),
    _make("mp4", "libx264", "yuv420p", _B, mux={"movflags": "faststart"}, rate=Fraction(60)),
    _make(
        "mp4", "libx264", "yuv420p", {**_B, "x264-params": "open-gop=1:b-pyramid=normal"}, gop=9, pictures=40
    ),
    _make("mp4", "libx264", "yuv420p", {**_X, "x264-params": "intra-refresh=1"}, gop=9),
    _make("mp4", "libx264", "yuv420p", {**_X, "x264-params": "interlaced=1"}, size=(96, 128)),
    _make("mp4", "libx265", "yuv420p10le", _H),
    _make("mp4", "libx265", "yuv444p", {**_H, "preset": "fast"}, gop=8),
    _make("mp4", "libsvtav1", "yuv420p", {"preset": "12"}),
    _make("mp4", "libvpx-vp9", "yuv420p", _V),
    _make("mp4", "mpeg4", "yuv420p", {"bf": "2"}, rotation=90),
    _make("mp4", "mpeg4", "yuv420p", {}, gaps=(4, 1, 30)),
    _make("mov", "prores_ks", "yuv444p10le"),
    _make("mov", "qtrle", "rgb24"),
    _make("mov", "png", "rgb24"),
    _make("mov", "svq1", "yuv410p"),
    _make("mov", "cfhd", "yuv422p10le"),
    _make("mov", "dvvideo", "yuv411p", size=_NTSC, pictures=4, rate=Fraction(30000, 1001)),
    _make("3gp", "libx264", "yuv420p", _X),
    _make("3g2", "mpeg4"),
    # Matroska and WebM
    _make("mkv", "libx264", "yuv420p", _B, gaps=(1, 7, 4)),
    _make("mkv", "libx264", "yuv420p", {**_B, "x264-params": "open-gop=1"}, gop=8),
    _make("mkv", "libx265", "yuv422p10le", _H),
    _make("mkv", "libx265", "yuv444p", _H),
    _make("mkv", "libx265", "gray", _H),
    _make("mkv", "ffv1"),
    _make("mkv", "ffv1", "yuv422p10le"),
    _make("mkv", "ffv1", "gray"),
    _make("mkv", "ffv1", "yuv444p16le"),
    _make("mkv", "mpeg2video", "yuv420p", {"bf": "2"}),
    _make("mkv", "mjpeg", "yuvj422p"),
    _make("webm", "libvpx-vp9", "yuv444p", _V),
    _make("webm", "libvpx-vp9", "yuv420p", _ALT),
    _make("webm", "libvpx", "yuv420p", _V, gaps=(4, 4, 30)),
    _make("webm", "libsvtav1", "yuv420p10le", {"preset": "12"}),
    # AVI
    _make("avi", "huffyuv", "yuv422p"),
    _make("avi", "ffvhuff", "yuv420p"),
    _make("avi", "rawvideo"),
    _make("avi", "msmpeg4v2"),
    _make("avi", "utvideo"),
    _make("avi", "cinepak", "rgb24"),
    _make("avi", "libx264", "yuv420p", _B, rate=Fraction(5)),
    _make("avi", "dvvideo", size=_PAL, pictures=4),
    # MPEG-TS and MPEG-PS
    _make("ts", "libx265", "yuv420p", _H),
    _make("ts", "mpeg2video", "yuv420p", {"bf": "2"}),
    _make("ts", "mpeg2video", "yuv422p"),
    _make("ts", "libx264", "yuv420p", {**_B, "x264-params": "open-gop=1"}, gop=8, rate=Fraction(50)),
    _make("mpg", "mpeg1video", "yuv420p", {"bf": "2"}),
    _make("vob", "mpeg2video"),
    # others
    _make("flv", "flv"),
    _make("wmv", "wmv1", muxer="asf"),
    _make("asf", "msmpeg4"),
    _make("ogv", "libvpx", "yuv420p", _V),
    _make("nut", "ffv1"),
    _make("mxf", "mpeg2video", "yuv422p"),
    _make("ivf", "libvpx-vp9", "yuv420p", _V),
    _make("m4v", "mpeg4"),
    _make("hevc", "libx265", "yuv420p", _H),
    _make("m2v", "mpeg2video", "yuv420p", {"bf": "2"}, muxer="mpeg2video"),
    _make("mjpeg", "mjpeg", "yuvj420p"),
)
