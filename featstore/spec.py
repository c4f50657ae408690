"""What a store's rows are: the encoder that made them and how it was fed."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np

from featstore.errors import StoreFormatError, StoreSpecError

_DTYPES = ("float16", "float32")

# Keys of `FeatureSpec.extra`: the name of the precision in messages, and what a packed copy's rounding did.
PRECISION = "precision"
ROUNDING = "rounding"

# `weights` of rows that were imported. Releases before 0.2 put a digest of the first folder of files behind
# it ("imported:4f471f30a9d2c5e8"); it tells files apart, and not how their rows were made.
_IMPORTED = re.compile(r"imported(?P<digest>:[0-9a-f]{16})?(?P<resampled>:(?P<rows>\d+) rows)?")

# What the fields are in JSON. `abs(nan) <= _MOST` is false, so NaN is not a number here.
_MOST = 1 << 31
_KINDS = {
    **dict.fromkeys(("encoder", "weights", "dtype", "reader"), "text"),
    **dict.fromkeys(("channels", "clip_frames", "frame_stride", "window_frames"), "count"),
    **dict.fromkeys(("max_frames", "size", "crop"), "count"),
    **dict.fromkeys(("mean", "std"), "numbers"),
    "fps": "number",
    "extra": "mapping",
}


def imported_weights(rows: int = 0) -> str:
    """`FeatureSpec.weights` of rows that something else made: known by what their owner says of them.

    Parameters
    ----------
    rows
        What every video was resampled to; 0: not resampled.
    """
    return "imported" + (f":{rows} rows" if rows else "")


@dataclass(frozen=True)
class FeatureSpec:
    """How the rows of a store were first made.

    Attributes
    ----------
    encoder
        Name of the encoder.
    weights
        sha256 of its initial weights, or another fixed name for them.
    channels
        C, the length of a row.
    clip_frames
        Frames that go through the encoder together.
    frame_stride
        Frames from one row to the next.
    dtype
        "float16" or "float32".
    fps
        Sampling rate, frames a second; 0: that of each video.
    window_frames
        Frames that one row looks at; 0: `frame_stride`.
    max_frames
        Cap on the frames of a video; 0: none.
    size, crop
        Short side and crop in pixels.
    mean, std
        Normalisation, a number per channel of the picture.
    reader
        What decoded the videos; "" where no pictures were read (imported rows).
    extra
        Anything else, as JSON values; ``precision``: of the arithmetic that made the rows (`PRECISION`).

    Raises
    ------
    StoreSpecError
        A field is out of range, or a clip does not hold a whole number of rows.
    """

    encoder: str
    weights: str
    channels: int
    clip_frames: int
    frame_stride: int
    dtype: str = "float16"
    fps: float = 0.0
    window_frames: int = 0
    max_frames: int = 0
    size: int = 0
    crop: int = 0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    reader: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.dtype not in _DTYPES:
            raise StoreSpecError(f"a store holds float16 or float32 rows, not {self.dtype!r}")
        if self.channels < 1:
            raise StoreSpecError(f"channels must be at least 1, got {self.channels}")
        if self.frame_stride < 1 or self.clip_frames < 1 or self.clip_frames % self.frame_stride:
            raise StoreSpecError(
                f"a clip must hold a whole number of rows: clip_frames={self.clip_frames} "
                f"is not a positive multiple of frame_stride={self.frame_stride}"
            )
        if self.window_frames < 0 or self.fps < 0:
            raise StoreSpecError(
                f"window_frames and fps cannot be negative: {self.window_frames}, {self.fps}"
            )
        for name in ("mean", "std"):
            object.__setattr__(self, name, tuple(float(v) for v in getattr(self, name)))
        # Through JSON and back, so that a spec equals itself after it was stored.
        object.__setattr__(self, "extra", json.loads(json.dumps(dict(self.extra))))

    def __hash__(self) -> int:
        return hash(json.dumps(self.to_dict(), sort_keys=True))

    @property
    def imported(self) -> bool:
        """Whether the rows were made by something else, and imported."""
        return _IMPORTED.fullmatch(self.weights) is not None

    @property
    def resampled_rows(self) -> int:
        """Rows that every video was resampled to when it was imported; 0: it was not."""
        match = _IMPORTED.fullmatch(self.weights)
        return int(match["rows"] or 0) if match else 0

    @property
    def numpy_dtype(self) -> np.dtype[Any]:
        """Type of one number on disk, little-endian."""
        return np.dtype("<f2" if self.dtype == "float16" else "<f4")

    @property
    def row_bytes(self) -> int:
        """Bytes of a row."""
        return self.channels * self.numpy_dtype.itemsize

    @property
    def rows_per_clip(self) -> int:
        """Rows that one clip gives."""
        return self.clip_frames // self.frame_stride

    @property
    def row_window_frames(self) -> int:
        """Frames that one row looks at."""
        return self.window_frames or self.frame_stride

    def row_times_s(self, start: int, stop: int, fps: float) -> np.ndarray[Any, Any]:
        """Centres of rows [start, stop) in seconds, float64 [stop - start]; NaN where fps is 0, not known."""
        if not fps > 0:
            return np.full(stop - start, np.nan)
        return (np.arange(start, stop) * self.frame_stride + 0.5 * self.row_window_frames) / fps

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        value = asdict(self)
        value.update(mean=list(self.mean), std=list(self.std), extra=dict(self.extra))
        return value

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> FeatureSpec:
        """The inverse of `to_dict`, of 0.1 too.

        Raises
        ------
        StoreFormatError
            A field is unknown, missing, or of another type.
        """
        if not isinstance(value, Mapping):
            raise StoreFormatError(f"the store's feature spec is a {type(value).__name__}, not an object")
        value = _with_reader(value)
        unknown = sorted(set(value) - {f.name for f in fields(cls)})
        if unknown:
            raise StoreFormatError(
                f"the store's feature spec has fields this version does not know: {unknown}"
            )
        check_fields(value)
        try:
            return cls(**{**value, "mean": tuple(value.get("mean", ())), "std": tuple(value.get("std", ()))})
        except TypeError as error:
            raise StoreFormatError(f"the store's feature spec is incomplete: {error}") from error

    def differences(
        self, other: FeatureSpec | Mapping[str, Any], ignore: Collection[str] = ()
    ) -> dict[str, tuple[Any, Any]]:
        """Fields that differ: name -> (here, in the other).

        Imported rows are what their owner says they are: the network's name, rate, stride, window and
        channels. So the files that they came from, and a rate that one side leaves to each video, are not a
        difference, and neither is a precision that one side does not know; `remarks` tells them.

        Parameters
        ----------
        other
            A spec, or those of its fields that are known, as `to_dict` writes them.
        ignore
            Fields that may differ.
        """
        mine = _with_precision(self.to_dict())
        theirs = _with_precision(other.to_dict() if isinstance(other, FeatureSpec) else _with_reader(other))
        if mine.get(PRECISION) is None:  # not known, of rows of 0.1: `remarks` says so
            theirs.pop(PRECISION, None)
        declared = _both_imported(mine, theirs)
        return {
            name: (mine.get(name), value)
            for name, value in theirs.items()
            if name not in ignore
            and mine.get(name) != value
            and not (declared and _declared_alike(name, mine, theirs))
        }

    def remarks(self, other: FeatureSpec | Mapping[str, Any]) -> tuple[str, ...]:
        """What is taken for the same in `other` although it is written otherwise, a line each."""
        mine = self.to_dict()
        theirs = other.to_dict() if isinstance(other, FeatureSpec) else other
        lines = _about_precision(mine, theirs) + _about_rounding(mine, theirs)
        if _both_imported(mine, theirs):
            known = f"the network's name ({self.encoder!r}), rate, stride, window and channels"
            if _both_digested(mine["weights"], theirs["weights"]):
                lines.append(
                    f"imported from other files ({mine['weights']!r} here, {theirs['weights']!r} there) and "
                    f"taken for the same features: {known} agree"
                )
            rates = mine["fps"], theirs.get("fps", mine["fps"])
            if rates[0] != rates[1] and 0 in rates:
                shown = [f"{rate:g} frames a second" if rate else "each video's own" for rate in rates]
                lines.append(f"the rate is {shown[0]} here, {shown[1]} there: not compared")
        return tuple(lines)

    def require(
        self,
        other: FeatureSpec | Mapping[str, Any],
        who: str,
        then: str,
        store: object = "the store",
        ignore: Collection[str] = (),
    ) -> tuple[str, ...]:
        """Hold that a store with this spec has the rows that somebody needs.

        Parameters
        ----------
        other
            What is needed: a spec, or those of its fields that are known.
        who
            Who needs it, for the message.
        then
            What to do about a difference, for the message.
        store
            Where the rows are, for the message.
        ignore
            Fields that may differ.

        Returns
        -------
        tuple of str
            The `remarks`, for the log.

        Raises
        ------
        StoreSpecError
            A field differs; the message names each, with both values.
        """
        differences = self.differences(other, ignore)
        if differences:
            listed = "; ".join(
                f"{name}: {mine!r} in the store, {theirs!r} needed"
                for name, (mine, theirs) in differences.items()
            )
            raise StoreSpecError(f"the rows of {store} are not those that {who} needs ({listed}): {then}")
        return self.remarks(other)


def _with_precision(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The precision as a field of its own, where it is known; without the rounding, which `remarks` tells."""
    fields_, extra = dict(spec), dict(spec.get("extra") or {})
    if extra.pop(ROUNDING, None) is not None:
        fields_["extra"] = extra
    if PRECISION in extra:
        fields_[PRECISION] = extra.pop(PRECISION)
        fields_["extra"] = extra
    return fields_


