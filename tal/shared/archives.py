"""Zip archives (.npz, PyTorch's .pt) whose entries promise more than a file of their size can hold."""

from __future__ import annotations

import zipfile

# A file of numbers shrinks to a half, one of zeros to a thousandth: small ones may do that.
_HARMLESS_BYTES = 64 << 20
_MOST_SHRUNK = 100


def refuse_bombs(archive: zipfile.ZipFile) -> None:
    """Raise BadZipFile where unpacking would take far more memory than the archive's own size."""
    entries = archive.infolist()
    unpacked = sum(entry.file_size for entry in entries)
    packed = sum(entry.compress_size for entry in entries)
    end = archive.start_dir  # the entries lie before the directory
    if packed > end or (unpacked > _HARMLESS_BYTES and unpacked > _MOST_SHRUNK * packed):
        raise zipfile.BadZipFile(
            f"its entries promise {unpacked} bytes in {end}: it is damaged, or made to fill the memory"
        )
