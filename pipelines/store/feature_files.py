"""Files of features: what shape they hold, which axis is time, and their rows.

Files have axes of length one (a batch, pooled pictures), which go, and axes of crops, which must not be taken
for time. What a shape alone does not say, the other files of the folder may, or the video's duration.
"""

from __future__ import annotations

import io
import math
import struct
import tokenize
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from featstore.documents import why
from featstore.errors import StoreValueError
from tal.errors import WeightsError
from tal.shared.archives import refuse_bombs

SUFFIXES = (".npy", ".npz", ".pt")
Layout = Literal["tc", "ct"]
_LENGTH = struct.Struct("<I")  # of the header of a .npy file of version 2 or 3
Shape = tuple[int, ...]
# Pictures of one clip that networks are shown: four corners and the middle, and their mirror images.
_CROPS = {5: "five crops", 10: "ten crops"}


@dataclass(frozen=True)
class FolderAxes:
    """What the files of a folder say together about their axes.

    Attributes
    ----------
    channels
        of the files whose shape is plain; None: no file is.
    batch_of_one
        an axis of length one stands where time could, before or behind axes of several lengths: so it is a
        batch, and the other one is time.
    """

    channels: int | None = None
    batch_of_one: bool = False

    @classmethod
    def of(cls, shapes: Iterable[Shape], layout: Layout) -> FolderAxes:
        """From the shapes of all files that could be read."""
        shapes = list(shapes)
        plain = Counter(s[1] if layout == "tc" else s[0] for s in shapes if len(s) == 2)
        if not plain:
            plain = Counter(b[1] if layout == "tc" else b[0] for s in shapes if len(b := _long(s)) == 2)
        channels = plain.most_common(1)[0][0] if plain else None
        lengths = {_middle(s, layout) for s in shapes if _one_for_time(s, layout)}
        crops = any(len(_long(s)) > 2 for s in shapes)
        return cls(channels, len(lengths) > 1 and not crops)


def rows_of(
    shape: Shape,
    layout: Layout,
    axes: FolderAxes,
    fits: Callable[[int], bool] | None = None,
) -> tuple[int, int]:
    """(rows, channels) that an array of this shape holds.

    Parameters
    ----------
    layout
        "tc": time before channels; "ct": channels before time.
    axes
        what the folder's other files say.
    fits
        whether so many rows fit the video; None: its duration is not known.

    Raises
    ------
    StoreValueError
        there is no such reading, or there are several; says which.
    """
    shown = list(shape)
    long = _long(shape)
    if 0 in shape or not shape:
        raise StoreValueError(f"holds {shown}: nothing")
    if len(shape) == 2:
        return _ordered(shape[0], shape[1], layout)
    if len(long) > 2:
        crops = next((_CROPS[n] for n in long[:-1] if n in _CROPS), "")
        hint = f" ({crops}? average them to one row a clip)" if crops else ""
        raise StoreValueError(f"holds {shown}, not rows and channels in two dimensions{hint}")
    if len(long) == 2:
        crops = _CROPS.get(_middle(shape, layout), "") if _one_for_time(shape, layout) else ""
        rows, channels = _ordered(long[0], long[1], layout)
        if crops and not (axes.batch_of_one or (fits is not None and fits(rows) and not fits(1))):
            raise StoreValueError(
                f"holds {shown}: {crops} of one clip, or {rows} rows behind a batch axis? Save one row a "
                f"clip (the mean of the crops), or the rows as {_as_text(rows, channels, layout)}"
            )
        return rows, channels
    return _one_long(shape, layout, axes.channels)


def _one_long(shape: Shape, layout: Layout, channels: int | None) -> tuple[int, int]:
    """One row, or rows of one number: all axes but (at most) one have length one."""
    count = max(shape)
    if channels == 1:
        return count, 1
    if len(shape) == 1 or count == 1 or count == channels:
        return 1, count
    before = shape.index(count) > 0
    behind = shape.index(count) < len(shape) - 1
    # channels come last in "tc" and first in "ct": then the axis that is left is that of time
    if channels is None and before != behind and before == (layout == "tc"):
        return 1, count
    known = f"; the other files have {channels} channels" if channels is not None else ""
    raise StoreValueError(
        f"holds {list(shape)}: one row of {count} channels, or {count} rows of one{known}? Save it as "
        f"{_as_text(1, count, layout)} or {_as_text(count, 1, layout)}"
    )


def _long(shape: Shape) -> Shape:
    """The axes that are longer than one."""
    return tuple(n for n in shape if n != 1)


def _one_for_time(shape: Shape, layout: Layout) -> bool:
    """Whether, of an array with two long axes, an axis of one stands where a single row's time would."""
    if len(shape) < 3 or len(_long(shape)) != 2:
        return False
    return shape[0] == 1 if layout == "tc" else shape[-1] == 1


def _middle(shape: Shape, layout: Layout) -> int:
    """Of two long axes that which is not channels."""
    long = _long(shape)
    return long[0] if layout == "tc" else long[-1]


def _ordered(first: int, second: int, layout: Layout) -> tuple[int, int]:
    return (first, second) if layout == "tc" else (second, first)


def _as_text(rows: int, channels: int, layout: Layout) -> str:
    return str([rows, channels] if layout == "tc" else [channels, rows])


