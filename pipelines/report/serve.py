"""`longtal report --serve`: a report and its videos on this machine's loopback, for this machine's user.

The server answers three things: the page, the videos that the page names (by number, never by path), and
404. It listens on 127.0.0.1 only; a secret part in the address keeps out other users of the machine, and a
check of the Host header keeps out web pages that point a name of their own at 127.0.0.1. Videos are sent in
ranges, so that seeking works.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from featstore.documents import parse_json
from pipelines.report import Report, render, render_document
from pipelines.report.loopback import LoopbackServer, PageHandler
from tal.annotations import VIDEO_SUFFIXES
from tal.errors import LongtalError

_DATA = re.compile(r'<script type="application/json" id="data">(.*?)</script>', re.DOTALL)


class ViewError(LongtalError, ValueError):
    """Nothing to serve, or no port to serve it on."""


class ViewServer(LoopbackServer):
    """Serves one page and a fixed list of video files; ``address`` is what to open.

    ``serve_forever`` runs it, ``shutdown`` and ``server_close`` end it.
    """

    def __init__(self, page: str, videos: list[Path], port: int = 0) -> None:
        self.page = page.encode("utf-8")
        self.videos = videos
        try:
            super().__init__(_Handler, port)
        except (OSError, OverflowError) as error:
            raise ViewError(f"port {port} cannot be used ({error}); --port 0 takes a free one") from error


class _Handler(PageHandler):
    """The page, and the videos that it names, by number."""

    server: ViewServer

    def get(self, name: str) -> None:
        number = re.fullmatch(r"video/(\d{1,9})", name, re.ASCII)
        if not name:
            self.send_body(self.server.page, "text/html; charset=utf-8")
        elif number is None or int(number.group(1)) >= len(self.server.videos):
            self.refuse(HTTPStatus.NOT_FOUND)
        else:
            self.send_file(self.server.videos[int(number.group(1))])


def serve_report(report: Report, port: int = 0) -> ViewServer:
    """A server for a report and its video files."""
    videos: list[Path] = []

    def number(video: Path) -> str:
        videos.append(video)
        return f"video/{len(videos) - 1}"

    return ViewServer(render(report, number), videos, port)


def serve_page(path: Path, port: int = 0) -> ViewServer:
    """A server for a page that `longtal report` wrote, and the video files beside it that it names.

    The data is taken out of the page and put into a new one: no script of the file is run. Of the files it
    names only existing ones with a video's suffix are served.

    Raises
    ------
    ViewError
        the file is not a report.
    """
    try:
        data = _DATA.search(path.read_text(encoding="utf-8"))
        document: dict[str, Any] = parse_json(data.group(1), str(path), ViewError) if data else {}
        entries = document["videos"]
        videos: list[Path] = []
        for entry in entries:
            video = _named_file(path, entry.get("src"))
            entry["src"] = f"video/{len(videos)}" if video else None
            if video:
                videos.append(video)
        return ViewServer(render_document(document), videos, port)
    except OSError as error:
        raise ViewError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, AttributeError, TypeError, KeyError) as error:
        raise ViewError(
            f"{path} is not a page that `longtal report` wrote, or it is damaged ({error})"
        ) from error


def _named_file(page: Path, address: object) -> Path | None:
    if not isinstance(address, str):
        return None
    parts = urlsplit(address)
    if parts.scheme not in ("", "file") or parts.netloc:
        return None
    name = url2pathname(parts.path) if parts.scheme else unquote(parts.path)
    video = page.absolute().parent / name
    try:
        return video if video.suffix.lower() in VIDEO_SUFFIXES and video.is_file() else None
    except (OSError, ValueError):  # a name that no file can have
        return None
