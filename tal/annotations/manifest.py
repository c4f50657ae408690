"""Videos and instances that are counted, and those that are not, by id: two results must agree on them."""

from __future__ import annotations

from typing import Any

from tal.annotations.types import AnnotationSet
from tal.errors import AnnotationError


def manifest(annotations: AnnotationSet) -> dict[str, Any]:
    """JSON-ready account of an annotation set (or a subset of one)."""
    excluded = [
        {
            "video": e.video_id,
            "reason": e.reason,
            **(
                {"segment": [e.segment.start_s, e.segment.end_s], "label": e.segment.label}
                if e.segment
                else {}
            ),
        }
        for e in annotations.excluded
    ]
    return {
        "source": annotations.source,
        "account": annotations.account.to_json(),
        "videos": len(annotations.videos),
        "instances": annotations.num_instances,
        "instances_by_video": {name: len(v.counted) for name, v in annotations.videos.items()},
        "never_found": [
            {"video": name, "segment": [s.start_s, s.end_s], "label": s.label}
            for name, v in annotations.videos.items()
            for s in v.degenerate
        ],
        "excluded": excluded,
        "notes": list(annotations.notes),
    }


def read_blocked(content: Any) -> list[str]:
    """Ids of ActivityNet's ``blocked.json`` (a list), of any JSON object's keys, or of text lines.

    Raises
    ------
    AnnotationError
        it is none of these.
    """
    if isinstance(content, str):
        lines = (line.split("#")[0].split() for line in content.splitlines())
        return [parts[0] for parts in lines if parts]
    if not isinstance(content, list | dict):
        raise AnnotationError(f"a list of ids to leave out is not {str(content)[:60]!r}")
    return [str(i) for i in content]
