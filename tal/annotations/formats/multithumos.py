"""MultiTHUMOS as JSON: ``{video: {"subset", "duration", "actions": [[class, start, end], …]}}``.

Class numbers get their names from ``class_list.txt`` (``1 BaseballPitch``) where it lies beside; else they
are names.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tal.annotations.builder import Builder
from tal.annotations.files import describe_json, load_json
from tal.annotations.formats.base import Format
from tal.annotations.formats.foreign import foreign_json
from tal.annotations.options import ReadOptions
from tal.annotations.rows import listed_classes, name_of_class, write_class_list
from tal.annotations.times import to_seconds
from tal.annotations.types import AnnotationSet
from tal.errors import AnnotationError
from tal.shared.files import write_text

_CLASS_LIST = "class_list.txt"


def is_multithumos(content: Any) -> bool:
    """Whether parsed JSON has videos with ``actions``."""
    return isinstance(content, dict) and any(isinstance(v, dict) and "actions" in v for v in content.values())


def read_multithumos(path: Path, options: ReadOptions) -> AnnotationSet:
    """Read the JSON form of MultiTHUMOS (and of Charades, which uses the same)."""
    content = load_json(path)
    if content != {} and not is_multithumos(content):
        what = foreign_json(content) or describe_json(content)
        raise AnnotationError(
            f"{path}: not MultiTHUMOS JSON: needs {{video: {{'actions': [...]}}}}, not {what}"
        )
    names = listed_classes(path, _CLASS_LIST, options.labels) or {}
    build = Builder(path.name, options)
    for video_id, entry in content.items():
        where = f"{path.name}: video {video_id!r}"
        if not isinstance(entry, dict) or not isinstance(entry.get("actions"), list):
            has = describe_json(entry)
            raise AnnotationError(f"{where}: needs 'actions', a list of [class, start, end]; it is {has}")
        duration = entry.get("duration")
        build.video(
            video_id,
            str(entry.get("subset") or options.subset),
            None if duration is None else to_seconds(duration, where),
        )
        for action in entry["actions"]:
            if not isinstance(action, list) or len(action) != 3:
                raise AnnotationError(f"{where}: an action is [class, start, end], not {str(action)[:80]}")
            name = name_of_class(names, str(action[0]), where)
            build.segment(video_id, action[1], action[2], name, where)
    return build.build("multithumos", tuple(names.values()))


def write_multithumos(annotations: AnnotationSet, path: Path) -> None:
    """Write the JSON and, beside it, ``class_list.txt``.

    Raises
    ------
    AnnotationError
        a label cannot be held, or the class list that lies there is another one.
    """
    labels = list(dict.fromkeys([*annotations.labels, *annotations.used_labels]))
    numbers = {name: i for i, name in enumerate(labels, start=1)}
    content = {
        name: {
            "subset": v.subset,
            **({"duration": v.duration_s} if v.duration_s is not None else {}),
            "actions": [[numbers[s.label], s.start_s, s.end_s] for s in v.all_segments],
        }
        for name, v in annotations.videos.items()
    }
    write_class_list(path.parent / _CLASS_LIST, {str(i): name for name, i in numbers.items()})
    write_text(path, json.dumps(content, ensure_ascii=False))


FORMAT = Format(
    "multithumos",
    "MultiTHUMOS / Charades JSON with class numbers",
    read_multithumos,
    write_multithumos,
    detect=lambda content: is_multithumos(content.json),
    keeps=("subsets", "durations", "videos without a segment", "segments without length", "list of labels"),
)
