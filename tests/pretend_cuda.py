"""A stand-in for a CUDA card on a machine without one: it says what the host would wait for, and where.

Numbers are computed on the CPU, so that a result can be compared with the CPU's to the bit. Which tensors are
"on the card" is known by their storage: what is made or moved there in Python is noted, and so is whatever is
computed from it. A tensor of the host that meets one of the card is an error, as it is on CUDA.

Waits are what CUDA waits for: a number or a Python value read from the card, an operation whose result's size
is data (``nonzero``, an index by bools), a copy from the card, and a copy to it from memory that is not
pinned or that is asked to block. Copies between pinned memory and the card that do not block are no waits.
Streams are not simulated: see `tests.late_copies` and `tests.tal.encoders.late`.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode, resolve_name
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

CARD = torch.device("cuda", 0)
_ROOT = Path(__file__).resolve().parents[1]
_ATEN = torch.ops.aten
_SIZE_IS_DATA = {_ATEN.nonzero.default, _ATEN.masked_select.default, _ATEN._unique2.default}
_READS = {_ATEN._local_scalar_dense.default, _ATEN.equal.default}
# Python methods that read values without an operation of their own.
_PYTHON_READS = {Tensor.tolist, Tensor.__repr__, Tensor.__format__}


class PretendCuda:
    """What the pretended card holds, and what the host waited for: place in the project -> times."""

    def __init__(self) -> None:
        self.waits: Counter[str] = Counter()
        self.copies: Counter[str] = Counter()
        self._quiet = self.makes = False

    @property
    def num_waits(self) -> int:
        return sum(self.waits.values())

    def clear(self) -> None:
        """Count from here."""
        self.waits.clear()
        self.copies.clear()

    @contextmanager
    def active(self) -> Iterator[PretendCuda]:
        """A block in which ``device="cuda"`` is this card."""
        with ExitStack() as stack:
            for name in ("optim.Optimizer", "nn.utils.clip_grad"):
                grouping = f"torch.{name}._group_tensors_by_device_and_dtype"
                stack.enter_context(mock.patch(grouping, _one_group))
            stack.enter_context(_Functions(self))
            stack.enter_context(_Operations(self))
            yield self

    # -- tensors: what is known of their memory stands on the storage, which lives as long as it does

    @staticmethod
    def has(tensor: Tensor) -> bool:
        """Whether a tensor is on the card."""
        return getattr(tensor.untyped_storage(), "on_card", False)

    @staticmethod
    def is_pinned(tensor: Tensor) -> bool:
        return getattr(tensor.untyped_storage(), "pinned", False)

    @staticmethod
    def note(tensor: Tensor, on_card: bool, pinned: bool = False) -> Tensor:
        """Say where a tensor's memory is."""
        storage: Any = tensor.untyped_storage()
        storage.on_card, storage.pinned = on_card, pinned
        return tensor

    # -- counting

    def wait(self, what: str) -> None:
        if not self._quiet:
            self.waits[f"{_place()} {what}"] += 1

    def copy(self, source: Tensor, to_card: bool, target_pinned: bool, non_blocking: bool) -> None:
        """Count a copy between host and card."""
        if self._quiet:
            return
        free = non_blocking and (self.is_pinned(source) if to_card else target_pinned)
        name = "to the card" if to_card else "from the card"
        self.copies[f"{_place()} {name}"] += 1
        if not free:
            self.wait(name)

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Nothing is counted inside: what CUDA does not do."""
        before, self._quiet = self._quiet, True
        try:
            yield
        finally:
            self._quiet = before

    @contextmanager
    def inside(self, args: Any) -> Iterator[None]:
        """What torch makes for itself inside a call on the card's tensors is on the card."""
        before = self.makes
        self.makes = any(isinstance(leaf, Tensor) and self.has(leaf) for leaf in tree_leaves(args))
        try:
            yield
        finally:
            self.makes = before


