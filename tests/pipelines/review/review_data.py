"""A small review for tests: videos that browsers play, made-up detections, ways to talk to the server."""

from __future__ import annotations

import http.client
import json
from contextlib import closing, contextmanager
from pathlib import Path

from pipelines.review import OutputFile, Proxies, ReviewServer, ReviewState, Upcoming, collect_review
from pipelines.review.next import NextOptions
from tests.pipelines.report.report_data import make_annotations, make_predictions, make_video
from tests.pipelines.running import running


def make_data(folder: Path, num_videos: int = 2, duration_s: float = 12.0) -> Path:
    """``folder/predictions.json`` and ``folder/videos``; the predictions' path."""
    annotations = make_annotations(folder, num_videos, labels=("jump", "squat"), duration_s=duration_s)
    for number in range(num_videos):
        make_video(folder / "videos" / f"video_{number:02d}.mp4", duration_s)
    return make_predictions(folder, annotations)


@contextmanager
def serving(folder: Path, out: Path | None = None, **options):
    """A running server of the folder's review, with ``out`` (default: ``folder/corrections.json``)."""
    options = {"source": folder / "predictions.json", "videos_dir": folder / "videos", **options}
    chosen = {key: options.pop(key) for key in ("count", "threshold", "seed") if key in options}
    review = collect_review(**options)
    upcoming = Upcoming(
        options["source"], NextOptions(**{"count": 20, **chosen}), lambda: collect_review(**options)
    )
    with (
        OutputFile(out or folder / "corrections.json") as file,
        closing(Proxies(folder / "copies")) as proxies,
        running(ReviewServer(review, ReviewState(review, file), proxies, upcoming)) as server,
    ):
        yield server


def ask(server, place, method="GET", body=None, headers=None):
    """(status, headers, body) of a request to an address behind the secret, or to another one, "raw:/…"."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=30)
    path = place.removeprefix("raw:") if place.startswith("raw:") else f"/{server.secret}/{place}"
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, answer.headers, content


def good_headers(server):
    """What the page sends."""
    return {
        "Origin": f"http://127.0.0.1:{server.server_address[1]}",
        "Content-Type": "application/json",
        "X-Longtal-Token": server.token,
    }


def post(server, place, content, **headers):
    """A request as the page makes it but for ``headers`` (None: left out); (status, parsed answer)."""
    sent = {**good_headers(server), **{k.replace("_", "-"): v for k, v in headers.items()}}
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    status, _, answer = ask(server, place, "POST", body, {k: v for k, v in sent.items() if v is not None})
    return status, json.loads(answer) if answer else None


def document(server, number=0):
    """A video's document, as the page has it."""
    return json.loads(ask(server, f"document/{number}")[2])


def changed(now, wanted):
    """The changes that make a document of another, as a request has them."""
    change = {"step": "do", "minus": {}, "plus": {}}
    for key in ("annotations", "rejected"):
        change["minus"][key] = [item for item in now[key] if item not in wanted[key]]
        change["plus"][key] = [item for item in wanted[key] if item not in now[key]]
    if now["reviewed"] != wanted["reviewed"]:
        change["minus"]["reviewed"], change["plus"]["reviewed"] = now["reviewed"], wanted["reviewed"]
    return [change]


def save(server, content, version=1, number=0, **headers):
    """Have a document become another one; (status, parsed answer)."""
    changes = changed(document(server, number), content)
    return post(server, f"document/{number}", {"version": version, "changes": changes}, **headers)


def edited(**parts):
    """A document to come to."""
    return {"annotations": [], "rejected": [], "reviewed": [], **parts}


def action(start=1.0, end=2.5, label="jump", source="added", **more):
    return {"label": label, "segment": [start, end], "source": source, **more}
