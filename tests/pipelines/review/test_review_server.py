"""The review's server: what it takes from whom; each line of docs/review.md's list has its test here."""

import json
import os
import re
import socket
import threading
import time
from contextlib import suppress

import numpy as np
import pytest

from pipelines.report import loopback
from pipelines.report.loopback import IDLE_S
from pipelines.review import server as server_module
from pipelines.review.run import ReviewError
from pipelines.review.server import MOST_BYTES, ReviewServer, _Handler
from tal.annotations import read_annotations
from tal.annotations.corrections import read_corrections, write_corrections
from tests.pipelines.review.review_data import (
    action,
    ask,
    document,
    edited,
    good_headers,
    make_data,
    post,
    save,
    serving,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Instead of the browser's: two videos with detections at any time."""
    folder = tmp_path_factory.mktemp("review")
    make_data(folder)
    return folder


@pytest.fixture
def out(tmp_path):
    return tmp_path / "corrections.json"


@pytest.fixture
def server(folder, out):
    with serving(folder, out) as running:
        yield running


def test_a_change_is_in_the_file_when_the_answer_comes(server, out):
    status, answer = save(server, edited(annotations=[action()], reviewed=[[0, 5]]))
    assert (status, answer) == (200, {"version": 2})
    video = read_corrections(out).videos["video_00"]
    assert [(j.segment.start_s, j.segment.end_s, j.source) for j in video.actions] == [(1.0, 2.5, "added")]
    assert video.reviewed == ((0.0, 5.0),)
    assert "video_01" not in read_corrections(out).videos, "nobody judged it"
    assert [s.label for s in read_annotations(out).videos["video_00"].segments] == ["jump"]


def test_times_keep_every_digit(server, out):
    start, end = 0.1 + 0.2, 7 / 3
    save(server, edited(annotations=[action(start, end)]))
    assert document(server)["annotations"][0]["segment"] == [start, end]
    segment = read_corrections(out).videos["video_00"].actions[0].segment
    assert (segment.start_s, segment.end_s) == (start, end)


def test_the_second_of_two_tabs_is_told_and_changes_nothing(server, out):
    assert save(server, edited(annotations=[action(1, 2)]))[0] == 200
    before = out.read_bytes()
    status, theirs = save(server, edited(annotations=[action(3, 4)]))
    assert status == 409 and out.read_bytes() == before
    assert theirs["version"] == 2 and theirs["annotations"][0]["segment"] == [1, 2]
    assert save(server, edited(annotations=[action(3, 4)]), version=2)[0] == 200
    assert save(server, edited(), number=1)[0] == 200, "versions are per video"


def test_of_many_at_once_one_wins(server):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: save(server, edited(annotations=[action(n, n + 1)])), range(8)))
    won = [n for n, (status, _) in enumerate(answers) if status == 200]
    assert len(won) == 1 and all(status in (200, 409) for status, _ in answers)
    assert document(server)["annotations"][0]["segment"] == [won[0], won[0] + 1]


def test_what_another_program_wrote_is_not_overwritten_unseen(server, out):
    save(server, edited(annotations=[action(1, 2)]))
    content = json.loads(out.read_text())
    content["database"]["video_00"]["annotations"][0]["segment"] = [1.25, 2]
    content["database"]["elsewhere"] = {"subset": "", "annotations": []}
    out.write_text(json.dumps(content))
    status, theirs = save(server, edited(annotations=[action(5, 6)]), version=2)
    assert status == 409 and theirs["annotations"][0]["segment"] == [1.25, 2]
    assert save(server, edited(annotations=[action(5, 6)]), version=theirs["version"])[0] == 200
    assert set(read_corrections(out).videos) == {"video_00", "elsewhere"}
    out.write_text("{}")
    status, answer = save(server, edited(), version=theirs["version"] + 1)
    assert status == 507 and "corrections" in answer["error"] and out.read_text() == "{}"


def test_a_second_review_of_the_file_is_refused_and_the_first_frees_it(folder, out):
    refused = pytest.raises(RuntimeError, match="another `longtal review`")
    with serving(folder, out), refused, serving(folder, out):
        pass
    with serving(folder, out) as again:
        assert document(again)["version"] == 1
    assert os.listdir(out.parent) == []


