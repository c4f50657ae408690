"""The page of a review: the report's player, timeline and list, with what edits around them."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

from pipelines.report.page import assemble, asset, beside
from pipelines.review.media import may_play
from pipelines.review.run import Review, ReviewVideo
from pipelines.review.state import ReviewState
from pipelines.shared.files import write_text
from tal.annotations.corrections import VERSION

# In this order: each builds on those before it. First those of the report.
_SHARED = ("dom", "timeline", "player", "videos")
_SCRIPTS = (
    *("document", "changes", "board", "undos", "saver", "media", "copies", "list", "paint", "lanes", "edges"),
    *("judging", "queue", "classes", "controls", "main"),
)


def render_page(
    review: Review,
    state: ReviewState,
    token: str | None = None,
    url_of: Callable[[Path], str] | None = None,
) -> str:
    """The page as the review stands now.

    Parameters
    ----------
    token
        what the page sends to be allowed to write; None: a page without a server, which is read-only.
    url_of
        the address of a video's file for a page without a server.
    """

    def video(number: int, item: ReviewVideo) -> dict[str, Any]:
        src = None
        if item.file is not None and url_of is not None:
            src = url_of(item.file)
        elif item.file is not None and may_play(item.file):
            src = f"video/{number}"
        return {
            "id": item.id,
            "src": src,
            "file": item.file is not None,
            "found": [[d.label, d.start_s, d.end_s, d.score] for d in item.detections],
            "lastEnd": item.last_end_s,
            "document": state.document(item.id).to_json(),
        }

    document = {
        "title": review.title,
        "format": VERSION,
        "token": token,
        "file": state.path.name,
        "labels": list(state.labels),
        "notes": list(review.notes),
        "videos": [video(number, item) for number, item in enumerate(review.videos)],
    }
    scripts = [asset(f"{name}.js") for name in _SHARED] + [_own(f"{name}.js") for name in _SCRIPTS]
    style = asset("style.css") + _own("review.css")
    return assemble(_own("review.html"), style, scripts, document, connect=token is not None)


def write_page(review: Review, state: ReviewState, path: Path, overwrite: bool = False) -> Path:
    """The page as a file that is read-only and offers the corrections for download.

    Raises
    ------
    OutputExistsError
        when the file exists and ``overwrite`` is false.
    """
    return write_text(path, render_page(review, state, url_of=beside(path)), overwrite)


def _own(name: str) -> str:
    return (resources.files("pipelines.review") / "page" / name).read_text(encoding="utf-8")
