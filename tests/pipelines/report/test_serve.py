"""The loopback server: ranges as RFC 9110 has them, only named files, only this machine's names."""

import http.client
import json
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from pipelines.report import collect, write_report
from pipelines.report.serve import ViewError, serve_page, serve_report
from tests.pipelines.report.report_data import make_annotations, make_predictions
from tests.pipelines.running import running

BODY = bytes(range(256)) * 40


@pytest.fixture
def report(tmp_path):
    annotations = make_annotations(tmp_path, num_videos=2)
    videos = tmp_path / "v"
    videos.mkdir()
    (videos / "video_00.mp4").write_bytes(BODY)
    (tmp_path / "secret.txt").write_text("secret")
    return collect(make_predictions(tmp_path, annotations), annotations, "validation", videos)


def ask(server, path, method="GET", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
    place = f"/{server.secret}{path}" if path.startswith("/") else path.removeprefix("raw:")
    connection.request(method, place, headers={k.replace("_", "-"): v for k, v in headers.items()})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, body


def test_page_and_video(report):
    with running(serve_report(report)) as server:
        answer, page = ask(server, "/")
        assert answer.status == 200 and answer.headers["Content-Type"].startswith("text/html")
        assert b'"src":"video/0"' in page
        answer, body = ask(server, "/video/0")
        assert answer.status == 200 and body == BODY
        assert answer.headers["Accept-Ranges"] == "bytes" and answer.headers["Content-Type"] == "video/mp4"
        answer, body = ask(server, "/video/0", method="HEAD")
        assert (answer.status, body, answer.headers["Content-Length"]) == (200, b"", str(len(BODY)))


@pytest.mark.parametrize(
    ("asked", "status", "part"),
    [
        ("bytes=0-99", 206, slice(0, 100)),
        ("bytes=100-", 206, slice(100, None)),
        ("bytes=-7", 206, slice(-7, None)),
        ("bytes=5-5", 206, slice(5, 6)),
        ("bytes=10-999999999", 206, slice(10, None)),
        ("bytes=-999999999", 206, slice(0, None)),
        (f"bytes={len(BODY)}-", 416, None),
        ("bytes=9-3", 416, None),
        ("bytes=-0", 416, None),
        ("bytes=-", 200, slice(0, None)),
        ("bytes=0-1,5-6", 200, slice(0, None)),
        ("lines=1-2", 200, slice(0, None)),
    ],
)
def test_ranges(report, asked, status, part):
    with running(serve_report(report)) as server:
        answer, body = ask(server, "/video/0", Range=asked)
        assert answer.status == status
        if part is None:
            assert body == b"" and answer.headers["Content-Range"] == f"bytes */{len(BODY)}"
        else:
            assert body == BODY[part] and answer.headers["Content-Length"] == str(len(body))
        if status == 206:
            start = part.indices(len(BODY))[0]
            assert answer.headers["Content-Range"] == f"bytes {start}-{start + len(body) - 1}/{len(BODY)}"


@pytest.mark.parametrize(
    "path",
    [
        "/video/1",
        "/video/-1",
        "/video/0/",
        "/video/00000000000000000000",
        "/video/%D9%A0",  # a digit, but not ASCII
        "/video/../secret.txt",
        "/video/%2e%2e%2fsecret.txt",
        "/../secret.txt",
        "/secret.txt",
        "raw:/",
        "raw:/video/0",
        "raw://etc/passwd",
        "raw:/etc/passwd",
    ],
)
def test_nothing_else_is_served(report, path):
    with running(serve_report(report)) as server:
        answer, body = ask(server, path)
        assert (answer.status, body) == (404, b"")


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "", "127.0.0.1.evil.example", "[::1]"])
def test_foreign_host_names_are_refused(report, host):
    with running(serve_report(report)) as server:
        answer, body = ask(server, "/", Host=host)
        assert (answer.status, body) == (421, b"")
        assert ask(server, "/", Host="localhost:9000")[0].status == 200  # a forwarded port


def test_listens_on_loopback_only_and_says_when_a_port_is_taken(report):
    with running(serve_report(report)) as server:
        assert server.server_address[0] == "127.0.0.1"
        with pytest.raises(ViewError, match="--port 0"):
            serve_report(report, port=server.server_address[1])


def test_other_methods_are_refused(report):
    with running(serve_report(report)) as server:
        assert ask(server, "/", method="POST")[0].status == 501


def test_a_browser_that_leaves_early_does_no_harm(report, capfd):
    with running(serve_report(report)) as server:
        for _ in range(3):
            with socket.create_connection(server.server_address) as connection:
                connection.sendall(
                    f"GET /{server.secret}/video/0 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
                )
        assert ask(server, "/")[0].status == 200
    assert "Traceback" not in capfd.readouterr().err


def test_a_written_page_is_served_with_its_own_videos_only(report, tmp_path):
    path = write_report(report, tmp_path / "r.html")
    text = path.read_text()
    named = '"src":"v/video_00.mp4"'
    assert named in text
    with running(serve_page(path)) as server:
        assert server.videos == [tmp_path / "v" / "video_00.mp4"]
        assert ask(server, "/video/0", Range="bytes=0-3")[1] == BODY[:4]
        assert b'"src":"video/0"' in ask(server, "/")[1]
    for address in (
        "secret.txt",
        "http://evil.example/a.mp4",
        "//evil.example/a.mp4",
        "v",
        "x" * 9000,
        "a\0.mp4",
    ):
        path.write_text(text.replace(named, f'"src":{json.dumps(address)}'))
        server = serve_page(path)
        server.server_close()
        assert server.videos == []
    # foreign scripts of a page do not come through
    path.write_text(text.replace("</body>", "<script>steal()</script></body>"))
    with running(serve_page(path)) as server:
        assert b"steal()" not in ask(server, "/")[1]


@pytest.mark.parametrize(
    "content", ["", "<html>", '<script type="application/json" id="data">[1]</script>', b"\xff\xfe"]
)
def test_pages_of_others_are_refused(tmp_path, content):
    path = tmp_path / "page.html"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ViewError, match="longtal report"):
        serve_page(path)
    with pytest.raises(ViewError, match="cannot be read"):
        serve_page(tmp_path / "missing.html")


def test_the_command_serves_until_it_is_interrupted(report, tmp_path):
    path = write_report(report, tmp_path / "r.html")
    command = [sys.executable, "cli.py", "report", str(path), "--serve", "--no-open"]
    process = subprocess.Popen(
        command,
        cwd=Path(__file__).resolve().parents[3],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        # a shell's background jobs, and so some CI runners, have the signal ignored
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        line = process.stdout.readline()
        address = line.split()[0]
        assert address.startswith("http://127.0.0.1:") and "1 videos" in line
        with urllib.request.urlopen(address, timeout=30) as answer:
            assert answer.status == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
