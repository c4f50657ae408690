"""`longtal report --serve`: a report and its videos on this machine's loopback, for this machine's user.

The server answers three things: the page, the videos that the page names (by number, never by path), and
404. It listens on 127.0.0.1 only; a secret part in the address keeps out other users of the machine, and a
check of the Host header keeps out web pages that point a name of their own at 127.0.0.1. Videos are sent in
ranges, so that seeking works.
"""

from __future__ import annotations

import mimetypes
import re
import secrets
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from featstore.documents import parse_json
from pipelines.report import Report, render, render_document
from tal.annotations import VIDEO_SUFFIXES
from tal.errors import LongtalError

_CHUNK_BYTES = 1 << 18
_HOSTS = {"127.0.0.1", "localhost"}
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_DATA = re.compile(r'<script type="application/json" id="data">(.*?)</script>', re.DOTALL)


class ViewError(LongtalError, ValueError):
    """Nothing to serve, or no port to serve it on."""


class ViewServer(ThreadingHTTPServer):
    """Serves one page and a fixed list of video files; ``address`` is what to open.

    ``serve_forever`` runs it, ``shutdown`` and ``server_close`` end it.
    """

    daemon_threads = True

    def __init__(self, page: str, videos: list[Path], port: int = 0) -> None:
        self.page = page.encode("utf-8")
        self.videos = videos
        self.secret = secrets.token_urlsafe(12)
        try:
            super().__init__(("127.0.0.1", port), _Handler)
        except (OSError, OverflowError) as error:
            raise ViewError(f"port {port} cannot be used ({error}); --port 0 takes a free one") from error

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{self.secret}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing when a browser leaves in the middle of a video; the debug log has the rest."""
        import logging

        logging.getLogger("longtal").debug("view: a connection ended early", exc_info=True)


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


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "longtal"
    sys_version = ""
    server: ViewServer

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, with_body: bool) -> None:
        host = self.headers.get("Host", "").rsplit(":", 1)[0].lower()
        if host not in _HOSTS:
            self._refuse(HTTPStatus.MISDIRECTED_REQUEST)
            return
        place = self.path.partition("?")[0]
        root = f"/{self.server.secret}/"
        if not secrets.compare_digest(place[: len(root)].encode(), root.encode()):
            self._refuse(HTTPStatus.NOT_FOUND)
            return
        name = place[len(root) :]
        if not name:
            self._head(HTTPStatus.OK, len(self.server.page), "text/html; charset=utf-8")
            if with_body:
                self.wfile.write(self.server.page)
            return
        number = re.fullmatch(r"video/(\d{1,9})", name, re.ASCII)
        if number is None or int(number.group(1)) >= len(self.server.videos):
            self._refuse(HTTPStatus.NOT_FOUND)
            return
        self._video(self.server.videos[int(number.group(1))], with_body)

    def _video(self, path: Path, with_body: bool) -> None:
        try:
            file = path.open("rb")
        except OSError:
            self._refuse(HTTPStatus.NOT_FOUND)
            return
        with file:
            size = file.seek(0, 2)
            kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
            asked = _RANGE.fullmatch(self.headers.get("Range", "").strip())
            if asked is None or not any(asked.groups()):  # none, several, or no sense: the whole file
                self._head(HTTPStatus.OK, size, kind)
                start, stop = 0, size
            else:
                start, stop = _bounds(asked.group(1), asked.group(2), size)
                if start >= stop:
                    self._refuse(
                        HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, ("Content-Range", f"bytes */{size}")
                    )
                    return
                span = ("Content-Range", f"bytes {start}-{stop - 1}/{size}")
                self._head(HTTPStatus.PARTIAL_CONTENT, stop - start, kind, span)
            if with_body:
                file.seek(start)
                self._copy(file, stop - start)

    def _copy(self, file: BinaryIO, num_bytes: int) -> None:
        while num_bytes > 0:
            chunk = file.read(min(_CHUNK_BYTES, num_bytes))
            if not chunk:  # the file has become shorter: end the connection, the length is not what was said
                self.close_connection = True
                return
            try:
                self.wfile.write(chunk)
            except ConnectionError:  # the browser seeks elsewhere and drops this answer
                self.close_connection = True
                return
            num_bytes -= len(chunk)

    def _refuse(self, status: HTTPStatus, *headers: tuple[str, str]) -> None:
        self._head(status, 0, "text/plain", *headers)

    def _head(self, status: HTTPStatus, length: int, kind: str, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in (
            ("Content-Type", kind),
            ("Content-Length", str(length)),
            ("Accept-Ranges", "bytes"),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            ("Referrer-Policy", "no-referrer"),
            *headers,
        ):
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged."""


def _bounds(first: str, last: str, size: int) -> tuple[int, int]:
    """[start, stop) of a byte range as RFC 9110 14.1.2 reads it; empty when it cannot be met."""
    if not first:
        return max(0, size - int(last)), size
    stop = min(size, int(last) + 1) if last else size
    return int(first), stop
