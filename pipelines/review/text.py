"""The text of `corrections.json`, a line per video, of which only what changed is written out anew."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

from tal.annotations.corrections import Corrections, Judgement, VideoCorrections, corrections_json

_NONE = '"annotations": [], "rejected": []'
_Lists = tuple[tuple[Judgement, ...], tuple[Judgement, ...]]


class FileText:
    """Writes corrections as text; keeps the text of every video and of every judgement.

    They are known again by their identity, for which they are kept as well: values are frozen, and a change
    makes new ones.
    """

    def __init__(self) -> None:
        self._lines: dict[str, tuple[VideoCorrections, str]] = {}
        self._lists: dict[str, tuple[_Lists, str]] = {}
        self._judgements: dict[str, dict[int, tuple[Judgement, str]]] = {}

    def whole(self, labels: Sequence[str], videos: Mapping[str, VideoCorrections]) -> bytes:
        """What `parse_corrections` reads."""
        lines = ",\n".join(self._line(video) for video in videos.values())
        head = json.dumps(corrections_json(Corrections(tuple(labels), {})), ensure_ascii=False)
        assert head.endswith('"database": {}}')
        return f"{head.removesuffix('}}')}\n{lines}\n}}}}\n".encode()

    def digest(self, video: VideoCorrections) -> str:
        """Tells whether two states of what is edited in a video are the same."""
        text = self._text_of_lists(video) + json.dumps(video.reviewed)
        return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()

    def _line(self, video: VideoCorrections) -> str:
        kept = self._lines.get(video.id)
        if kept is None or kept[0] is not video:
            facts = replace(video, actions=(), rejected=())
            entry = corrections_json(Corrections((), {video.id: facts}))["database"]
            # quotation marks of names and ids are escaped: the first place is that of the lists
            before, found, after = json.dumps(entry, ensure_ascii=False)[1:-1].partition(_NONE)
            assert found
            kept = self._lines[video.id] = video, before + self._text_of_lists(video) + after
        return kept[1]

    def _text_of_lists(self, video: VideoCorrections) -> str:
        lists = video.actions, video.rejected
        kept = self._lists.get(video.id)
        if kept is None or kept[0][0] is not lists[0] or kept[0][1] is not lists[1]:
            known = self._judgements.get(video.id, {})
            texts = {id(j): known.get(id(j)) or (j, _text(video.id, j)) for items in lists for j in items}
            actions, rejected = (", ".join([texts[id(j)][1] for j in items]) for items in lists)
            kept = self._lists[video.id] = lists, f'"annotations": [{actions}], "rejected": [{rejected}]'
            self._judgements[video.id] = texts
        return kept[1]


def _text(video_id: str, judgement: Judgement) -> str:
    """JSON of one judgement, a true action or a rejected detection alike."""
    whole = corrections_json(Corrections((), {video_id: VideoCorrections(video_id, actions=(judgement,))}))
    return json.dumps(whole["database"][video_id]["annotations"][0], ensure_ascii=False)
