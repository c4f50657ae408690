"""`longtal review`: the page in edit mode, on this machine's loopback, for this machine's user.

What reads needs the secret in the address; what writes needs more: the page's own origin, JSON, a second
secret that only the page holds, and a size within limits. docs/review.md lists all of it, a test for each.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any

import numpy as np

from featstore.documents import parse_json
from pipelines.report.loopback import LoopbackServer, PageHandler
from pipelines.review.changes import ChangeError
from pipelines.review.media import Media, read_media
from pipelines.review.page import render_page
from pipelines.review.proxies import Proxies
from pipelines.review.run import Review, ReviewError
from pipelines.review.state import ReviewState, StaleError
from pipelines.review.upcoming import Upcoming
from tal.errors import AnnotationError, LongtalError, OutputError, VideoError

TOKEN_HEADER = "X-Longtal-Token"
# A change that puts 20,000 segments in the place of as many others is less.
MOST_BYTES = 8 << 20
# For all of a request's body.
_BODY_S = 20.0
_PLACE = re.compile(r"(video|times|document|history|copy|status)/(\d{1,9})", re.ASCII)


class ReviewServer(LoopbackServer):
    """Serves the page of a review, its videos and their copies, and takes what the page sends."""

    def __init__(
        self, review: Review, state: ReviewState, proxies: Proxies, upcoming: Upcoming, port: int = 0
    ) -> None:
        self.review = review
        self.state = state
        self.proxies = proxies
        self.upcoming = upcoming
        self.token = secrets.token_urlsafe(24)
        try:
            super().__init__(_Handler, port)
        except (OSError, OverflowError) as error:
            raise ReviewError(f"port {port} cannot be used ({error}); --port 0 takes a free one") from error

    def media(self, number: int) -> Media | None:
        """What a video's file says; None where it has none. The state learns how long it is."""
        video = self.review.videos[number]
        if video.file is None:
            return None
        media = read_media(video.file)
        self.state.learn_duration(video.id, media.duration_s, media.fps)
        return media