# Requests that write: each check by itself, on a request that is good otherwise.
@pytest.mark.parametrize(
    ("header", "value", "status"),
    [
        ("Origin", None, 403),
        ("Origin", "http://evil.example", 403),
        ("Origin", "null", 403),
        ("Origin", "http://127.0.0.1", 403),
        ("Origin", "http://127.0.0.1:1", 403),
        ("Origin", "https://127.0.0.1:PORT", 403),
        ("X_Longtal_Token", None, 403),
        ("X_Longtal_Token", "", 403),
        ("X_Longtal_Token", "wrong", 403),
        ("X_Longtal_Token", "SECRET", 403),  # of the address: not the one
        ("Content_Type", None, 415),
        ("Content_Type", "text/plain", 415),
        ("Content_Type", "application/x-www-form-urlencoded", 415),
        ("Content_Type", "multipart/form-data; boundary=application/json", 415),
        ("Host", "evil.example", 421),
        ("Transfer_Encoding", "chunked", 411),
        ("Content_Length", str(MOST_BYTES + 1), 413),
        ("Content_Length", "-1", 411),
        ("Content_Length", "0x10", 411),
    ],
)
def test_a_request_that_lacks_one_thing_changes_nothing(server, out, header, value, status):
    if value is not None:
        value = value.replace("PORT", str(server.server_address[1])).replace("SECRET", server.secret)
    answer, _ = save(server, edited(annotations=[action()]), **{header: value})
    assert answer == status
    assert document(server)["version"] == 1 and not out.exists()


def test_the_same_request_is_taken_when_it_lacks_nothing(server):
    assert (
        save(server, edited(annotations=[action()]), Content_Type="application/json; charset=utf-8")[0] == 200
    )
    host = "localhost:9000"  # a forwarded port
    assert save(server, edited(), version=2, Host=host, Origin=f"http://{host}")[0] == 200


@pytest.mark.parametrize(
    "place",
    [
        "raw:/document/0",
        "raw:/",
        "document/2",
        "document/-1",
        "document/",
        "video/0",
        "times/0",
        "../x",
        "",
        "document/%30",
    ],
)
def test_only_documents_of_the_review_can_be_written(server, out, place):
    assert post(server, place, {"version": 1, "changes": [do()]})[0] == 404
    assert not out.exists()


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods_are_refused(server, method):
    status, headers, _ = ask(server, "document/0", method, b"{}", good_headers(server))
    assert status == 501 and not [name for name in headers if name.lower().startswith("access-control")]


def do(plus=None, minus=None, **more):
    """A change as a request has it."""
    return {"step": "do", "minus": minus or {}, "plus": plus or {}, **more}


def adds(**parts):
    return do({"annotations": [action(**parts)]})


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b"null",
        b"[" * 20_000,
        b'{"version": 1, "version": 2, "changes": []}',
        {"version": 1},
        {"version": 1, "document": edited()},
        {"version": "1", "changes": [do()]},
        {"version": True, "changes": [do()]},
        {"version": 1.0, "changes": [do()]},
        {"version": 1, "changes": [do()], "path": "/etc/passwd"},
        {"version": 1, "changes": None},
        {"version": 1, "changes": []},
        {"version": 1, "changes": {}},
        {"version": 1, "changes": [None]},
        {"version": 1, "changes": [{}]},
        {"version": 1, "changes": [do()] * 1001},
        *(
            {"version": 1, "changes": [change]}
            for change in (
                {"minus": {}, "plus": {}},
                do(step="steal"),
                do(step=["do"]),
                do(id="x"),
                {"step": "do", "minus": {}},
                {"step": "do", "minus": [], "plus": {}},
                do({"sampled": []}),
                do({"annotations": {}}),
                do({"annotations": [1]}),
                do({"reviewed": [[0, 1]]}),
                do({"reviewed": [[0, 99]]}, {"reviewed": []}),
                do({"reviewed": [[3, 2]]}, {"reviewed": []}),
                do({"reviewed": [[0, 1]]}, {"reviewed": [[2, 3]]}),
                do({}, {"annotations": [action()]}),
                do({}, {"rejected": [{"label": "jump", "segment": [1, 2]}]}),
                adds(start=2, end=1),
                adds(start=-1, end=1),
                adds(start=1, end=99),
                adds(start=float("nan"), end=2),
                adds(start=1, end=float("inf")),
                adds(label="<b>"),
                adds(label=["jump"]),
                adds(source="stolen"),
                adds(score="high"),
                adds(time="x" * 41),
                adds(original={"label": "other", "segment": [0, 1]}),
                do({"rejected": [{"label": "jump"}]}),
                do({"annotations": [action()] * 20_001}),
            )
        ),
    ],
)
def test_a_change_that_does_not_fit_changes_nothing(server, out, content):
    status, answer = post(server, "document/0", content)
    assert status == 400 and answer["error"]
    assert document(server)["version"] == 1 and not out.exists()


