"""ActivityNet's JSON: ``{"version", "taxonomy", "database": {id: {"subset", "duration", "annotations"}}}``.

Official files have all three keys; most of the community's lack the taxonomy, some give times as text, lack
the duration, or are only the inner dictionary with ``duration_second``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tal.annotations.builder import Builder, to_seconds
from tal.annotations.files import load_json, write_text
from tal.annotations.formats.base import PARTS, Format, PredictionFiles
from tal.annotations.options import ReadOptions
from tal.annotations.predictions import write_detections
from tal.annotations.types import AnnotationSet, VideoAnnotation
from tal.errors import AnnotationError


def read_activitynet(path: Path, options: ReadOptions) -> AnnotationSet:
    """Read a file of ActivityNet's form, official or a variant of it."""
    return parse_activitynet(load_json(path), path.name, options)


def parse_activitynet(content: Any, source: str, options: ReadOptions) -> AnnotationSet:
    """The parsed JSON -> annotations.

    Raises
    ------
    AnnotationError
        naming the video and what is wrong with it.
    """
    database = content.get("database", content) if isinstance(content, dict) else None
    if not isinstance(database, dict) or not all(isinstance(v, dict) for v in database.values()):
        raise AnnotationError(f"{source}: not ActivityNet JSON: needs a 'database' of videos by id")
    if database and not any({"annotations", "subset"} & v.keys() for v in database.values()):
        raise AnnotationError(f"{source}: not ActivityNet JSON: no video has 'annotations' or a 'subset'")
    build = Builder(source, options)
    no_subset = 0
    for video_id, entry in database.items():
        where = f"{source}: video {video_id!r}"
        subset = entry.get("subset")
        no_subset += subset is None and not options.subset
        duration = entry.get("duration", entry.get("duration_second"))
        frames = entry.get("frame", entry.get("duration_frame", entry.get("num_frames")))
        build.video(
            video_id,
            subset=str(subset) if subset is not None else options.subset,
            duration_s=None if duration in (None, "") else to_seconds(duration, f"{where}: duration"),
            fps=None if entry.get("fps") in (None, "") else to_seconds(entry["fps"], f"{where}: fps"),
            num_frames=None if frames in (None, "") else int(to_seconds(frames, f"{where}: frames")),
            url=entry.get("url") if isinstance(entry.get("url"), str) else None,
        )
        annotations = entry.get("annotations", [])
        if not isinstance(annotations, list):
            raise AnnotationError(f"{where}: 'annotations' is not a list")
        for a in annotations:
            segment = a.get("segment") if isinstance(a, dict) else None
            if not isinstance(segment, list | tuple) or len(segment) != 2:
                raise AnnotationError(f"{where}: an annotation needs 'label' and 'segment': [start, end]")
            build.segment(video_id, segment[0], segment[1], a.get("label"))
    if no_subset:
        build.notes.append(f"{no_subset} of {len(database)} videos name no subset; it reads as ''")
    return build.build("activitynet", _taxonomy_labels(content.get("taxonomy")))


def _taxonomy_labels(taxonomy: Any) -> list[str]:
    """Leaves of the class tree in its order; [] when it is missing or has no names."""
    if not isinstance(taxonomy, list) or not all(isinstance(n, dict) and "nodeName" in n for n in taxonomy):
        return []
    parents = {str(n["parentName"]) for n in taxonomy if n.get("parentName") is not None}
    names = (str(n["nodeName"]) for n in taxonomy)
    return list(dict.fromkeys(name for name in names if name not in parents))


def write_activitynet(annotations: AnnotationSet, path: Path) -> None:
    """Write ActivityNet JSON with the official keys; times keep every digit."""
    leaves = [
        {"nodeId": i + 1, "nodeName": n, "parentId": 0, "parentName": "Root"}
        for i, n in enumerate(annotations.labels)
    ]
    root = {"nodeId": 0, "nodeName": "Root", "parentId": None, "parentName": None}
    content = {
        "version": "VERSION 1.3",
        "taxonomy": [*leaves, root] if leaves else [],  # a root alone would be a leaf
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
