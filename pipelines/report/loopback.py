"""A server on this machine's loopback, for this machine's user: what the report's and the review's share.

A secret part in the address keeps out other users of the machine, and a check of the Host header keeps out
web pages that point a name of their own at 127.0.0.1. Files are sent in ranges, so that seeking works. How
many connections there are at once, and how long each may take, is limited.
"""

from __future__ import annotations

import io
import logging
import mimetypes
import re
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO

_CHUNK_BYTES = 1 << 18
_HOSTS = {"127.0.0.1", "localhost"}
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
# A connection on which nothing moves for so long is closed; a paused video asks again with a range.
IDLE_S = 60.0
# For the whole head of a request, however slowly it comes.
HEAD_S = 10.0
# At once; a browser has six, whatever the number of its tabs.
MOST_CONNECTIONS = 48


class LoopbackServer(ThreadingHTTPServer):
    """Listens on 127.0.0.1 only; ``address`` holds the secret.

    Raises
    ------
    OSError, OverflowError
        the port cannot be used.
    """

    daemon_threads = True

    def __init__(self, handler: type[PageHandler], port: int = 0) -> None:
        self.secret = secrets.token_urlsafe(12)
        self._room = threading.BoundedSemaphore(MOST_CONNECTIONS)
        super().__init__(("127.0.0.1", port), handler)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{self.secret}/"

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give a connection a thread; one too many is told so and closed."""
        if not self._room.acquire(blocking=False):
            with suppress(OSError):
                request.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._room.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing when a browser leaves in the middle of a video; the debug log has the rest."""
        logging.getLogger("longtal").debug("a connection ended early", exc_info=True)


class _Reader(io.RawIOBase):
    """What comes over a connection: no wait is longer than ``idle_s``, and what is read can have an end.

    ``end`` is a moment of `time.monotonic`; ``all_s`` sets it when the first byte comes.
    """

    def __init__(self, connection: socket.socket, idle_s: float) -> None:
        self._connection, self._idle_s = connection, idle_s
        self.end: float | None = None
        self.all_s: float | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Bytes that came; TimeoutError when the time is over."""
        left = self._idle_s if self.end is None else min(self._idle_s, self.end - time.monotonic())
        if left <= 0:
            raise TimeoutError("the time for it is over")
        self._connection.settimeout(left)
        try:
            count = self._connection.recv_into(buffer)
        finally:
            self._connection.settimeout(self._idle_s)
        if self.end is None and self.all_s is not None:
            self.end = time.monotonic() + self.all_s
        return count


class PageHandler(BaseHTTPRequestHandler):
    """Answers GET and HEAD below the secret by ``get``, which a server's own handler defines."""

    protocol_version = "HTTP/1.1"
    server_version = "longtal"
    sys_version = ""
    timeout = IDLE_S
    server: LoopbackServer

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self._reader = _Reader(self.connection, self.timeout)
        self.rfile = io.BufferedReader(self._reader)

    def handle_one_request(self) -> None:
        """The head of a request has `HEAD_S` from its first byte on, however it is cut."""
        self._reader.all_s = HEAD_S
        super().handle_one_request()

    def parse_request(self) -> bool:
        try:
            return super().parse_request()
        finally:
            self._reader.all_s = self._reader.end = None

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """What is read in here has so long in all, else TimeoutError."""
        self._reader.end = time.monotonic() + seconds
        try:
            yield
        finally:
            self._reader.end = None

    def get(self, name: str) -> None:
        """Answer for ``name``, the address behind the secret."""
        raise NotImplementedError

    def do_GET(self) -> None:
        if (name := self.inside()) is not None:
            self.get(name)

    def do_HEAD(self) -> None:
        self.do_GET()

    def inside(self) -> str | None:
        """The address behind the secret; None, and a refusal is sent, for foreign hosts and other places."""
        host = self.headers.get("Host", "").rsplit(":", 1)[0].lower()
        if host not in _HOSTS:
            self.refuse(HTTPStatus.MISDIRECTED_REQUEST)
            return None
        place = self.path.partition("?")[0]
        root = f"/{self.server.secret}/"
        if not secrets.compare_digest(place[: len(root)].encode(), root.encode()):
            self.refuse(HTTPStatus.NOT_FOUND)
            return None
        return place[len(root) :]

    def send_body(
        self, body: bytes, kind: str, status: HTTPStatus = HTTPStatus.OK, *headers: tuple[str, str]
    ) -> None:
        self._head(status, len(body), kind, *headers)
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_file(self, path: Path) -> None:
        """A file, whole or the range that was asked for."""
        try:
            file = path.open("rb")
        except OSError:
            self.refuse(HTTPStatus.NOT_FOUND)
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
                    self.refuse(
                        HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, ("Content-Range", f"bytes */{size}")
                    )
                    return
                span = ("Content-Range", f"bytes {start}-{stop - 1}/{size}")
                self._head(HTTPStatus.PARTIAL_CONTENT, stop - start, kind, span)
            if self.command != "HEAD":
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
            except (ConnectionError, TimeoutError):  # the browser seeks elsewhere or waits: drop this answer
                self.close_connection = True
                return
            num_bytes -= len(chunk)

    def refuse(self, status: HTTPStatus, *headers: tuple[str, str]) -> None:
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
