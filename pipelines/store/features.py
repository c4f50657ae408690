"""Import of feature files into a store, and export of a store's rows into .npy files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from featstore.errors import StoreExistsError, StoreValueError
from featstore.spec import imported_weights
from featstore.videos import check_id
from pipelines.shared.files import write_text
from pipelines.shared.row_fit import VideoRows, check_rows
from pipelines.store.feature_files import (
    FolderAxes,
    Layout,
    Shape,
    read_rows,
    read_shape,
    refuse_numbers,
    rows_of,
)
from pipelines.store.feature_folder import find_files
from tal.annotations.builder import first_ids
from tal.annotations.ids import IdMatches, match_ids
from tal.errors import ConfigError
from tal.shared.files import output_errors

if TYPE_CHECKING:
    from featstore import FeatureStore

UNNAMED = "imported"  # the network's name where none is given


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

    layout: Layout
    fps: float
    stride: int
    window: int = 0
    encoder: str = UNNAMED
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
    """Make a store of a folder of feature files, and of its sub-folders.

    All files are looked at before the store is begun: where a video's duration is known, its rows must end
    where the video does.

    Parameters
    ----------
    folder
        the files; a file's path below it, without suffix, is the video's id.
    store_path
        the store to make.
    videos
        id -> {"fps", "duration_s"} from annotations, both optional; their ids are matched
        (`tal.annotations.ids`). None: there are none.
    skip_bad
        list files that cannot be taken, instead of stopping.

    Returns
    -------
    dict
        counts, what failed, annotated videos without a file, and notes.

    Raises
    ------
    ConfigError
        no files, no frame rate, or rows that end somewhere else than their videos: names layout, stride and
        rate, and what would fit.
    StoreValueError
        a file cannot be taken: wrong shape, NaN, unreadable.
    """
    from featstore import FeatureSpec, FeatureStore
    from featstore.transfer import building

    files, left = find_files(folder, options.prefix, options.suffix)
    require_no_store(store_path)
    facts = videos or {}
    matches = match_ids((video_id for video_id, _ in files), facts)
    if matches.unclear and not options.fps:
        raise ConfigError(
            "; ".join(matches.refused("feature file")) + ": give --fps, or annotations with whole ids"
        )
    taken, failed = _look(files, options, matches.pairs, facts, skip_bad)
    if not taken:
        raise ConfigError(f"no file in {folder} could be read as features: {next(iter(failed.values()))}")
    notes = [*left, *_notes(taken, options, matches, videos)]
    spec = FeatureSpec(
        encoder=options.encoder,
        weights=imported_weights(options.rows),
        channels=taken[0].channels,
        clip_frames=options.stride,
        frame_stride=options.stride,
        dtype=options.dtype,
        fps=0.0 if options.rows else options.fps,  # resampled: each video its own
        window_frames=options.window,
    )
    rows = 0
    with building(store_path) as work, FeatureStore.create(work, spec) as store:
        for file in taken:
            try:
                rows += _take(store, file, options)
            except StoreValueError as error:
                if not skip_bad:
                    raise
                failed[file.video_id] = str(error)
                if store.ids("reserved"):
                    store.fail(file.video_id, str(error))
            if store._log.count * spec.row_bytes > 256 << 20:
                store.commit()
        store.commit()
        count = len(store)
    return {
        "videos": count,
        "rows": rows,
        "channels": spec.channels,
        "failed": failed,
        "annotated_without_file": sorted(set(facts) - set(matches.pairs.values())),
        "notes": notes,
    }


def require_no_store(path: Path) -> None:
    """StoreExistsError where something stands that is to be made."""
    if path.exists():
        raise StoreExistsError(f"{path} exists already: choose another path, or remove it first")


@dataclass(frozen=True)
class _File:
    """A feature file that can be taken: its video, rate and length of it, and [rows, channels]."""

    video_id: str
    path: Path
    rows: int
    channels: int
    fps: float
    duration_s: float | None

    def on_grid(self, options: ImportOptions) -> VideoRows:
        """As `check_rows` looks at it."""
        assert self.duration_s is not None
        stride, window = options.stride, options.window or options.stride
        return VideoRows(self.video_id, self.rows, self.channels, self.fps, stride, window, self.duration_s)


def _look(
    files: list[tuple[str, Path]],
    options: ImportOptions,
    pairs: Mapping[str, str],
    facts: Mapping[str, Mapping[str, Any]],
    skip_bad: bool,
) -> tuple[list[_File], dict[str, str]]:
    """The files that can be taken, and why others cannot, from their first bytes alone."""
    shapes: dict[str, Shape] = {}
    failed: dict[str, str] = {}
    for video_id, path in files:
        try:
            shapes[video_id] = read_shape(path, options.key)
        except StoreValueError as error:
            if not skip_bad:
                raise
            failed[video_id] = str(error)
    axes = FolderAxes.of(shapes.values(), options.layout)
    taken: list[_File] = []
    for video_id, path in files:
        if video_id not in shapes:
            continue
        known = facts.get(pairs.get(video_id, ""), {})
        fps, duration_s = options.fps or known.get("fps") or 0.0, known.get("duration_s")
        if not fps:
            raise ConfigError(_no_rate(video_id, path, pairs, facts))
        file = _File(video_id, path, 0, 0, fps, duration_s)

        def fits(rows: int, file: _File = file) -> bool:
            return replace(file, rows=rows, channels=1).on_grid(options).fits

        try:
            compare = fits if duration_s and not options.rows else None
            rows, channels = rows_of(shapes[video_id], options.layout, axes, compare)
            if taken and channels != taken[0].channels:
                raise StoreValueError(
                    f"has {channels} channels, the other files have {taken[0].channels}: is --layout right, "
                    "are all files from one extraction?"
                )
        except StoreValueError as error:
            if not skip_bad:
                raise StoreValueError(f"{path} {error}") from error
            failed[video_id] = f"{path} {error}"
            continue
        taken.append(replace(file, rows=rows, channels=channels))
    return taken, failed


def _no_rate(
    video_id: str, path: Path, pairs: Mapping[str, str], facts: Mapping[str, Mapping[str, Any]]
) -> str:
    """Why a file has no frame rate, with the ids of both sides."""
    how = "give --fps, or --annotations that say fps"
    if not facts:
        return f"video {video_id!r}: no frame rate; {how}"
    if video_id in pairs:
        return f"video {video_id!r}: no frame rate, the annotations of {pairs[video_id]!r} have none; {how}"
    return (
        f"video {video_id!r} ({path}): no frame rate, since none of the annotated ids is it "
        f"({first_ids(list(facts))}): {how}, or --prefix, --suffix and --features so that the ids agree"
    )


def _notes(
    taken: list[_File],
    options: ImportOptions,
    matches: IdMatches,
    videos: Mapping[str, Mapping[str, Any]] | None,
) -> list[str]:
    """What a user should know of an import that goes on.

    Raises
    ------
    ConfigError
        rows of the files end where their videos do not.
    """
    notes = matches.notes("feature file") if videos is not None else []
    strangers = [f.video_id for f in taken if f.video_id not in {*matches.pairs, *matches.unclear}]
    if videos and strangers:
        notes.append(
            f"{len(strangers)} of {len(taken)} feature files match no annotated id: {first_ids(strangers)}; "
            f"annotated ids are {first_ids(list(videos))}"
        )
    if options.encoder == UNNAMED:
        notes.append(
            f"these features are named {UNNAMED!r}: with --encoder NAME a model refuses those of another "
            "network"
        )
    if options.rows:
        return notes
    known = [f.on_grid(options) for f in taken if f.duration_s]
    if len(known) < len(taken):
        how = "give --annotations that say durations" if videos is None else "the annotations do not say it"
        notes.append(
            f"the duration of {len(taken) - len(known)} of {len(taken)} videos is not known ({how}): their "
            "rows are not compared with it"
        )
    fit = check_rows(known, options.layout)
    if fit.error:
        raise ConfigError(f"the features do not fit their videos: {fit.error}")
    if fit.warning:
        notes.append(f"rows that do not fit their video: {fit.warning}")
    return notes


def _take(store: FeatureStore, file: _File, options: ImportOptions) -> int:
    """Put a file's rows into the store; their number."""
    values = read_rows(file.path, options.key, options.layout, (file.rows, file.channels))
    refuse_numbers(values, options.dtype, file.path)
    fps = file.fps
    if options.rows:
        # as many frames per row as before, so the rate changes
        fps = fps * options.rows / len(values)
        values = resampled(values, options.rows)
    store.add_video(file.video_id, num_rows=len(values), fps=fps, duration_s=file.duration_s)
    store.write(file.video_id, 0, values, step=0)
    store.complete(file.video_id)
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
