"""Import of feature files into a store, and export of a store's rows into .npy files."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from featstore.errors import StoreValueError
from featstore.videos import check_id
from pipelines.shared.files import write_text
from tal.annotations.ids import match_ids
from tal.annotations.videos import list_files, safe_id
from tal.errors import ConfigError
from tal.shared.files import output_errors

if TYPE_CHECKING:
    from featstore import FeatureStore

SUFFIXES = (".npy", ".npz", ".pt")


@dataclass(frozen=True)
class ImportOptions:
    """Facts about feature files that the files do not hold.

    Attributes
    ----------
    layout
        "tc" (rows first) or "ct" (channels first).
    fps
        frames a second that the files were made at; 0: each video's own, from the annotations.
    stride
        frames between neighbouring rows.
    window
        frames that one row is made of; 0: the stride.
    encoder
        name of the network that made the features.
    dtype
        type of the numbers in the store.
    key
        name of the array in .npz files, or of the entry in .pt dictionaries.
    prefix, suffix
        parts of the file name around the video's id.
    rows
        number of rows to resample every video to, each of which then stands for its share of the video; 0:
        not resampled.
    """

    layout: str
    fps: float
    stride: int
    window: int = 0
    encoder: str = "imported"
    dtype: str = "float16"
    key: str | None = None
    prefix: str = ""
    suffix: str = ""
    rows: int = 0

    def __post_init__(self) -> None:
        if self.layout not in ("tc", "ct"):
            raise ConfigError(
                f"layout is 'tc' (rows, channels) or 'ct' (channels, rows), not {self.layout!r}"
            )
        if self.stride < 1 or self.window < 0 or self.fps < 0:
            raise ConfigError("stride must be at least 1 frame, window and fps cannot be negative")
        if self.rows < 0:
            raise ConfigError(f"rows to resample to cannot be negative, got {self.rows}")
        if self.rows and self.window not in (0, self.stride):
            raise ConfigError(
                f"resampling needs rows side by side: window {self.window} must be the stride {self.stride}"
            )


def import_features(
    folder: Path,
    store_path: Path,
    options: ImportOptions,
    videos: Mapping[str, Mapping[str, Any]] | None = None,
    skip_bad: bool = False,
) -> dict[str, Any]:
    """Make a store of a folder of feature files, its sub-folders included.

    A file's path below the folder, without suffix, is the video's id.

    Parameters
    ----------
    videos
        id -> {"fps", "duration_s"} from annotations, both optional; ids are matched (`tal.annotations.ids`).
    skip_bad
        list files that cannot be imported (wrong shape, NaN, unreadable) as failed. Without it, such a file
        stops the import before the store appears.

    Returns
    -------
    A report: counts, notes, and the files that failed.

    Raises
    ------
    ConfigError
        there is no feature file, two for one video, or no frame rate for a video.
    StoreValueError
        a file cannot be imported, and ``skip_bad`` is false.
    """
    from featstore import FeatureSpec, FeatureStore
    from featstore.transfer import building

    files = _files(folder, options)
    if not files:
        raise ConfigError(
            f"no {', '.join(SUFFIXES)} files named {options.prefix}ID{options.suffix} in {folder}"
        )
    channels = None
    for _, path in files:
        try:
            channels = _shape(path, options)[1]
            break
        except StoreValueError:
            if not skip_bad:
                raise
    if channels is None:
        raise ConfigError(f"no file in {folder} could be read as features")
    spec = FeatureSpec(
        encoder=options.encoder,
        weights=f"imported:{_digest(files)}" + (f":{options.rows} rows" if options.rows else ""),
        channels=channels,
        clip_frames=options.stride,
        frame_stride=options.stride,
        dtype=options.dtype,
        fps=0.0 if options.rows else options.fps,  # resampled: each video its own
        window_frames=options.window,
    )
    facts = videos or {}
    matches = match_ids((video_id for video_id, _ in files), facts)
    if matches.unclear and not options.fps:
        raise ConfigError(
            "; ".join(matches.refused("feature file")) + ": give --fps, or annotations with whole ids"
        )
    rows, failed = 0, {}
    with building(store_path) as work, FeatureStore.create(work, spec) as store:
        for video_id, path in files:
            video_facts = facts.get(matches.pairs.get(video_id, ""), {})
            try:
                rows += _take(store, video_id, path, options, video_facts)
            except StoreValueError as error:
                if not skip_bad:
                    raise
                failed[video_id] = str(error)
                if store.ids("reserved"):
                    store.fail(video_id, str(error))
            if store._log.count * spec.row_bytes > 256 << 20:
                store.commit()
        store.commit()
        count = len(store)
    missing = sorted(set(facts) - set(matches.pairs.values()))
    return {
        "videos": count,
        "rows": rows,
        "channels": channels,
        "failed": failed,
        "annotated_without_file": missing,
        "notes": matches.notes("feature file") if videos is not None else [],
    }


def _take(
    store: FeatureStore, video_id: str, path: Path, options: ImportOptions, facts: Mapping[str, Any]
) -> int:
    values = read_features(path, options)
    if values.shape[1] != store.spec.channels:
        raise StoreValueError(
            f"{path} has {values.shape[1]} channels, the other files have {store.spec.channels}: "
            "is --layout right, are all files from one extraction?"
        )
    fps = options.fps or facts.get("fps")
    if not fps:
        raise ConfigError(f"video {video_id!r}: no frame rate; give --fps, or --annotations that say fps")
    if options.rows:
        # as many frames per row as before, so the rate changes
        fps = fps * options.rows / len(values)
        values = resampled(values, options.rows)
    store.add_video(video_id, num_rows=len(values), fps=fps, duration_s=facts.get("duration_s"))
    store.write(video_id, 0, values, step=0)
    store.complete(video_id)
    return len(values)


def resampled(values: NDArray[Any], rows: int) -> NDArray[np.float32]:
    """[T, C] -> [rows, C], linear between the middles of the T rows; beyond the outer two they are repeated.

    Row j stands for the j-th of ``rows`` equal parts of the video, as in ActionFormer on ActivityNet-1.3.
    """
    place = np.clip((np.arange(rows) + 0.5) * len(values) / rows - 0.5, 0, len(values) - 1)
    low = np.floor(place).astype(np.int64)
    high = np.minimum(low + 1, len(values) - 1)
    share = (place - low)[:, None].astype(np.float32)
    mixed = values[low].astype(np.float32) * (1 - share) + values[high].astype(np.float32) * share
    return np.asarray(mixed, dtype=np.float32)


def _files(folder: Path, options: ImportOptions) -> list[tuple[str, Path]]:
    """(id, file) of every feature file, by path."""
    if not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder: --features takes a folder of feature files")
    files: dict[str, Path] = {}
    for path in list_files(folder, SUFFIXES):
        name = path.stem
        around = len(options.prefix) + len(options.suffix)
        if not (name.startswith(options.prefix) and name.endswith(options.suffix) and len(name) > around):
            continue
        name = name[len(options.prefix) : len(name) - len(options.suffix)]
        video_id = safe_id("/".join((*path.relative_to(folder).parent.parts, name)))
        if video_id in files:
            raise ConfigError(f"two files for video {video_id!r}: {files[video_id]}, {path}")
        files[video_id] = path
    return list(files.items())


def _digest(files: list[tuple[str, Path]]) -> str:
    """Digest of names, sizes and first bytes: differs between folders of features, and is read quickly."""
    digest = hashlib.sha256()
    for video_id, path in files:
        with open(path, "rb") as file:
            digest.update(f"{video_id}:{path.stat().st_size}:".encode() + file.read(4096))
    return digest.hexdigest()[:16]


def _shape(path: Path, options: ImportOptions) -> tuple[int, int]:
    shape = read_features(path, options).shape
    return int(shape[0]), int(shape[1])


def read_features(path: Path, options: ImportOptions) -> NDArray[Any]:
    """One file as rows [T, C]; no pickles are loaded. StoreValueError says what is wrong with the file."""
    try:
        values = _load(path, options.key)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise StoreValueError(f"{path} cannot be read as {path.suffix}: {error}") from error
    values = np.asarray(values)
    while values.ndim > 2 and 1 in values.shape:  # [1, C, T], [C, T, 1, 1] ...
        values = values.squeeze(values.shape.index(1))
    if values.ndim != 2 or 0 in values.shape or values.dtype.kind not in "fiu":
        raise StoreValueError(
            f"{path} holds {values.dtype} {list(values.shape)}, not numbers in two dimensions"
        )
    return np.ascontiguousarray(values.T if options.layout == "ct" else values)


def _load(path: Path, key: str | None) -> Any:
    if path.suffix.lower() == ".npy":
        return np.load(path, allow_pickle=False, mmap_mode=None)
    if path.suffix.lower() == ".npz":
        with np.load(path, allow_pickle=False) as archive:
            return archive[_key(path, list(archive.files), key)]
    import pickle

    import torch

    try:
        value = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError) as error:
        raise StoreValueError(
            f"{path} is not a file of plain tensors: {str(error).splitlines()[0]}"
        ) from error
    if isinstance(value, dict):
        value = value[_key(path, [str(k) for k in value], key)]
    if not isinstance(value, torch.Tensor):
        raise StoreValueError(f"{path} holds a {type(value).__name__}, not a tensor")
    return value.detach().float().numpy()


def _key(path: Path, names: list[str], key: str | None) -> str:
    if key is not None and key in names:
        return key
    if key is None and len(names) == 1:
        return names[0]
    raise StoreValueError(f"{path} holds {', '.join(names) or 'nothing'}: say which with --key")


def export_features(store_path: Path, folder: Path, layout: str = "tc") -> int:
    """Write each complete video as ID.npy, in sub-folders where the id has slashes; returns their number.

    The arrays are [T, C], or [C, T] with layout "ct". Beside them features.json holds spec and grid, for
    importing them again.
    """
    import json

    from featstore import FeatureStore

    if layout not in ("tc", "ct"):
        raise ConfigError(f"layout is 'tc' or 'ct', not {layout!r}")
    with FeatureStore.open(store_path) as store:
        for video_id in store.video_ids:
            check_id(video_id)  # a store from elsewhere may hold anything
        folder.mkdir(parents=True, exist_ok=True)
        grid = {}
        for video_id in store.video_ids:
            record = store.video(video_id)
            rows = store.read(video_id, 0, record.num_rows)
            path = folder / f"{video_id}.npy"
            with output_errors(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                np.save(path, rows if layout == "tc" else np.ascontiguousarray(rows.T))
            grid[video_id] = {"fps": record.fps, "duration_s": record.duration_s, "rows": record.num_rows}
        document = {"spec": store.spec.to_dict(), "layout": layout, "videos": grid}
        text = json.dumps(document, indent=1, ensure_ascii=False)
        write_text(folder / "features.json", text, overwrite=True)
        return len(grid)