def _about_precision(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """A line where two precisions differ, or one is not known."""
    if "extra" not in theirs:
        return []
    known = [(spec.get("extra") or {}).get(PRECISION) for spec in (mine, theirs)]
    if known[0] == known[1]:
        return []
    here, there = ("unknown" if name is None else repr(name) for name in known)
    return [f"the precision that rows were computed in is {here} here, {there} there"]


def _about_rounding(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """A line where the rows of one side were rounded when they were packed."""
    if "extra" not in theirs:
        return []
    rounded = [(spec.get("extra") or {}).get(ROUNDING) for spec in (mine, theirs)]
    if rounded[0] == rounded[1]:
        return []
    here, there = ("not rounded" if about is None else f"rounded ({about})" for about in rounded)
    return [f"the rows are {here} here, {there} there"]


def check_fields(value: Mapping[str, Any]) -> None:
    """Hold that the fields of a spec that are known here are of their types; StoreFormatError names one."""
    for name, given in value.items():
        if name in _KINDS and not _fits(name, given):
            raise StoreFormatError(f"the feature spec's {name} cannot be {given!r:.60}")


def _fits(name: str, value: object) -> bool:
    """Whether a field that was read is of its type, and its numbers of a size that means something."""
    kind = _KINDS[name]
    if kind == "numbers":
        return isinstance(value, list) and all(_fits("fps", number) for number in value)
    if kind in ("count", "number"):
        wanted = int if kind == "count" else (int, float)
        return isinstance(value, wanted) and not isinstance(value, bool) and abs(value) <= _MOST
    return isinstance(value, str if kind == "text" else Mapping)


def _both_imported(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    return all(_IMPORTED.fullmatch(str(spec.get("weights"))) for spec in (mine, theirs))


def _both_digested(mine: str, theirs: str) -> bool:
    """Whether two imports both name the files that they came from, and name others."""
    digests = [match["digest"] for text in (mine, theirs) if (match := _IMPORTED.fullmatch(text))]
    return None not in digests and len(set(digests)) == 2


def _declared_alike(name: str, mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    """Whether two imports say the same in a field that is written otherwise."""
    if name == "weights":
        a, b = (_IMPORTED.fullmatch(spec["weights"]) for spec in (mine, theirs))
        assert a is not None and b is not None
        return a["rows"] == b["rows"]
    if name == "window_frames":
        return len({spec.get(name) or spec.get("frame_stride") for spec in (mine, theirs)}) == 1
    return name == "fps" and 0 in (mine[name], theirs[name])


def _with_reader(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """A whole spec as 0.1 wrote it names no reader: it was PyAV wherever there were pictures."""
    if {f.name for f in fields(FeatureSpec)} - set(value) != {"reader"}:
        return value
    return {**value, "reader": "pyav" if value["size"] else ""}