def read_rows(path: Path, key: str | None, layout: Layout, shape: tuple[int, int]) -> NDArray[Any]:
    """One file as rows [T, C]; ``shape`` is what `rows_of` made of it.

    Raises
    ------
    StoreValueError
        says what is wrong with the file. No pickles are loaded.
    """
    values = _guarded(path, lambda: _load(path, key))
    rows, channels = shape
    if values.size != rows * channels:
        raise StoreValueError(f"{path} was changed while it was read: it holds {list(values.shape)} now")
    if layout == "tc":
        return np.ascontiguousarray(values.reshape(rows, channels))
    return np.ascontiguousarray(values.reshape(channels, rows).T)


def refuse_numbers(values: NDArray[Any], dtype: str, path: Path) -> None:
    """Refuse rows [T, C] that are not all numbers, or not all numbers of the store's type.

    Raises
    ------
    StoreValueError
        names the file and the first row that cannot be taken, and what to do.
    """
    finite = np.isfinite(values).all(axis=1)
    if not finite.all():
        raise StoreValueError(
            f"{path}: {np.count_nonzero(~finite)} of {len(values)} rows hold NaN or infinity, the first is "
            f"row {int(np.argmin(finite))}: extract the video again, or leave such files out with --skip-bad"
        )
    largest = float(np.abs(values).max(initial=0.0))
    if largest > float(np.finfo(dtype).max):
        raise StoreValueError(
            f"{path}: holds numbers up to {largest:.3g}, {dtype} ends at {np.finfo(dtype).max:.3g}: import "
            "with --dtype float32"
        )


def read_shape(path: Path, key: str | None) -> Shape:
    """Shape of a file's array, without reading all of it where the format allows that.

    Raises
    ------
    StoreValueError
        the file cannot be read, or holds something else than numbers.
    """
    shape, dtype = _guarded(path, lambda: _header(path, key))
    if np.dtype(dtype).kind not in "fiu":
        raise StoreValueError(f"{path} holds {dtype} {list(shape)}, not numbers")
    return shape


def _guarded(path: Path, work: Callable[[], Any]) -> Any:
    try:
        return work()
    except (OSError, ValueError, LookupError, EOFError, MemoryError, RuntimeError, SyntaxError) as error:
        if isinstance(error, StoreValueError):
            raise
        raise StoreValueError(f"{path} cannot be read as {path.suffix}: {why(error)}") from error
    except (zipfile.BadZipFile, zlib.error, tokenize.TokenError) as error:
        raise StoreValueError(f"{path} cannot be read as {path.suffix}: {why(error)}") from error


def _header(path: Path, key: str | None) -> tuple[Shape, Any]:
    """(shape, type) of a file's array, which the file is large enough for."""
    suffix = path.suffix.lower()
    if suffix == ".npy":
        with path.open("rb") as file:
            return _npy_header(file, path.stat().st_size)
    if suffix == ".npz":
        with zipfile.ZipFile(path) as archive:
            refuse_bombs(archive)
            members = {name.removesuffix(".npy"): name for name in archive.namelist()}
            member = members[_key(path, list(members), key)]
            with archive.open(member) as file:
                return _npy_header(file, archive.getinfo(member).file_size)
    values = _load(path, key)
    return values.shape, values.dtype


def _npy_header(file: Any, size: int) -> tuple[Shape, Any]:
    """What the first bytes of a .npy file of ``size`` bytes say; ValueError where it cannot hold that."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    elif version == (3, 0):  # as 2.0, in UTF-8; only names of fields are ever more than ASCII
        (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
        text = file.read(min(length, size)).decode("utf-8").encode("latin1", "backslashreplace")
        shape, _, dtype = np.lib.format.read_array_header_2_0(io.BytesIO(_LENGTH.pack(len(text)) + text))
    else:
        raise ValueError(f"version {version} of .npy files is not known")
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are not read: save the array alone")
    promised = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or promised > size - file.tell():
        raise ValueError(
            f"it promises {list(shape)}, which its {size} bytes do not hold: it is damaged or cut"
        )
    return tuple(shape), dtype


def _load(path: Path, key: str | None) -> NDArray[Any]:
    if path.suffix.lower() == ".npy":
        return np.asarray(np.load(path, allow_pickle=False, mmap_mode=None))
    if path.suffix.lower() == ".npz":
        with np.load(path, allow_pickle=False) as archive:
            return np.asarray(archive[_key(path, list(archive.files), key)])
    import torch

    from tal.shared.weights import load_plain

    try:
        value = load_plain(path)
    except WeightsError as error:
        raise StoreValueError(str(error)) from error
    if isinstance(value, dict):
        named = {str(name): item for name, item in value.items()}
        value = named[_key(path, list(named), key)]
    if not isinstance(value, torch.Tensor):
        raise StoreValueError(f"{path} holds a {type(value).__name__}, not a tensor")
    if (
        value.layout != torch.strided
        or value.is_meta
        or value.is_complex()
        or value.is_quantized
        or value.dtype == torch.bool
    ):
        raise StoreValueError(f"{path} holds {value.dtype} ({value.layout}), not an array of numbers")
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise StoreValueError(
            f"{path} repeats {list(value.shape)} from fewer numbers: save value.contiguous()"
        )
    return value.detach().float().numpy()


def _key(path: Path, names: list[str], key: str | None) -> str:
    if key is not None and key in names:
        return key
    if key is None and len(names) == 1:
        return names[0]
    raise StoreValueError(f"{path} holds {', '.join(names) or 'nothing'}: say which with --key")