class _Handler(PageHandler):
    server: ReviewServer

    def get(self, name: str) -> None:
        if not name:
            page = render_page(self.server.review, self.server.state, self.server.token)
            self.send_body(page.encode("utf-8"), "text/html; charset=utf-8")
            return
        place = self._place(name)
        if place is None:
            self.refuse(HTTPStatus.NOT_FOUND)
            return
        what, number = place
        video = self.server.review.videos[number]
        if what == "document":
            self._json(self._document(video.id))
        elif what == "history":
            self._history(video.id)
        elif video.file is None:
            self.refuse(HTTPStatus.NOT_FOUND)
        elif what == "video":
            self.send_file(video.file)
        elif what == "copy":
            self._copy_of(video.file)
        elif what == "times":
            self._times(number)
        else:
            self._status(number, video.file)

    def do_POST(self) -> None:
        name = self.inside()
        if name is None:
            return
        try:
            body = self._body()
        except (OSError, TimeoutError):
            self.close_connection = True
            return
        if body is None:
            self.close_connection = True  # what was sent is not read: it must not be taken for a request
            return
        what, number = self._place(name) or (name, 0)
        if what == "labels":
            self._add_label(body)
        elif what == "next":
            self._next(body)
        elif what == "document":
            self._save(number, body)
        elif what == "copy" and (file := self.server.review.videos[number].file) is not None:
            with suppress(OSError):  # the video is gone, which its status says
                self.server.proxies.start(file)
            self._status(number, file)
        else:
            self.refuse(HTTPStatus.NOT_FOUND)

    def _place(self, name: str) -> tuple[str, int] | None:
        """(what, number of the video) of an address, where there is such a video."""
        place = _PLACE.fullmatch(name)
        if place is None or int(place.group(2)) >= len(self.server.review.videos):
            return None
        return place.group(1), int(place.group(2))

    def _copy_of(self, video: Path) -> None:
        try:
            self.send_file(self.server.proxies.path(video))
        except OSError:  # the video is gone
            self.refuse(HTTPStatus.NOT_FOUND)

    def _status(self, number: int, video: Path) -> None:
        """Whether browsers play a video, and how far its copy is."""
        try:
            media = self.server.media(number)
            assert media is not None
            self._json({"plays": media.plays, **self.server.proxies.state(video)})
        except (LongtalError, OSError) as error:
            self._json({"error": str(error)}, HTTPStatus.UNPROCESSABLE_ENTITY)

    def _times(self, number: int) -> None:
        """When each picture comes, as little-endian float64; the duration stands last."""
        try:
            media = self.server.media(number)
        except LongtalError as error:
            self._json({"error": str(error)}, HTTPStatus.UNPROCESSABLE_ENTITY)
            return
        assert media is not None
        values = np.append(media.times_s, media.duration_s).astype("<f8")
        self.send_body(values.tobytes(), "application/octet-stream")

    def _body(self) -> bytes | None:
        """The body of a request that may write; None, and a refusal is sent, for any other."""
        head = self.headers
        kind = head.get("Content-Type", "").partition(";")[0].strip().lower()
        length = head.get("Content-Length", "")
        token_fits = secrets.compare_digest(head.get(TOKEN_HEADER, "").encode(), self.server.token.encode())
        if head.get("Origin") != f"http://{head.get('Host')}" or not token_fits:
            self.refuse(HTTPStatus.FORBIDDEN)
        elif kind != "application/json":
            self.refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
        elif "Transfer-Encoding" in head or not re.fullmatch(r"\d{1,18}", length, re.ASCII):
            self.refuse(HTTPStatus.LENGTH_REQUIRED)
        elif int(length) > MOST_BYTES:
            self.refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        else:
            return self._read(int(length))
        return None

    def _read(self, num_bytes: int) -> bytes | None:
        """So many bytes, within `_BODY_S` seconds in all; None, and a refusal is sent, for fewer."""
        try:
            with self.within(_BODY_S):
                body = self.rfile.read(num_bytes)
        except TimeoutError:
            body = b""
        if len(body) < num_bytes:
            self.refuse(HTTPStatus.REQUEST_TIMEOUT)
            return None
        return body

    def _document(self, video_id: str) -> dict[str, Any]:
        """A document, and the classes, to which another tab may have added some."""
        state = self.server.state
        return {**state.document(video_id).to_json(), "labels": list(state.labels)}

    def _history(self, video_id: str) -> None:
        document, stacks = self.server.state.history(video_id)
        past, future = ([change.to_json() for change in part] for part in (stacks.past, stacks.future))
        self._json({"version": document.version, "past": past, "future": future})

    def _save(self, number: int, body: bytes) -> None:
        video_id = self.server.review.videos[number].id

        def save() -> dict[str, Any]:
            sent = _parsed(body, "version", "changes")
            self._learn_duration(number)
            return {"version": self.server.state.save(video_id, sent["version"], sent["changes"]).version}

        try:
            self._answer(save)
        except StaleError:
            self._json(self._document(video_id), HTTPStatus.CONFLICT)

    def _add_label(self, body: bytes) -> None:
        self._answer(lambda: {"labels": list(self.server.state.add_label(_parsed(body, "label")["label"]))})

    def _next(self, body: bytes) -> None:
        def look() -> dict[str, Any]:
            _parsed(body)
            return self.server.upcoming.look(self.server.state)

        self._answer(look)

    def _answer(self, write: Callable[[], dict[str, Any]]) -> None:
        """What a request that writes comes to, or what is wrong with it, or with the disk."""
        try:
            content = write()
        except StaleError:
            raise
        except (
            OutputError,
            AnnotationError,
        ) as error:  # the disk is full, the file is damaged ...
            self._json({"error": str(error)}, HTTPStatus.INSUFFICIENT_STORAGE)
        except LongtalError as error:
            self._json({"error": str(error)}, HTTPStatus.BAD_REQUEST)
        else:
            self._json(content)

    def _learn_duration(self, number: int) -> None:
        """Have the state know how long a video is, where its file can be read."""
        video = self.server.review.videos[number]
        if self.server.state.document(video.id).video.duration_s is None:
            with suppress(VideoError):
                self.server.media(number)

    def _json(self, content: dict[str, Any], status: HTTPStatus = HTTPStatus.OK) -> None:
        self.send_body(json.dumps(content).encode(), "application/json", status)


def _parsed(body: bytes, *keys: str) -> dict[str, Any]:
    """The JSON of a request, an object of just these keys; ChangeError where it is another."""
    sent = parse_json(body, "the request", ChangeError)
    if not isinstance(sent, dict) or set(sent) != set(keys):
        raise ChangeError(f"a request is {{{', '.join(keys)}}}")
    return sent
