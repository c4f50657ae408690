"""When the annotations of an ELAN document are, and on whose clock.

Only some annotations have a time for both ends. Others refer to an annotation of another tier (symbolic
association and subdivision), or lie in a row of annotations of which only the outer ends are aligned (time
subdivision): ELAN shows and exports them with the times that are worked out here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PureWindowsPath
from urllib.parse import unquote
from xml.etree.ElementTree import Element

from tal.annotations.ids import VIDEO_SUFFIXES
from tal.annotations.times import to_seconds

# Tiers that refer to each other are seldom deeper than five.
_MAX_DEPTH = 50


def annotation_times(document: Element, source: str) -> dict[Element, tuple[float, float]]:
    """(begin, end) in milliseconds of every annotation that has a time.

    Raises
    ------
    AnnotationError
        a time is not a number; begins with ``source``.
    """
    slots: dict[str, float] = {}
    for slot in document.iterfind("TIME_ORDER/TIME_SLOT"):
        if slot.get("TIME_VALUE") is not None:
            name = slot.get("TIME_SLOT_ID") or ""
            slots[name] = to_seconds(slot.get("TIME_VALUE"), f"{source}: time slot {name!r:.80}")
    tiers = [list(tier.iterfind("ANNOTATION/*")) for tier in document.iterfind("TIER")]
    for _ in range(_MAX_DEPTH):
        before = len(slots)
        for items in tiers:
            _fill_slots(items, slots)
        if len(slots) == before:
            break
    times: dict[Element, tuple[float, float]] = {}
    for item in (item for items in tiers for item in items):
        begin, end = _slots_of(item)
        if begin in slots and end in slots:
            times[item] = slots[begin], slots[end]
    by_id = {item.get("ANNOTATION_ID") or "": item for items in tiers for item in items}
    for _ in range(_MAX_DEPTH):
        before = len(times)
        for items in tiers:
            _follow_references(items, by_id, times)
        if len(times) == before:
            break
    return times


def _slots_of(item: Element) -> tuple[str, str]:
    return item.get("TIME_SLOT_REF1") or "", item.get("TIME_SLOT_REF2") or ""


def _fill_slots(items: Sequence[Element], slots: dict[str, float]) -> None:
    """Times for the slots between annotations of one tier that follow each other without a gap."""
    next_slot = dict(map(_slots_of, items))
    passed: set[str] = set()
    for begin in [name for name in next_slot if name in slots]:
        chain, name = [], next_slot[begin]
        while name not in slots and name in next_slot and name not in passed:
            passed.add(name)
            chain.append(name)
            name = next_slot[name]
        if chain and name in slots:
            step = (slots[name] - slots[begin]) / (len(chain) + 1)
            slots.update({between: slots[begin] + step * number for number, between in enumerate(chain, 1)})


def _follow_references(
    items: Sequence[Element], by_id: Mapping[str, Element], times: dict[Element, tuple[float, float]]
) -> None:
    """Times of annotations that refer to one that has a time: the same, or equal parts of it."""
    children: dict[Element, list[Element]] = defaultdict(list)
    for item in items:
        parent = by_id.get(item.get("ANNOTATION_REF") or "")
        if parent is not None and parent in times and item not in times:
            children[parent].append(item)
    for parent, parts in children.items():
        begin, end = times[parent]
        step = (end - begin) / len(parts)
        for number, part in enumerate(_in_order(parts)):
            times[part] = begin + step * number, begin + step * (number + 1)


def _in_order(parts: Sequence[Element]) -> Iterator[Element]:
    """Parts of an annotation in the order in which each names the one before it."""
    after = {part.get("PREVIOUS_ANNOTATION"): part for part in parts}
    left = dict.fromkeys(parts)
    part = after.get(None)
    while part is not None and part in left:
        del left[part]
        yield part
        part = after.get(part.get("ANNOTATION_ID"))
    yield from left


def media_of(document: Element, video_id: str, source: str) -> tuple[list[str], float]:
    """Names of a document's videos, and where in the one that the id means ELAN's clock begins, in seconds.

    The clock begins elsewhere than a file where several media were aligned. Of several videos the first
    counts if none is called like the id.

    Raises
    ------
    AnnotationError
        an origin is not a number; begins with ``source``.
    """
    media = [(_name(m), m) for m in document.iterfind("HEADER/MEDIA_DESCRIPTOR")]
    videos = [(name, m) for name, m in media if name.suffix.lower() in VIDEO_SUFFIXES or _is_video(m)]
    if not videos:
        return [], 0.0
    name, chosen = next((v for v in videos if is_called(v[0].name, video_id)), videos[0])
    origin = chosen.get("TIME_ORIGIN") or "0"
    return [n.name for n, _ in videos], to_seconds(origin, f"{source}: TIME_ORIGIN of {name.name}") / 1000


def is_called(file: str, video_id: str) -> bool:
    """Whether a file's name is the last part of an id, with or without its suffix."""
    last_part = video_id.rpartition("/")[2]
    return last_part in (file, PureWindowsPath(file).stem)


def _name(media: Element) -> PureWindowsPath:
    url = media.get("MEDIA_URL") or media.get("RELATIVE_MEDIA_URL") or ""
    return PureWindowsPath(unquote(url).replace("/", "\\"))


def _is_video(media: Element) -> bool:
    return (media.get("MIME_TYPE") or "").startswith("video/")
