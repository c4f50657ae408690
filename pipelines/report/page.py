"""A Report as one HTML file: data, style and script inside, and a policy that forbids anything else.

Ids, labels and notes may hold anything. They reach the page only as JSON whose `<`, `>` and `&` are
escaped, and from there the script puts them into the document as text. The policy names the script by its
hash, so that no other script can run even if markup slipped in.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote

from pipelines.report.run import Report
from pipelines.shared.files import require_new, write_text

# In this order: each builds on those before it.
_SCRIPTS = ("dom", "match", "counts", "timeline", "player", "videos", "tables", "charts", "main", "sections")


def render(report: Report, url_of: Callable[[Path], str | None]) -> str:
    """The page. ``url_of`` turns a video file into the address that the page uses for it (None: no video)."""
    document = report.to_json()
    for entry, video in zip(document["videos"], report.videos, strict=True):
        entry["src"] = url_of(video.file) if video.file is not None else None
    return render_document(document)


def render_document(document: dict[str, Any]) -> str:
    """The page of a report's data, video addresses included."""
    scripts = [asset(f"{name}.js") for name in _SCRIPTS]
    return assemble(asset("page.html"), asset("style.css"), scripts, document)


def assemble(
    body: str, style: str, scripts: Sequence[str], document: dict[str, Any], connect: bool = False
) -> str:
    """One page with everything inside: the scripts as one, in this order, each building on those before it.

    ``body``: what stands in frame.html, whose list of keys the scripts fill.
    ``connect``: the script may send requests to the page's own server; without, to none.
    """
    script = '"use strict";\n(() => {\n' + "\n".join(scripts) + "})();\n"
    return Template(asset("frame.html")).substitute(
        body=body,
        title=html.escape(str(document["title"])),
        csp=(
            f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; "
            + ("connect-src 'self'; " if connect else "")
            + "media-src 'self' file: blob:; img-src data:; base-uri 'none'; form-action 'none'"
        ),
        style=style,
        script=script,
        data=embed_json(document),
    )


def write_report(report: Report, path: Path, overwrite: bool = False) -> Path:
    """Write the page; videos are named relative to its folder, or by absolute path on another drive.

    Raises
    ------
    OutputExistsError
        when the file exists and ``overwrite`` is false.
    """
    require_new([path], overwrite)
    return write_text(path, render(report, beside(path)), overwrite)


def beside(page: Path) -> Callable[[Path], str]:
    """Addresses of video files for a page at ``page``."""
    folder = page.absolute().parent

    def relative(video: Path) -> str:
        try:
            # bytes: names need not be UTF-8
            return quote(os.fsencode(Path(os.path.relpath(video.absolute(), folder)).as_posix()))
        except ValueError:  # Windows: no relative path between drives
            return video.absolute().as_uri()

    return relative


def embed_json(document: object) -> str:
    """JSON that no HTML parser can leave: `<`, `>`, `&` and the line separators of JavaScript are escaped."""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def asset(name: str) -> str:
    """The text of a file of page/."""
    return (resources.files("pipelines.report") / "page" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