def test_of_several_changes_all_are_made_or_none(server, out):
    good = adds(start=1, end=2)
    status, answer = post(server, "document/0", {"version": 1, "changes": [good, adds(label="no")]})
    assert status == 400 and "'no'" in answer["error"] and not out.exists()
    assert post(server, "document/0", {"version": 1, "changes": [good, good]})[0] == 200
    assert len(document(server)["annotations"]) == 2


def test_the_page_is_the_only_one_that_may_connect_and_only_here(server):
    status, headers, page = ask(server, "")
    policy = re.search(r'Security-Policy" content="([^"]*)"', page.decode()).group(1)
    assert status == 200 and headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in policy and "connect-src 'self'" in policy and "unsafe" not in policy
    assert server.token in page.decode() and server.token not in server.address
    assert not [name for name in headers if name.lower().startswith("access-control")]


def test_the_page_without_a_server_may_not_connect_and_knows_no_secret(folder, tmp_path):
    from pipelines.review import render_page

    with serving(folder, tmp_path / "c.json") as running:
        page = render_page(running.review, running.state, url_of=str)
        assert "connect-src" not in page and running.token not in page and running.secret not in page


def test_labels_and_ids_reach_the_page_as_data(tmp_path):
    evil = "</script><img src=x onerror=alert(1)>"
    content = {"results": {evil: [{"label": evil, "score": 0.5, "segment": [0, 1]}]}}
    (tmp_path / "predictions.json").write_text(json.dumps(content))
    with serving(tmp_path, videos_dir=None) as running:
        page = ask(running, "")[2].decode()
        assert "<img" not in page and page.count("</script>") == 2
        sent = action(0, 1, evil, "accepted", score=0.5)
        assert save(running, edited(annotations=[sent]))[0] == 200
        assert "<img" not in ask(running, "")[2].decode()
        assert document(running)["annotations"] == [sent]


def test_a_link_at_the_output_is_refused_at_the_start_and_later(folder, tmp_path):
    target, out = tmp_path / "victim", tmp_path / "corrections.json"
    target.write_text("kept")
    out.symlink_to(target)
    with pytest.raises(OSError, match="is a link"), serving(folder, out):
        pass
    out.unlink()
    with serving(folder, out) as running:
        assert save(running, edited(annotations=[action()]))[0] == 200
        out.unlink()
        out.symlink_to(target)
        status, answer = save(running, edited(), version=2)
        assert status == 507 and "link" in answer["error"]
        assert target.read_text() == "kept" and document(running)["version"] == 2
        out.unlink()
        assert save(running, edited(), version=2)[0] == 200
    out.unlink()
    os.mkfifo(out)
    with pytest.raises(OSError, match="not a plain file"), serving(folder, out):
        pass


def test_the_output_stays_in_the_folder_that_was_named(folder, tmp_path):
    place, other = tmp_path / "place", tmp_path / "other"
    other.mkdir()
    with serving(folder, place / "c.json") as running:
        place.rename(tmp_path / "moved")
        place.symlink_to(other)
        assert save(running, edited(annotations=[action()]))[0] == 200
    assert (tmp_path / "moved" / "c.json").is_file() and os.listdir(other) == []


def test_a_disk_that_refuses_is_told_and_nothing_counts_as_saved(server, out, monkeypatch):
    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    assert save(server, edited(annotations=[action(1, 2)]))[0] == 200
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        status, answer = save(server, edited(annotations=[action(3, 4)]), version=2)
    assert status == 507 and "No space left" in answer["error"]
    assert document(server)["version"] == 2 and os.listdir(out.parent).count(out.name) == 1
    assert read_corrections(out).videos["video_00"].actions[0].segment.start_s == 1
    assert [name for name in os.listdir(out.parent) if name.endswith(".tmp")] == []


def test_a_request_that_stops_in_the_middle_is_let_go(server, monkeypatch):
    monkeypatch.setattr(server_module, "_BODY_S", 0.3)
    assert 0 < IDLE_S <= 60 and _Handler.timeout == IDLE_S
    head = "".join(f"{name}: {value}\r\n" for name, value in good_headers(server).items())
    with socket.create_connection(server.server_address, timeout=20) as connection:
        host = f"Host: 127.0.0.1:{server.server_address[1]}"
        text = f"POST /{server.secret}/document/0 HTTP/1.1\r\n{host}\r\n{head}"
        connection.sendall(f"{text}Content-Length: 100\r\n\r\n{{".encode())
        begun = time.monotonic()
        with suppress(ConnectionError):  # it is closed from the other side
            for _ in range(90):  # a byte now and then does not help
                time.sleep(0.1)
                connection.sendall(b" ")
        assert time.monotonic() - begun < 8
    assert document(server)["version"] == 1