class _Functions(TorchFunctionMode):
    """torch as Python calls it: devices by name, and what is asked of a tensor."""

    def __init__(self, card: PretendCuda) -> None:
        super().__init__()
        self.card = card

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        card, kwargs = self.card, dict(kwargs or {})
        answer = _PROPERTIES.get(func)
        if answer is not None:
            return answer(card, args[0])
        if func in (Tensor.to, Tensor.cpu, Tensor.cuda):
            return self._moved(func, args, kwargs)
        if func is torch.nn.functional.one_hot:
            with card.quiet(), card.inside(args):  # the range of the classes is checked on the CPU alone
                return func(*args, **kwargs)
        if func is Tensor.pin_memory:
            return card.note(args[0].clone(), False, pinned=True)
        if func is Tensor.numpy and card.has(args[0]):
            raise TypeError("can't convert cuda:0 device type tensor to numpy")
        if func in _PYTHON_READS and card.has(args[0]):
            card.wait(resolve_name(func) or "read")
            with card.quiet():
                return func(*args, **kwargs)
        device = kwargs.get("device")
        pinned = bool(kwargs.pop("pin_memory", False))
        if device is not None and torch.device(device).type == "cuda":
            kwargs["device"] = "cpu"
            made = func(*args, **kwargs)
            if func in (torch.tensor, torch.as_tensor):
                card.wait("torch.tensor to the card")
            return card.note(made, True)
        with card.inside(args):
            made = func(*args, **kwargs)
        return card.note(made, False, pinned=True) if pinned else made

    def _moved(self, func: Any, args: Any, kwargs: Any) -> Tensor:
        card, source, rest = self.card, args[0], list(args[1:])
        device: Any = {Tensor.cpu: "cpu", Tensor.cuda: "cuda"}.get(func, kwargs.get("device"))
        for index, value in enumerate(rest):
            if isinstance(value, str | torch.device) or (index == 0 and isinstance(value, Tensor)):
                like = isinstance(value, Tensor)
                device = _PROPERTIES[Tensor.device.__get__](card, value) if like else value
                rest[index] = value if like else "cpu"
        if "device" in kwargs:
            kwargs["device"] = None if kwargs["device"] is None else "cpu"
        non_blocking = bool(kwargs.get("non_blocking", func is Tensor.to and rest[1:2] == [True]))
        result = source.to(*rest, **kwargs) if func is Tensor.to else source
        to_card = device is not None and torch.device(device).type == "cuda"
        if device is None or to_card == card.has(source):
            return result
        card.copy(source, to_card, False, non_blocking)
        moved = result.clone() if result is source else result
        return card.note(moved, to_card)


class _Operations(TorchDispatchMode):
    """Every operation: where its results are, and whether the host waits for it."""

    def __init__(self, card: PretendCuda) -> None:
        super().__init__()
        self.card = card

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        card, kwargs = self.card, kwargs or {}
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        there = [tensor for tensor in given if card.has(tensor)]
        if there:
            self._count(func, args, kwargs, given)
        out = func(*args, **kwargs)
        known = {tensor.untyped_storage()._cdata for tensor in given}
        for made in tree_leaves(out):
            if isinstance(made, Tensor) and made.untyped_storage()._cdata not in known:
                card.note(made, bool(there) or (not given and card.makes))
        return out

    def _count(self, func: Any, args: Any, kwargs: Any, given: list[Tensor]) -> None:
        card = self.card
        if func is _ATEN.copy_.default:
            target, source = args[:2]
            if card.has(target) != card.has(source) and (source.dim() or card.has(source)):
                card.copy(
                    source,
                    card.has(target),
                    card.is_pinned(target),
                    bool((args[2:] or (kwargs.get("non_blocking"),))[0]),
                )
            return
        if func in _READS or func in _SIZE_IS_DATA:
            card.wait(str(func))
        if func is _ATEN.repeat_interleave.Tensor and kwargs.get("output_size") is None:
            card.wait(str(func))
        if func in (
            _ATEN.index.Tensor,
            _ATEN.index_put.default,
            _ATEN.index_put_.default,
            _ATEN._index_put_impl_.default,
        ):
            self._count_index(func, args)
            given = [args[0]]
        host = [t for t in given if not card.has(t) and t.dim()]
        if host and not str(func).startswith(("aten._foreach_add_", "aten._fused")):
            raise RuntimeError(
                f"{func}: Expected all tensors to be on the same device, cuda:0 and cpu ({_place()})"
            )

    def _count_index(self, func: Any, args: Any) -> None:
        indices = [index for index in args[1] if index is not None]
        fills = len(args) > 2 and args[2].numel() == 1
        if any(index.dtype in (torch.bool, torch.uint8) for index in indices) and not fills:
            self.card.wait(f"{func} by bools")
        for index in indices:
            if not self.card.has(index):
                self.card.wait(f"{func} by an index of the host")


def _one_group(tensorlists: Any, with_indices: bool = False) -> Any:
    """Groups of an optimizer's tensors by device and type, as the pretended card has them."""
    device = tensorlists[0][0].device
    groups: dict[Any, Any] = {}
    for index, first in enumerate(tensorlists[0]):
        lists, indices = groups.setdefault((device, first.dtype), ([[] for _ in tensorlists], []))
        for into, values in zip(lists, tensorlists, strict=True):
            if values:
                into.append(values[index])
        indices.append(index)
    return groups


def _place() -> str:
    """File and line of the project that asked for it, the innermost."""
    frame = sys._getframe(1)
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if _ROOT in path.parents and path.name not in (Path(__file__).name,):
            return f"{path.relative_to(_ROOT)}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return "?"


_PROPERTIES: dict[Any, Callable[[PretendCuda, Tensor], Any]] = {
    Tensor.device.__get__: lambda card, t: CARD if card.has(t) else torch.device("cpu"),
    Tensor.is_cuda.__get__: lambda card, t: card.has(t),
    Tensor.is_cpu.__get__: lambda card, t: not card.has(t),
    Tensor.is_pinned: lambda card, t: card.is_pinned(t),
}
