"""Files of other tools that are not read: they are told by name, and the way from there is said."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

from tal.annotations.files import describe_json, read_bytes
from tal.annotations.formats.base import FileContent

_TABLE = "write a table with the columns video, start, end and label, in seconds"
_FRAMES = f"{_TABLE} (a time is the frame's number divided by the video's frame rate)"
_SPREADSHEET = "a spreadsheet; choose File > Save as there, the kind 'CSV UTF-8', and give that file"
_SUBTITLES = f"subtitles; {_TABLE}"
_ELAN = "has no annotations; give the .eaf file, or in ELAN choose File > Export As > Tab-delimited Text"
_VIA = (
    "of the VGG annotator (VIA); there choose Export > Only Temporal Segments as CSV, and from that file "
    + _TABLE
)

_MARKERS = f"markers of an editing program, whose times count frames; {_FRAMES}"
_EVERY_FRAME = (
    "labels of every frame; write a table of their stretches with the columns video, start, end and label, "
    "in seconds (docs/annotations.md, 'Labels of every frame', has the lines of Python)"
)

_LOOKED_AT, _FEW = 200, 2  # rows of a table
_MANY_COLUMNS = 30  # more are coordinates of poses, with the actions behind them
# Suffix -> what the file is, and what to do.
_BY_SUFFIX = {
    ".textgrid": f"a Praat TextGrid; in ELAN choose File > Import > Praat TextGrid File, or {_TABLE}",
    ".anvil": f"an Anvil file; {_TABLE}",
    **dict.fromkeys((".xlsx", ".xls", ".ods", ".numbers"), _SPREADSHEET),
    **dict.fromkeys((".srt", ".vtt", ".ass", ".ssa", ".sbv"), _SUBTITLES),
    **dict.fromkeys((".pfsx", ".etf", ".psfx"), f"an ELAN file that {_ELAN}"),
    **dict.fromkeys((".edl", ".fcpxml"), _MARKERS),
    **dict.fromkeys((".zip", ".gz", ".7z", ".rar", ".tar"), "an archive; unpack it and give the file inside"),
    **dict.fromkeys((".pkl", ".pickle", ".rds", ".mat", ".npy", ".npz"), f"data of a program; {_TABLE}"),
}


def foreign_reason(content: FileContent) -> str:
    """What a file of another tool is and what to do with it; "" for any other file."""
    if content.is_folder:
        return ""
    if content.suffix == ".json":
        reason = foreign_json(content.json)
        return f"{reason}; found: {describe_json(content.json)}" if reason else ""
    if content.suffix in _BY_SUFFIX:
        return _BY_SUFFIX[content.suffix]
    start = read_bytes(content.path)[:4000]
    if content.suffix == ".xml":
        return _xml(start)
    if start.startswith(b"PK\x03\x04"):
        return _SPREADSHEET
    if b"metadata_id" in start and b"file_list" in start:
        return f"an export {_VIA}"
    return ""


def foreign_table(content: FileContent) -> str:
    """What a text file that no format claims is, and what to do with it; "" where that is not known."""
    if content.suffix in (".jsonl", ".ndjson"):
        return f"a JSON object on every line; {_TABLE}"
    header = {cell.strip().casefold() for cell in content.header}
    if {"annotation_id", "annotator", "lead_time"} <= header:
        return _LABEL_STUDIO
    if {"marker name", "in", "out"} <= header:
        return _MARKERS
    cells = [row for _, row in content.rows[1 : 1 + _LOOKED_AT]]
    if len(cells) >= _FEW and (_is_matrix(content.header, cells) or _is_label_a_line(content)):
        return _EVERY_FRAME
    return ""


def _is_matrix(header: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Whether every column but the first, or the last of many (behind poses), holds nothing but 0 and 1."""
    if len(header) < 2 or any(len(row) != len(header) for row in rows):
        return False
    first = 1 if len(header) <= _MANY_COLUMNS else len(header) - 1
    return {cell.strip() for row in rows for cell in row[first:]} <= {"0", "1", "0.0", "1.0"}


def _is_label_a_line(content: FileContent) -> bool:
    """Whether lines are labels alone, some the same as the line above."""
    lines = content.text.splitlines()[:_LOOKED_AT]
    return all(len(line.split()) == 1 for line in lines) and any(a == b for a, b in pairwise(lines))


def _xml(start: bytes) -> str:
    if b"<ANNOTATION_DOCUMENT" in start:
        return "an ELAN document; rename it to .eaf"
    if b"<annotations>" in start and (b"<track" in start or b"<image" in start or b"<meta>" in start):
        return f"an export of CVAT (boxes and tags of frames; Menu > Export task dataset); {_FRAMES}"
    return f"XML of a kind that is not read; {_TABLE}"


def _has(*keys: str) -> Callable[[Any], bool]:
    return lambda content: isinstance(content, dict) and set(keys) <= content.keys()


def _any_item(*keys: str) -> Callable[[Any], bool]:
    """Whether a list's items, or an object's values, are objects of which one has all the keys."""

    def test(content: Any) -> bool:
        items: Iterable[Any] = content.values() if isinstance(content, dict) else content
        return isinstance(content, dict | list) and any(
            isinstance(i, dict) and set(keys) <= i.keys() for i in items
        )

    return test


_LABEL_STUDIO = (
    "a short export of Label Studio (JSON-MIN or CSV); there choose Export > JSON, and give that file"
)
# Whether parsed JSON is of a tool; what it is, and what to do. The first that fits counts.
_BY_KEYS: tuple[tuple[Callable[[Any], bool], str], ...] = (
    (_any_item("annotation_id", "annotator"), _LABEL_STUDIO),
    (_has("images", "annotations", "categories"), f"COCO JSON (boxes of pictures, without times); {_FRAMES}"),
    (_has("categories", "items"), f"a Datumaro export, of CVAT say (marks of frames); {_FRAMES}"),
    (_any_item("tags", "shapes", "tracks"), f"a task backup of CVAT (boxes and tags of frames); {_FRAMES}"),
    (_has("_via_img_metadata"), f"a project {_VIA}"),
    (_has("project", "metadata", "view"), f"a project {_VIA}"),
    (_any_item("video", "start", "end"), f"a list of actions, as Create ML's; {_TABLE}"),
    (_any_item("action_localisation"), f"the Perception Test's JSON (times in microseconds); {_TABLE}"),
    (_has("metadata", "instances"), f"an export of SuperAnnotate (times in microseconds); {_TABLE}"),
    (_has("@context"), f"a web annotation (ELAN: File > Export As > JSON); it {_ELAN}"),
    (_has("videos"), f"a list of 'videos' with clips, as Ego4D's; {_TABLE}"),
    (_has("results"), "predictions ('results'), not annotations: give them to evaluate --predictions"),
)


def foreign_json(content: Any) -> str:
    """What parsed JSON of another tool is and what to do with it; "" where it is of none that is known."""
    if isinstance(content, dict) and isinstance(content.get("database"), dict):
        return ""
    return next((reason for test, reason in _BY_KEYS if test(content)), "")