def test_a_connection_on_which_nothing_comes_is_closed(folder, out, monkeypatch):
    monkeypatch.setattr(_Handler, "timeout", 0.3)
    with (
        serving(folder, out) as running,
        socket.create_connection(running.server_address, timeout=20) as connection,
    ):
        connection.sendall(b"GET / HT")
        assert connection.recv(10) == b""


@pytest.mark.parametrize("cut", [b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ", b""])
def test_a_head_that_comes_byte_by_byte_is_not_waited_for(server, monkeypatch, cut):
    """Each byte is in time, all of them are not."""
    assert 0 < loopback.HEAD_S <= 20
    monkeypatch.setattr(loopback, "HEAD_S", 0.5)
    with socket.create_connection(server.server_address, timeout=20) as connection:
        connection.sendall(cut)
        begun = time.monotonic()
        with suppress(ConnectionError):  # it is closed from the other side
            while time.monotonic() - begun < 8:
                time.sleep(0.05)
                connection.sendall(b"a")
        assert time.monotonic() - begun < 4
    assert ask(server, "document/0")[0] == 200


def test_a_connection_may_wait_between_requests_and_send_several_at_once(server, monkeypatch):
    monkeypatch.setattr(loopback, "HEAD_S", 0.3)
    host = f"Host: 127.0.0.1:{server.server_address[1]}"
    request = f"GET /{server.secret}/document/0 HTTP/1.1\r\n{host}\r\n\r\n".encode()
    with socket.create_connection(server.server_address, timeout=20) as connection:
        answers = connection.makefile("rb")
        for sent in (request, request * 2, request):
            connection.sendall(sent)
            for _ in range(len(sent) // len(request)):
                assert answers.readline() == b"HTTP/1.1 200 OK\r\n"
                head = dict(line.split(b": ", 1) for line in iter(answers.readline, b"\r\n"))
                assert json.loads(answers.read(int(head[b"Content-Length"])))["version"] == 1
            time.sleep(0.4)


def test_connections_at_once_are_limited(folder, out, monkeypatch):
    assert 12 <= loopback.MOST_CONNECTIONS <= 100
    monkeypatch.setattr(loopback, "MOST_CONNECTIONS", 3)
    with serving(folder, out) as running:
        held = [socket.create_connection(running.server_address, timeout=20) for _ in range(3)]
        with socket.create_connection(running.server_address, timeout=20) as one_more:
            assert one_more.recv(100).startswith(b"HTTP/1.1 503 ")
            assert one_more.recv(100) == b""
        threads = threading.active_count()
        for _ in range(20):
            socket.create_connection(running.server_address, timeout=20).close()
        assert threading.active_count() <= threads
        for connection in held:
            connection.close()
        for _ in range(100):  # their threads end a moment later
            with suppress(OSError):
                if ask(running, "document/0")[0] == 200:
                    break
            time.sleep(0.05)
        else:
            raise AssertionError("no room was given back")


def test_it_listens_on_loopback_only(server):
    assert server.server_address[0] == "127.0.0.1"
    with pytest.raises(ReviewError, match="--port 0"):
        ReviewServer(server.review, server.state, server.proxies, server.upcoming, server.server_address[1])


@pytest.mark.parametrize(
    "place", ["raw:/", "raw:/video/0", "video/2", "video/../c", "times/9", "document/9", "x"]
)
def test_nothing_else_is_served(server, place):
    assert ask(server, place)[::2] == (404, b"")


def test_times_of_pictures_are_those_of_the_reader(server, folder):
    from tal.video import open_video

    values = np.frombuffer(ask(server, "times/0")[2], "<f8")
    with open_video(folder / "videos" / "video_00.mp4") as reader:
        assert values[:-1].tolist() == reader.times_s.tolist()
        assert values[-1] == reader.info.duration_s
    assert save(server, edited())[0] == 200, "learning the duration is not a change that another tab made"
    assert document(server)["duration"] == values[-1]


def test_the_file_is_the_one_that_write_corrections_writes(server, out, tmp_path):
    """Lines are kept between saves; an independent writer has the same content each time."""
    for version, end in enumerate((2.0, 3.0, 4.0), 1):
        assert save(server, edited(annotations=[action(1, end)]), version=version)[0] == 200
        assert save(server, edited(reviewed=[[0, end]]), version=version, number=1)[0] == 200
        write_corrections(server.state.corrections(), tmp_path / "whole.json")
        whole, kept = (json.loads(path.read_text()) for path in (tmp_path / "whole.json", out))
        assert kept == whole and list(kept) == list(whole)
        assert len(out.read_text().splitlines()) == 1 + 2 + 1
