"""Which device to compute on, how precisely and how much at once, and how small things get there unwaited."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache, wraps
from typing import TypeVar

import torch
from torch import Tensor

from tal.errors import ConfigError, DeviceMemoryError

T = TypeVar("T")
log = logging.getLogger("longtal.device")

# What torch's allocators say, in small letters: CUDA's and Apple's, and that of the CPU.
_NO_MEMORY = ("out of memory", "can't allocate memory", "defaultcpuallocator")

_ALIGN = 16  # bytes; a multiple of every type's size, so that each tensor of a packed copy may be viewed
_KEPT = 64  # constants of so many shapes; a run has one for each length that windows are cut to

BuildT = TypeVar("BuildT", bound=Callable[..., object])


def choose_device(name: str, apple: bool = False) -> torch.device:
    """The device of this name; ``auto``: CUDA, else the CPU. ConfigError for one that is not there.

    ``apple``: "auto" may also be Apple's GPU, on which encoders run and decoders were not tried. A CUDA
    device becomes the current one of this thread: what torch does without naming a device is meant for it.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if apple and torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ConfigError(f"device {name!r} is not available here: {str(error).splitlines()[0]}") from error
    if device.type == "cuda" and device.index is not None:  # without a number it is the current one
        torch.cuda.set_device(device)
    return device


def set_float32(precision: str) -> None:
    """What float32 means on CUDA from here on, for the whole process: TF32 with ``tf32``, else IEEE's.

    torch's own default is one for convolutions (TF32) and another for products.
    """
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"


@contextmanager
def computing_in(precision: str, device: torch.device) -> Iterator[None]:
    """A block of inference in a precision (`tal.shared.defaults.PrecisionName`); `set_float32` stays."""
    set_float32(precision)
    reduced = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(precision)
    with torch.autocast(device.type, dtype=reduced, enabled=reduced is not None):
        yield


def upload(tensors: Sequence[Tensor], device: torch.device | str) -> list[Tensor]:
    """Small tensors of the host on a device, the same ones where they are there already.

    On CUDA they go in one copy from pinned memory, which nobody waits for: a copy of its own for each, from
    memory that is not pinned, would stop the host until the device has done all that it was given before.
    """
    device = torch.device(device)
    if device.type != "cuda":
        return [tensor.to(device) for tensor in tensors]
    sizes = [-(-t.numel() * t.element_size() // _ALIGN) * _ALIGN for t in tensors]
    packed = torch.empty(sum(sizes), dtype=torch.uint8, pin_memory=True)
    for part, tensor in zip(_parts(packed, sizes, tensors), tensors, strict=True):
        part.copy_(tensor)
    return _parts(packed.to(device, non_blocking=True), sizes, tensors)


def _parts(packed: Tensor, sizes: Sequence[int], like: Sequence[Tensor]) -> list[Tensor]:
    """Views of packed bytes with the types and shapes of other tensors."""
    pieces = packed.split(list(sizes))
    return [
        piece[: tensor.numel() * tensor.element_size()].view(tensor.dtype).view(tensor.shape)
        for piece, tensor in zip(pieces, like, strict=True)
    ]


def kept(build: BuildT) -> BuildT:
    """Remember what a function builds from hashable arguments: constants of a shape and a device.

    They are built outside inference mode, whoever asks first: tensors made inside could not be learnt
    through. A compiled graph takes them as they are. The function's result must never be changed.
    """

    @torch.compiler.disable
    @lru_cache(maxsize=_KEPT)
    @wraps(build)
    def remembered(*args: object) -> object:
        with torch.inference_mode(False):
            return build(*args)

    return remembered


class HostCopy:
    """A device's tensor on its way to the host; from CUDA into pinned memory, which nobody waits for.

    Attributes
    ----------
    values
        the numbers, to be read after `wait`; of a tensor of the host its own memory.
    """

    def __init__(self, tensor: Tensor) -> None:
        self._done: torch.cuda.Event | None = None
        copy = tensor.detach()
        if tensor.is_cuda:
            copy = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
            copy.copy_(tensor.detach(), non_blocking=True)
            self._done = torch.cuda.Event()
            self._done.record(torch.cuda.current_stream(tensor.device))
        self.values = copy.numpy()

    def wait(self) -> None:
        """Return when the numbers are there."""
        if self._done is not None:
            self._done.synchronize()


def out_of_memory(error: Exception) -> bool:
    """Whether work failed because it got no memory; torch says so in several ways."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).casefold() for words in _NO_MEMORY)


class AtOnce:
    """How many things go through a network at once: halved whenever they do not fit in the device's memory.

    Attributes
    ----------
    most
        as many, from the next time on.
    what
        their name, in the plural, for messages.
    """

    def __init__(self, most: int, what: str) -> None:
        self.most, self.what = most, what

    def run(self, count: int, work: Callable[[slice], T]) -> list[T]:
        """The results of parts of ``count`` things, in order; one part as long as all fit.

        Raises
        ------
        DeviceMemoryError
            not even one fits.
        """
        results: list[T] = []
        start = 0
        while start < count:
            part = slice(start, min(start + self.most, count))
            try:
                results.append(work(part))
                start = part.stop
                continue
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
            # here, when the error no longer holds the tensors that filled the memory
            self._halve(part.stop - part.start)
        return results

    def _halve(self, tried: int) -> None:
        if tried == 1:
            raise DeviceMemoryError(
                f"out of memory with one of the {self.what} at once: nothing smaller can be tried. Free the "
                f"device, or choose another precision (bf16), a smaller encoder, or smaller pictures"
            )
        self.most = tried // 2
        log.warning("out of memory with %d %s at once: going on with %d", tried, self.what, self.most)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def best_size(start: int, most: int, seconds_of: Callable[[int], float | None], gain: float = 1.05) -> int:
    """The size of batches that pays: doubled from ``start`` up to ``most``.

    Parameters
    ----------
    seconds_of
        what a batch of a size takes; None: it does not fit.
    gain
        how much more a second a doubled batch has to give.
    """
    size, seconds = start, seconds_of(start)
    while seconds is not None and 2 * size <= most:
        doubled = seconds_of(2 * size)
        if doubled is None or 2 * seconds < gain * doubled:
            break
        size, seconds = 2 * size, doubled
    return size
