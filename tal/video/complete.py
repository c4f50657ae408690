"""Is all there that the header promises, and how long does the last picture stay."""

from __future__ import annotations

from pathlib import Path

import av

from tal.errors import VideoError
from tal.video.clock import LONGEST_S
from tal.video.container import FileFacts, StreamFacts, cause, open_container
from tal.video.packets import MISSING, PacketTable
from tal.video.pictures import Pictures
from tal.video.structure import is_whole

# A container's header may round; fewer pictures than this share of what it promises is a truncated file.
_TRUNCATED_BELOW = 0.9
# The header may round by so much when it says how long the last picture stays.
_ROUNDED_S = 0.1


def check_complete(path: Path, file: FileFacts, stream: StreamFacts, table: PacketTable) -> int:
    """Number of packets that an edit list keeps even from the decoder.

    Raises
    ------
    VideoError
        the header promises clearly more than the file holds.
    """
    found, promised = len(table), stream.promised
    if file.format.startswith("mov,"):
        if promised > found:
            # FFmpeg leaves out what an edit list cuts away, whole groups of pictures at a time
            found = _count_unedited(path, stream.index)
            # nor does it give empty samples: dropped pictures
            dropped = is_whole(path, file.format) and found >= _TRUNCATED_BELOW * promised
            if promised > found and not dropped:
                raise _truncated(path, f"{promised} pictures", f"{found} are")
        return found - len(table)
    if promised:
        # AVI stores a picture that stays for longer as empty packets, which FFmpeg does not show
        if found < _TRUNCATED_BELOW * promised and not is_whole(path, file.format):
            raise _truncated(path, f"{promised} pictures", f"{found} are")
        return 0
    whole_s = file.duration_s
    if whole_s is None or file.clock_wraps or (table.pts == MISSING).any() or is_whole(path, file.format):
        return 0
    # Matroska's duration counts from zero, others' from the start
    end_s = float((table.pts + table.duration).max() * stream.time_base)
    enough_s = min(_TRUNCATED_BELOW * whole_s, whole_s - 0.5)
    if end_s < enough_s and _last_time_s(path) < enough_s:
        raise _truncated(path, f"{whole_s:.1f} s", f"{end_s:.1f} s are")
    return 0


def last_picture(
    path: Path, file: FileFacts, stream: StreamFacts, table: PacketTable, pictures: Pictures, edited: bool
) -> float:
    """Ticks for which the last picture stays, where the file says that it is longer than usual; else usual.

    Its packet may say so (MP4, Matroska), or its track, or a file without sound that has all its bytes. An
    edit list is believed to the tick.
    """
    usual, tick_s = pictures.usual, float(stream.time_base)
    longest = LONGEST_S / tick_s
    if 2 * usual < table.duration[pictures.last] <= longest:
        return float(table.duration[pictures.last])
    if pictures.joined:
        return usual
    end_s = 0.0  # some headers count a length from the first picture: then it is too short here, and not used
    if file.format.startswith("mov,") or file.format == "avi":
        end_s = (stream.duration or 0) * tick_s
    elif stream.tag_end_s is not None:
        end_s = stream.tag_end_s
    elif file.only_pictures and file.duration_s is not None and is_whole(path, file.format):
        end_s = file.duration_s
    stays = end_s / tick_s - float(pictures.ticks[-1])
    if edited and 1 <= stays <= longest:
        return stays
    return stays if 2 * usual + _ROUNDED_S / tick_s < stays <= longest else usual


def _count_unedited(path: Path, stream_index: int) -> int:
    """Packets of a stream without its edit list."""
    with open_container(path, ignore_editlist="1") as container:
        try:
            return sum(p.size > 0 for p in container.demux(container.streams[stream_index]))
        except av.FFmpegError as error:
            raise VideoError(f"{path}: damaged ({cause(error)})") from error


def _last_time_s(path: Path) -> float:
    """Latest time stamp of any stream: a sound track may honestly outlast the pictures."""
    with open_container(path) as container:
        last = 0.0
        for packet in container.demux():
            if packet.pts is not None and packet.time_base is not None:
                last = max(last, float(packet.pts * packet.time_base))
        return last


def _truncated(path: Path, promised: str, found: str) -> VideoError:
    return VideoError(f"{path}: truncated: the header promises {promised}, {found} there")
