"""Detection in new videos. Every finished video is kept at once, so an interrupted call goes on from there.

OUT/ predictions.json (all detections, ActivityNet form) · files of the other formats · manifest.json (model,
thresholds, files written) · finished/ (one file per video).
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import pandas as pd

from featstore.documents import read_json
from pipelines.predict.exports import write_exports
from pipelines.shared.files import OutputExistsError, safe_names, write_text
from tal.annotations import prediction_frame, read_predictions, write_predictions
from tal.annotations.builder import first_ids
from tal.annotations.formats.registry import prediction_files
from tal.errors import AnnotationError, ConfigError
from tal.shared.defaults import PrecisionName
from tal.shared.files import output_errors, require_folder
from tal.video import require_reader, resolve_reader

if TYPE_CHECKING:
    from featstore import FeatureStore
    from pipelines.actors import Actors
    from tal.inference.detector import Detector
    from tal.inference.videos import VideoResult

MANIFEST = "manifest.json"
# (video id, rows done, rows in all)
Progress = Callable[[str, int, int], None]


@dataclass
class PredictReport:
    """The detections (``all``, and those that pass the thresholds, ``confident``) and how each video went."""

    out: Path
    all: pd.DataFrame
    confident: pd.DataFrame
    done: list[str] = field(default_factory=list)
    reused: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def load_detector(
    model: str | Path,
    device: str = "auto",
    reader: str | None = None,
    precision: PrecisionName | None = None,
) -> Detector:
    """The model of a folder; a ``reader`` that the user names must be the one it was trained with.

    ``precision`` None: that of its training.

    Raises
    ------
    CheckpointError
        the model cannot be loaded.
    ConfigError
        another reader, whose pictures the model has never seen.
    """
    from tal.inference.detector import Detector

    detector = Detector.load(model, device, precision or "")
    mine = resolve_reader(detector.config.reader)
    if reader is not None and resolve_reader(reader) != mine:
        raise ConfigError(
            f"--reader {reader}: {detector.folder.path} was trained on what {mine} reads, and another "
            f"reader's pictures differ: leave --reader out, or train with --set data.reader={reader}"
        )
    return detector


def predict(
    detector: Detector,
    videos: Mapping[str, Path],
    out: str | Path,
    formats: Sequence[str] = ("json",),
    threshold: float | None = None,
    store: FeatureStore | None = None,
    overwrite: bool = False,
    on_progress: Progress | None = None,
    actors: Actors | None = None,
    device: str = "auto",
) -> PredictReport:
    """Detect in every video and write the results; videos that fail are reported, the others go on.

    Parameters
    ----------
    videos
        id -> file; with a ``store`` the files are only referred to.
    threshold
        lowest score of the detections that are written, whatever the format; None: predictions.json has all
        detections, the other formats those that pass the model's calibrated thresholds.
    store
        detect from its rows instead of the videos.
    actors, device
        that detect in the videos, and where they compute; None: this process does. They tell of a video when
        it is through.

    Raises
    ------
    AnnotationError
        there is no such format.
    OutputExistsError
        ``out`` holds results of another model or precision, or files changed since; nothing was written.
    OutputError
        ``out`` cannot be written.
    ConfigError
        the reader of the model's videos is not installed.
    StoreSpecError
        the store's rows are not of the kind that the model was trained on.
    """
    out = Path(out)
    if store is None:
        require_reader(detector.config.reader)
    prediction_files(formats)  # refuses unknown names
    require_folder(out)
    if store is not None:
        detector.check_store(store)
    source = "videos" if store is None else "store"
    manifest = _Manifest(out, detector.folder.fingerprint(), source, detector.precision)
    manifest.claim(overwrite)
    empty = prediction_frame([], [], [], [], [])
    detector, notes = detector.for_videos(videos)
    report = PredictReport(out, empty, empty, notes=notes)
    if store is None:
        report.notes += manifest.take_over(videos)
    frames: dict[str, pd.DataFrame] = manifest.load_others(videos)

    def stamp_of(path: Path) -> dict[str, Any]:
        return (
            _stamp(path) if store is None else {"store": store.spec.to_dict(), "generation": store.generation}
        )

    todo: dict[str, dict[str, Any]] = {}
    for video_id, path in videos.items():
        stamp = stamp_of(path)
        finished = manifest.load(video_id, out / "finished" / _part_name(video_id), stamp)
        if finished is not None:
            frames[video_id] = finished
            report.reused.append(video_id)
        else:
            todo[video_id] = stamp
    started = time.perf_counter()
    missing = {video_id: videos[video_id] for video_id in todo}
    if store is not None:
        results = detector.predict_stored(store, missing)
    elif actors is None:
        results = detector.predict_videos(missing, on_progress)
    else:
        results = _by_actors(detector, missing, actors, device, on_progress)
    for result in results:
        if result.detections is None:
            report.failed[result.id] = str(result.error)
            continue
        frames[result.id] = result.detections
        part = out / "finished" / _part_name(result.id)
        with output_errors(part):
            part.parent.mkdir(parents=True, exist_ok=True)
            write_predictions(result.detections, part, [result.id])
        manifest.note(result.id, part, videos[result.id], todo[result.id])
        report.seconds[result.id] = time.perf_counter() - started
        report.done.append(result.id)
        started = time.perf_counter()
    # several decoders finish videos in any order; results are in the order asked for, and so is what is told
    order = {video_id: place for place, video_id in enumerate(videos)}
    frames = dict(sorted(frames.items(), key=lambda item: order.get(item[0], -1)))
    report.done.sort(key=order.__getitem__)
    paths = manifest.paths | {k: Path(v) for k, v in videos.items() if k in frames}
    report.all = _concatenate(frames.values())
    kept = report.all if threshold is None else detector.confident(report.all, threshold)
    report.confident = detector.confident(report.all, threshold)
    if frames:
        manifest.remove(formats)
        report.files = _export(out, kept, report.confident, {k: paths[k] for k in frames}, formats, overwrite)
        manifest.finish(report.files, threshold, detector)
    return report


def _by_actors(
    detector: Detector,
    videos: Mapping[str, Path],
    actors: Actors,
    device: str,
    on_progress: Progress | None,
) -> Iterator[VideoResult]:
    from pipelines.predict.detect import predict_on_actors

    if not videos:
        return
    for result in predict_on_actors(detector, videos, actors, device):
        if on_progress is not None:
            on_progress(result.id, 1, 1)
        yield result


def _export(
    out: Path,
    official: pd.DataFrame,
    confident: pd.DataFrame,
    videos: Mapping[str, Path],
    formats: Sequence[str],
    overwrite: bool,
) -> list[Path]:
    """Write the files of all formats; predictions.json is always one of them."""
    written = write_exports(official, videos, ["json"], out, overwrite)
    others = [name for name in formats if name != "json"]
    return written + (write_exports(confident, videos, others, out, overwrite) if others else [])


def _concatenate(frames: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """One frame, ids and labels as plain text."""
    plain = [f.astype({"video_id": "object", "label": "object"}) for f in frames]
    if not plain:
        return prediction_frame([], [], [], [], [])
    return pd.concat(plain, ignore_index=True)


def _part_name(video_id: str) -> str:
    """A file name that belongs to this id alone."""
    digest = hashlib.sha256(video_id.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{safe_names([video_id])[video_id][:80]}-{digest[:12]}.json"


def _stamp(path: Path) -> dict[str, Any]:
    """Facts that change with the content of a file: its size and time."""
    try:
        facts = path.stat()
    except OSError:
        return {}
    return {"size": facts.st_size, "modified_ns": facts.st_mtime_ns}


def _read_manifest(path: Path) -> dict[str, Any]:
    """What an earlier call noted; empty where the file is another program's, damaged, or leads elsewhere.

    By its names files are read, and removed when they are written anew: none may lead out of the folder.
    """
    try:
        content = read_json(path, AnnotationError)
        videos, files = content["videos"], content["files"]
        for entry in videos.values():
            if not (isinstance(entry["path"], str) and isinstance(entry["stamp"], dict)):
                return {}
        names = [*files, *(entry["part"] for entry in videos.values())]
        inside = all(not PurePath(name).is_absolute() and ".." not in PurePath(name).parts for name in names)
        return content if inside and all("\0" not in name for name in names) else {}
    except (AnnotationError, KeyError, TypeError, AttributeError):
        return {}


class _Manifest:
    """OUT/manifest.json: the model and the videos that the files in OUT were made from."""

    def __init__(self, out: Path, model: str, source: str, precision: str) -> None:
        self.out, self.path = out, out / MANIFEST
        self.content: dict[str, Any] = {
            "model": model,
            "source": source,
            "precision": precision,
            "videos": {},
            "files": {},
        }

    @property
    def paths(self) -> dict[str, Path]:
        return {k: Path(v["path"]) for k, v in self.content["videos"].items()}

    def claim(self, overwrite: bool) -> None:
        """Continue an earlier call with the same model; refuse a folder with anything else."""
        if not self.path.exists():
            strangers = [p for p in (self.out / "predictions.json", self.out / "finished") if p.exists()]
            if strangers and not overwrite:
                raise OutputExistsError(
                    f"{strangers[0]} exists already and nothing was written: other --out, or --overwrite"
                )
            return
        earlier = _read_manifest(self.path)
        asked = [self.content[name] for name in ("model", "source", "precision")]
        # releases before 0.2 always computed in fp32
        same = [earlier.get("model"), earlier.get("source"), earlier.get("precision", "fp32")] == asked
        files = earlier.get("files", {})
        self.content["videos"] = earlier["videos"] if same else {}
        if overwrite:
            return
        if not same:
            raise OutputExistsError(
                f"{self.out} holds predictions of another model or precision: another --out, or --overwrite"
            )
        changed = [n for n, digest in files.items() if (p := self.out / n).exists() and _digest(p) != digest]
        if changed:
            raise OutputExistsError(
                f"{self.out / changed[0]} was changed since it was written: move it away, or --overwrite"
            )
        self.content["files"] = files

    def load(self, video_id: str, part: Path, stamp: Mapping[str, Any]) -> pd.DataFrame | None:
        """Detections of a finished video; None when it is not finished, or has changed since."""
        entry = self.content["videos"].get(video_id)
        if entry is None or entry["stamp"] != stamp or not stamp:
            return None
        try:
            return read_predictions(part)
        except AnnotationError:
            return None

    def take_over(self, videos: Mapping[str, Path]) -> list[str]:
        """Give finished videos the ids that this call has for their files; returns notes on the changes.

        An id depends on the folder that a call names (and 0.1 left folders out), so one file can have had
        another id, and one id can have been another file's.
        """
        entries = self.content["videos"]
        before = {os.path.realpath(e["path"]): k for k, e in entries.items() if k not in videos}
        renamed, replaced = [], []
        for video_id, path in videos.items():
            earlier = Path(entries[video_id]["path"]) if video_id in entries else path
            if earlier.exists() and os.path.realpath(earlier) != os.path.realpath(path):
                replaced.append(f"{first_ids([video_id])} was {earlier}, now {path}")
            old_id = before.get(os.path.realpath(path))
            if old_id is not None:
                self._rename(old_id, video_id, path)
                renamed.append(f"{first_ids([old_id])} is now {first_ids([video_id])}")
        return [
            f"{len(changes)} {what} before: {', '.join(changes[:3])}"
            for what, changes in (
                ("finished under another id", renamed),
                ("of another file, whose results go,", replaced),
            )
            if changes
        ]

    def _rename(self, old_id: str, video_id: str, path: Path) -> None:
        """Move a finished video to another id; an unfinished or changed one is forgotten."""
        entry = self.content["videos"][old_id]
        frame = self.load(old_id, self.out / entry["part"], _stamp(path))
        if frame is not None and video_id not in self.content["videos"]:
            part = self.out / "finished" / _part_name(video_id)
            with output_errors(part):
                write_predictions(frame.assign(video_id=video_id), part, [video_id])
            self.note(video_id, part, path, _stamp(path))
        del self.content["videos"][old_id]
        self._write()
        (self.out / "finished" / _part_name(old_id)).unlink(missing_ok=True)

    def load_others(self, videos: Mapping[str, Path]) -> dict[str, pd.DataFrame]:
        """Detections of finished videos that this call does not name: they stay in the results."""
        others = {}
        for video_id, entry in self.content["videos"].items():
            if video_id not in videos:
                detections = self.load(video_id, self.out / entry["part"], entry["stamp"])
                if detections is not None:
                    others[video_id] = detections
        return others

    def note(self, video_id: str, part: Path, path: Path, stamp: Mapping[str, Any]) -> None:
        self.content["videos"][video_id] = {
            "path": str(path),
            "part": part.relative_to(self.out).as_posix(),
            "stamp": dict(stamp),
        }
        self._write()

    def remove(self, formats: Sequence[str]) -> None:
        """Remove the files of an earlier call that are about to be written anew."""
        endings = tuple(files.ending for files in prediction_files(["json", *formats]))
        for name in [n for n in self.content["files"] if n.endswith(endings)]:
            (self.out / name).unlink(missing_ok=True)
            del self.content["files"][name]
        self._write()

    def finish(self, files: Sequence[Path], threshold: float | None, detector: Detector) -> None:
        new = {p.relative_to(self.out).as_posix(): _digest(p) for p in files}
        self.content["files"] |= new
        self.content["model_folder"] = str(detector.folder.path)
        self.content["threshold"] = "calibrated" if threshold is None else threshold
        self.content["thresholds"] = dict(detector.thresholds)
        self._write()

    def _write(self) -> None:
        write_text(self.path, json.dumps(self.content, indent=1, ensure_ascii=False), overwrite=True)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
