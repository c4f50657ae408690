"""What was done to each video, in a file beside the output: undo and redo go on after a reload or a crash.

Each line is one step: the change, and digests of the document before and after it. What is undone is only
what leads to the document as it stands: where another program wrote the document, or a line is damaged, the
history ends there. A line is written before the document, so that of a crash between the two the line is
what counts for nothing. The file can be removed at any time.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.review.changes import STEPS, Change, ChangeError
from pipelines.review.output import OutputFile

# Of a longer file the newest half is kept when it is opened; a change takes some 400 bytes.
MOST_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Step:
    """A step as its line has it; ``before`` and ``after`` are digests of the document."""

    step: str
    change: dict[str, Any]
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Stacks:
    """Changes that can be undone and those that can be made again, the next one last."""

    past: tuple[Change, ...] = ()
    future: tuple[Change, ...] = ()


class History:
    """The steps of every video, kept beside ``file``.

    Raises
    ------
    OutputError
        the history cannot be read, or something else than a plain file stands in its place.
    """

    def __init__(self, file: OutputFile) -> None:
        self._file = file
        self._steps: dict[str, list[Step]] = {}
        content = file.read_history(MOST_BYTES)
        if len(content) == MOST_BYTES:
            content = content[-MOST_BYTES // 2 :].partition(b"\n")[2]
            file.write_history(content)
        lines = content.split(b"\n")
        for line in lines:
            if (read := _read(line)) is not None:
                self._steps.setdefault(read[0], []).append(read[1])
        self._torn = lines[-1] != b""

    def note(self, video_id: str, steps: Sequence[Step]) -> None:
        """Add steps, in the file and here.

        Raises
        ------
        OutputError
            the file cannot be written.
        """
        lines = [
            json.dumps({"video": video_id, "step": s.step, **s.change, "before": s.before, "after": s.after})
            for s in steps
        ]
        text = "".join(f"{line}\n" for line in lines).encode()
        self._file.append_history(b"\n" + text if self._torn else text)
        self._torn = False
        self._steps.setdefault(video_id, []).extend(steps)

    def stacks(self, video_id: str, now: str) -> Stacks:
        """What can be undone and redone in a video whose document has the digest ``now``."""
        steps = self._steps.get(video_id, [])
        led_here: list[Step] = []
        for step in reversed(steps):
            if step.after == now:
                led_here.append(step)
                now = step.before
        return _replayed(led_here[::-1])


def _replayed(steps: Sequence[Step]) -> Stacks:
    past: list[Change] = []
    future: list[Change] = []
    for step in steps:
        try:
            change = Change.from_json(step.change)
        except ChangeError:  # damaged by another program: what lies before it cannot be reached
            past, future = [], []
            continue
        if step.step == "undo":
            if past and past[-1] == change.turned:
                past.pop()
            future.append(change.turned)
        elif step.step == "redo":
            if future and future[-1] == change:
                future.pop()
            past.append(change)
        else:
            past.append(change)
            future.clear()
    return Stacks(tuple(past), tuple(future))


def _read(line: bytes) -> tuple[str, Step] | None:
    """(id of the video, step) of a line; None of a damaged one, which breaks the chain of digests."""
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        return None
    keys = {"video", "step", "minus", "plus", "before", "after"}
    if not isinstance(content, dict) or set(content) != keys or content["step"] not in STEPS:
        return None
    video, before, after = (content[key] for key in ("video", "before", "after"))
    if not all(isinstance(value, str) for value in (video, before, after)):
        return None
    change = {key: content[key] for key in ("minus", "plus")}
    return video, Step(content["step"], change, before, after)
