"""What BORIS writes into its project files (format 7.0), and looks for when it opens one."""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from json import dumps
from typing import Any

# The independent variable that holds it.
SUBSET = "subset"
# BORIS has eight players; it looks for each in an observation's files.
_PLAYERS = tuple(map(str, range(1, 9)))
_NO_FRAME = "NA"


def observation_json(
    file: str,
    states: Iterable[tuple[str, int, int, str]],
    subset: str = "",
    duration_s: float | None = None,
    fps: float | None = None,
) -> dict[str, Any]:
    """An observation of one file; ``states``: (label, start, end, comment), times in milliseconds."""
    events, ends = [], dict[tuple[str, str], int]()
    for label, start, end, comment in sorted(states, key=lambda state: state[1]):
        number = 1
        while ends.get((label, _subject(number)), 0) > start:
            number += 1
        ends[label, _subject(number)] = end
        events.append([start / 1000, _subject(number), label, "", comment, _NO_FRAME])
        events.append([end / 1000, _subject(number), label, "", "", _NO_FRAME])
    return {
        "file": {player: [file] if player == "1" else [] for player in _PLAYERS},
        "type": "MEDIA",
        "date": _now(),
        "description": "",
        "time offset": 0.0,
        "events": sorted(events),
        "observation time interval": [0, 0],
        "independent_variables": {SUBSET: subset} if subset else {},
        "visualize_spectrogram": False,
        "visualize_waveform": False,
        "close_behaviors_between_videos": False,
        "media_info": {
            "length": {} if duration_s is None else {file: duration_s},
            "fps": {} if fps is None else {file: fps},
            "hasVideo": {file: True},
            "hasAudio": {},
            "offset": {"1": 0.0},
        },
    }


def _subject(number: int) -> str:
    """The subject of a state that begins while ``number`` - 1 others of its label last."""
    return "" if number == 1 else f"overlap {number}"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")


def project_json(name: str, labels: Iterable[str], observations: Mapping[str, Mapping[str, Any]]) -> str:
    subjects = {event[1] for entry in observations.values() for event in entry["events"]} - {""}
    text = {"description": "", "type": "text", "default value": "", "possible values": ""}
    has_subsets = any(entry["independent_variables"] for entry in observations.values())
    project = {
        "time_format": "hh:mm:ss",
        "project_date": _now(),
        "project_name": name,
        "project_description": "",
        "project_format_version": "7.0",
        "subjects_conf": {
            str(number): {"key": "", "name": subject, "description": "further actions at the same time"}
            for number, subject in enumerate(sorted(subjects, key=lambda s: (len(s), s)))
        },
        "behaviors_conf": {
            str(number): {
                "type": "State event",
                "key": key,
                "code": label,
                "description": "",
                "color": "",
                "category": "",
                "modifiers": {},
                "excluded": "",
                "coding map": "",
            }
            for number, (label, key) in enumerate(_keyed(labels))
        },
        "observations": observations,
        "behavioral_categories": [],
        "independent_variables": {"0": {"label": SUBSET, **text}} if has_subsets else {},
        "coding_map": {},
        "behaviors_coding_map": [],
        "converters": {},
    }
    return dumps(project, indent=1, ensure_ascii=False) + "\n"


def _keyed(labels: Iterable[str]) -> Iterator[tuple[str, str]]:
    """(label, key that codes it in BORIS): a letter of the label if one is free; "" where none is."""
    free = dict.fromkeys(string.ascii_lowercase + string.digits)
    for label in labels:
        letters = re.sub("[^a-z0-9]", "", label.lower())
        key = next((k for k in (*letters, *free) if k in free), "")
        free.pop(key, None)
        yield label, key
