"""Annotations by URL: every command that takes a file takes one, and believes it no more."""

import http.server
import json
import logging

import fsspec
import pytest

from featstore import StoreTransferError, StoreValueError, remote
from pipelines.config import DataConfig, load_config, parse_config, save_resolved
from pipelines.data.run_annotations import read_run_annotations
from pipelines.shared.fetched import file_here
from tal.errors import AnnotationError
from tests.featstore.bucket import running_bucket
from tests.pipelines.running import running
from tests.pipelines.store.test_store_cli import run

DATABASE = {
    name: {"subset": subset, "duration": 9.0, "annotations": [{"label": "up", "segment": [1.0, 2.0]}]}
    for name, subset in (("a", "training"), ("b", "validation"))
}
TEXT = json.dumps({"version": "1", "taxonomy": [], "database": DATABASE}).encode()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LONGTAL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def url():
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/notes/anno.json", TEXT)
    yield "memory://notes/anno.json"
    memory.rm("/notes", recursive=True)


def test_a_path_is_a_path(tmp_path, cache):
    assert file_here("a/b.json").as_posix() == "a/b.json" and not cache.exists()


def test_it_is_fetched_anew_each_time(url, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("longtal"), "propagate", True)
    with caplog.at_level(logging.INFO, "longtal"):
        here = file_here(url)
    assert here.name == "anno.json" and here.read_bytes() == TEXT and str(here) in caplog.text
    fsspec.filesystem("memory").pipe_file("/notes/anno.json", b"{}")
    assert file_here(url) == here and here.read_bytes() == b"{}"


def test_a_run_and_its_configuration(url, tmp_path):
    annotations = read_run_annotations(DataConfig(annotations=url))
    assert (annotations.train_subset, len(annotations.whole.videos)) == ("training", 2)
    save_resolved(parse_config({"data": {"annotations": url}}), tmp_path)
    assert load_config(tmp_path / "config.yaml").data.annotations == url


@pytest.mark.parametrize(
    "words",
    [
        ("annotations", "show", "URL"),
        ("check", "--annotations", "URL"),
        ("evaluate", "--annotations", "URL", "--subset", "validation", "-p", "found.json"),
    ],
    ids=lambda words: words[0],
)
def test_commands(words, url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    detections = {"b": [{"label": "up", "score": 0.9, "segment": [1.0, 2.0]}]}
    (tmp_path / "found.json").write_text(json.dumps({"results": detections}))
    (tmp_path / "anno.json").write_bytes(TEXT)
    by_url = run(*(url if word == "URL" else word for word in words))
    by_path = run(*("anno.json" if word == "URL" else word for word in words))
    assert (isinstance(by_url, str) and "up" in by_url) or "1" in by_url
    assert len(by_url.splitlines()) >= len(by_path.splitlines())


def test_what_it_holds_is_not_believed(url):
    fsspec.filesystem("memory").pipe_file("/notes/anno.json", b"\x80\x04pickled")
    with pytest.raises(AnnotationError):
        read_run_annotations(DataConfig(annotations=url))
    with pytest.raises(StoreValueError, match="more than"):
        file_here(url, most=4)


@pytest.mark.parametrize(
    "name", ["http://127.0.0.1/a.json", "ftp://h/a", "simplecache::s3://b/a", "zip://a::s3://b/c"]
)
def test_other_kinds_of_url_are_refused(name):
    with pytest.raises(StoreValueError, match="https://"):
        file_here(name)


def test_nothing_there(url):
    with pytest.raises(StoreTransferError, match="run the same command again"):
        file_here(url + "l")


@pytest.mark.parametrize("name", ["memory://notes/..", "memory://notes/.x?y=/../z", "memory://notes/%2e%2e"])
def test_a_name_stays_in_its_folder(name, cache, monkeypatch):
    monkeypatch.setattr("pipelines.shared.fetched.read_url", lambda url, most: b"x")
    here = file_here(name)
    assert here.resolve().is_relative_to(cache.resolve()) and not here.name.startswith(".")


class Endless(http.server.BaseHTTPRequestHandler):
    """Answers /whole with the annotations, /endless without an end and without saying how much comes."""

    def do_GET(self):
        self.send_response(200 if self.path != "/gone" else 404)
        self.end_headers()
        if self.path == "/whole":
            self.wfile.write(TEXT)
        while self.path == "/endless":
            try:
                self.wfile.write(bytes(1 << 16))
            except OSError:
                return

    def log_message(self, *_):
        pass


def test_the_web_is_read_up_to_a_limit(monkeypatch):
    """By plain http on loopback, which is refused otherwise: what is read, and how much, is the same."""
    pytest.importorskip("aiohttp")
    monkeypatch.setattr(remote, "_WEB", "http")
    with running(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endless)) as server:
        base = f"http://127.0.0.1:{server.server_address[1]}"
        assert file_here(f"{base}/whole").read_bytes() == TEXT
        with pytest.raises(StoreTransferError):
            file_here(f"{base}/gone")
        with pytest.raises(StoreValueError, match="more than 2 MiB"):
            file_here(f"{base}/endless", most=2 << 20)


def test_a_file_in_a_bucket():
    with running_bucket("notes") as wire:
        fsspec.filesystem("s3").pipe_file("notes/anno.json", TEXT)
        assert file_here("s3://notes/anno.json").read_bytes() == TEXT
        wire.cut_after(100)
        with pytest.raises(StoreTransferError):
            file_here("s3://notes/anno.json")
