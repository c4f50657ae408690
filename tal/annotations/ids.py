"""Video ids as two files write them: ActivityNet's annotations have no ``v_``, its video files and features
do."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import pandas as pd

from tal.annotations.builder import first_ids


def other_spelling(video_id: str) -> str:
    """The id with ``v_`` taken off or put on."""
    return video_id[2:] if video_id.startswith("v_") else f"v_{video_id}"


def match_ids(ids: Iterable[str], known: Collection[str]) -> dict[str, str]:
    """Those of ``ids`` that ``known`` has only in the other spelling -> that spelling.

    An id that is known as it stands is left alone, and so is one whose other spelling is itself among
    ``ids``.
    """
    ids = set(ids)
    return {
        i: other for i in ids if i not in known and (other := other_spelling(i)) in known and other not in ids
    }


def align_ids(predictions: pd.DataFrame, known: Collection[str]) -> tuple[pd.DataFrame, list[str]]:
    """Predictions with video ids spelled as ``known`` spells them, and a note for each kind of change."""
    column = predictions["video_id"].astype("category")
    renamed = match_ids((str(c) for c in column.cat.categories), known)
    if not renamed:
        return predictions, []
    changed = predictions.assign(video_id=column.cat.rename_categories(renamed))
    changed.attrs = dict(predictions.attrs)
    if "videos" in changed.attrs:
        changed.attrs["videos"] = [renamed.get(v, v) for v in changed.attrs["videos"]]
    added = sorted(i for i in renamed if not i.startswith("v_"))
    removed = sorted(i for i in renamed if i.startswith("v_"))
    notes = [f"{len(added)} prediction ids matched with 'v_' put on: {first_ids(added)}"] if added else []
    if removed:
        notes.append(f"{len(removed)} prediction ids matched with 'v_' taken off: {first_ids(removed)}")
    return changed, notes
