"""The outermost parts of a container: is the file whole, does another recording follow in it.

FFmpeg's demuxers say neither. Only lengths and names of the outermost parts are read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_EBML, _SEGMENT, _VOID = 0x1A45DFA3, 0x18538067, 0xEC  # RFC 8794, RFC 9559
_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")  # ASF specification, 10.1
_ASF_FILE = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_FLV = b"FLV\x01"
_TAIL_BYTES = 1 << 26


def is_whole(path: Path, container: str) -> bool | None:
    """Whether the file is as long as its container says; None where that cannot be told."""
    looks = {
        "mov,mp4,m4a,3gp,3g2,mj2": _mp4_whole,
        "matroska,webm": _matroska_whole,
        "flv": _flv_whole,
        "asf": _asf_whole,
        "avi": _avi_whole,
    }
    if container not in looks:
        return None
    with open(path, "rb") as file:
        return looks[container](file, os.fstat(file.fileno()).st_size)


def next_recording(path: Path, container: str, end: int) -> int | None:
    """The byte where another recording begins that no player shows: two files written after one another.

    ``end``: the byte behind the last packet that was read. FFmpeg reads on in MPEG-TS, MPEG-PS and AVI, and
    in Matroska as far as the second file.
    """
    with open(path, "rb") as file:
        if container.startswith("mov,"):
            return _second_box(file, os.fstat(file.fileno()).st_size, b"ftyp")
        marks = {"flv": _FLV, "asf": _ASF_HEADER, "matroska,webm": _EBML.to_bytes(4, "big")}
        if container in marks:
            return _found(file, end, marks[container])
    return None


def _found(file: BinaryIO, start: int, mark: bytes) -> int | None:
    file.seek(max(1, start))
    at = file.read(_TAIL_BYTES).find(mark)
    return None if at < 0 else max(1, start) + at


def _boxes(file: BinaryIO, size: int) -> Iterator[tuple[bytes, int, int]]:
    """Outermost boxes of MP4: name, where it begins, where it should end (ISO/IEC 14496-12, 4.2)."""
    at = 0
    while at + 8 <= size:
        file.seek(at)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        elif length == 0:
            length = size - at
        if length < 8:
            return
        yield head[4:8], at, at + length
        at += length


def _second_box(file: BinaryIO, size: int, name: bytes) -> int | None:
    begins = [begin for found, begin, _ in _boxes(file, size) if found == name]
    return begins[1] if len(begins) > 1 else None


def _mp4_whole(file: BinaryIO, size: int) -> bool:
    return max((end for _, _, end in _boxes(file, size)), default=size + 1) <= size


def _matroska_whole(file: BinaryIO, size: int) -> bool | None:
    at = 0
    while at < size:
        file.seek(at)
        head = file.read(12)
        if len(head) < 5:
            return False
        name_bytes, name = _vint(head, keep_mark=True)
        length_bytes, length = _vint(head[name_bytes:], keep_mark=False)
        if name not in (_EBML, _SEGMENT, _VOID):
            return at > 0 or None  # something else behind a segment that ended where it should
        if length is None:
            return None
        at += name_bytes + length_bytes + length
    return at == size


def _vint(data: bytes, keep_mark: bool) -> tuple[int, int | None]:
    """(bytes, value) of an EBML number; value None: not known."""
    count = 9 - data[0].bit_length()
    if count > min(8, len(data)):
        return 1, None
    value = int.from_bytes(data[:count], "big")
    if keep_mark:
        return count, value
    mask = (1 << 7 * count) - 1
    return count, None if value & mask == mask else value & mask


def _flv_whole(file: BinaryIO, size: int) -> bool:
    """The last four bytes are the length of the last tag, which is there."""
    if size < 4 + 11 + 4:
        return False
    file.seek(size - 4)
    length = int.from_bytes(file.read(4), "big")
    if not 11 <= length <= size - 8:
        return False
    file.seek(size - 4 - length)
    tag = file.read(11)
    return tag[0] & 0x1F in (8, 9, 18) and int.from_bytes(tag[1:4], "big") == length - 11


def _avi_whole(file: BinaryIO, size: int) -> bool:
    """Chunks named RIFF, one after another (OpenDML has several), to the end."""
    at = 0
    while at + 8 <= size:
        file.seek(at)
        head = file.read(8)
        if head[:4] != b"RIFF":
            return at > 0
        at += 8 + int.from_bytes(head[4:], "little")
    return at <= size


def _asf_whole(file: BinaryIO, size: int) -> bool | None:
    file.seek(0)
    head = file.read(1 << 16)
    at = head.find(_ASF_FILE)
    if not head.startswith(_ASF_HEADER) or at < 0:
        return None
    written = int.from_bytes(head[at + 40 : at + 48], "little")  # object id, its length, file id, file size
    return None if not written else size >= written
