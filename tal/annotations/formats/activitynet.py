"""ActivityNet's JSON: ``{"version", "taxonomy", "database": {id: {"subset", "duration", "annotations"}}}``.

Official files have all three keys; most of the community's lack the taxonomy, some give times as text, lack
the duration, or are only the inner dictionary with ``duration_second``.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from tal.annotations.builder import Builder, first_ids
from tal.annotations.files import describe_json, keys_of, load_json
from tal.annotations.formats.base import PARTS, Format, PredictionFiles
from tal.annotations.formats.foreign import foreign_json
from tal.annotations.options import ReadOptions
from tal.annotations.predictions import write_detections
from tal.annotations.times import to_rate, to_seconds
from tal.annotations.types import AnnotationSet, VideoAnnotation
from tal.errors import AnnotationError
from tal.shared.files import write_text

# Keys of a video that are looked at; one that is a slip of them is refused.
_KEYS = ("annotations", "subset", "duration", "fps")
# What other files call the list of annotations.
_LISTS = ("annotation", "annos", "anns", "segments", "actions", "events", "instances", "labels", "timestamps")
_ALIKE = 0.87


def read_activitynet(path: Path, options: ReadOptions) -> AnnotationSet:
    """Read a file of ActivityNet's form, official or a variant of it."""
    return parse_activitynet(load_json(path), path.name, options)


def parse_activitynet(content: Any, source: str, options: ReadOptions) -> AnnotationSet:
    """The parsed JSON -> annotations.

    Raises
    ------
    AnnotationError
        naming the video and what is wrong with it, or the keys of JSON that is something else.
    """
    database = _database(content, source)
    build = Builder(source, options)
    for video_id, entry in database.items():
        _read_video(video_id, entry, build, options.subset)
    for key, what in (("subset", "name no subset; it reads as ''"), ("annotations", "have no 'annotations'")):
        lacking = [name for name, entry in database.items() if entry.get(key) is None]
        if lacking and not (key == "subset" and options.subset):
            build.notes.append(f"{len(lacking)} of {len(database)} videos {what}: {first_ids(lacking)}")
    return build.build("activitynet", taxonomy_labels(content.get("taxonomy")))


def _database(content: Any, source: str) -> dict[str, dict[str, Any]]:
    """Videos by id, from an object that looks as if it had them."""
    if reason := foreign_json(content):
        raise AnnotationError(f"{source}: not ActivityNet JSON: {reason}; found: {describe_json(content)}")
    form = "{'database': {id: {'subset': …, 'annotations': [{'label': …, 'segment': [start, end]}]}}}"
    database = content.get("database", content) if isinstance(content, dict) else None
    if not isinstance(database, dict) or not all(isinstance(v, dict) for v in database.values()):
        raise AnnotationError(f"{source}: not ActivityNet JSON: needs {form}, not {describe_json(content)}")
    if database and not any({"annotations", "subset"} & v.keys() for v in database.values()):
        raise AnnotationError(
            f"{source}: not ActivityNet JSON: no video has 'annotations' or a 'subset'; the first has "
            f"{describe_json(next(iter(database.values())))}; needs {form}"
        )
    return database


def _read_video(video_id: str, entry: dict[str, Any], build: Builder, subset: str) -> None:
    where = f"{build.source}: video {video_id!r:.80}"
    for key in _KEYS:
        if key not in entry and (slip := _slip(key, entry)):
            raise AnnotationError(
                f"{where}: has {slip!r:.60} where {key!r} should be; its keys are {keys_of(entry)}"
            )
    duration = entry.get("duration", entry.get("duration_second"))
    frames = entry.get("frame", entry.get("duration_frame", entry.get("num_frames")))
    build.video(
        video_id,
        subset=subset if entry.get("subset") is None else str(entry["subset"]),
        duration_s=None if duration in (None, "") else to_seconds(duration, f"{where}: duration"),
        fps=None if entry.get("fps") in (None, "") else to_rate(entry["fps"], f"{where}: fps"),
        num_frames=None if frames in (None, "") else int(to_seconds(frames, f"{where}: frames")),
        url=entry.get("url") if isinstance(entry.get("url"), str) else None,
    )
    annotations = entry.get("annotations", [])
    if not isinstance(annotations, list):
        raise AnnotationError(
            f"{where}: 'annotations' is {str(annotations)[:60]!r}, not a list; write [] where there is none"
        )
    for number, a in enumerate(annotations, 1):
        segment = a.get("segment") if isinstance(a, dict) else None
        if not isinstance(segment, list | tuple) or len(segment) != 2 or "label" not in a:
            has = f"the keys {keys_of(a)}" if isinstance(a, dict) else repr(str(a)[:60])
            raise AnnotationError(
                f"{where}: annotation {number} needs 'label' and 'segment': [start, end]; it has {has}"
            )
        build.segment(video_id, segment[0], segment[1], a["label"])


def _slip(key: str, entry: dict[str, Any]) -> str:
    """A key of the entry that is probably meant for ``key``; "" if there is none."""
    for own, value in entry.items():
        if _looks_like(own, key) or (
            key == "annotations" and own.casefold() in _LISTS and _is_list_of_parts(value)
        ):
            return own
    return ""


@lru_cache(maxsize=10_000)
def _looks_like(own: str, key: str) -> bool:
    name = own.strip().casefold()
    if own in _KEYS or len(name) > 2 * len(key):
        return False
    return name == key or (difflib.SequenceMatcher(None, name, key).ratio() >= _ALIKE)


def _is_list_of_parts(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and not any(isinstance(v, str) for v in value))


def taxonomy_labels(taxonomy: Any) -> list[str]:
    """Leaves of the class tree in its order; [] when it is missing or has no names."""
    if not isinstance(taxonomy, list) or not all(isinstance(n, dict) and "nodeName" in n for n in taxonomy):
        return []
    parents = {str(n["parentName"]) for n in taxonomy if n.get("parentName") is not None}
    names = (str(n["nodeName"]) for n in taxonomy)
    return list(dict.fromkeys(name for name in names if name not in parents))


def taxonomy(labels: Sequence[str]) -> list[dict[str, Any]]:
    """A class tree of these leaves below one root, as `taxonomy_labels` reads it."""
    leaves = [
        {"nodeId": i + 1, "nodeName": n, "parentId": 0, "parentName": "Root"} for i, n in enumerate(labels)
    ]
    root = {"nodeId": 0, "nodeName": "Root", "parentId": None, "parentName": None}
    return [*leaves, root] if leaves else []  # a root alone would be a leaf


def write_activitynet(annotations: AnnotationSet, path: Path) -> None:
    """Write ActivityNet JSON with the official keys; times keep every digit."""
    content = {
        "version": "VERSION 1.3",
        "taxonomy": taxonomy(annotations.labels),
        "database": {name: _entry(v) for name, v in annotations.videos.items()},
    }
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False))


def _entry(video: VideoAnnotation) -> dict[str, Any]:
    entry: dict[str, Any] = {"subset": video.subset}
    for key, value in {
        "duration": video.duration_s,
        "fps": video.fps,
        "frame": video.num_frames,
        "url": video.url,
    }.items():
        if value is not None:
            entry[key] = value
    entry["annotations"] = [{"label": s.label, "segment": [s.start_s, s.end_s]} for s in video.all_segments]
    return entry


FORMAT = Format(
    "activitynet",
    "ActivityNet JSON, official and variants (HACS, FineAction, …)",
    read_activitynet,
    write_activitynet,
    detect=lambda content: content.suffix == ".json" and not content.is_folder,
    suffixes=(".json",),
    aliases=("hacs",),
    keeps=tuple(PARTS),
    predictions=PredictionFiles("json", "predictions.json", write_detections),
)
