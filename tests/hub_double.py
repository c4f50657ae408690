"""The Hugging Face hub as far as a model needs it, on loopback, with a wire that can be cut."""

import base64
import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import huggingface_hub.constants as constants

from tests.pipelines.running import running

TOKEN = "hf_double"


class Hub(ThreadingHTTPServer):
    """Repositories by name, each a list of commits (id, files); large files by their digest.

    ``cut_after`` bytes of a large file the wire is cut: once, or, where ``stays_cut``, until `mend`.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories, self.large, self.private = {}, {}, set()
        self.cut_after, self.is_cut, self.stays_cut = None, False, True
        self.log, self.sent, self.lock = [], 0, threading.Lock()

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}"

    def mend(self):
        self.cut_after, self.is_cut = None, False

    def cut(self):
        self.cut_after, self.is_cut = None, self.stays_cut

    def commit(self, repository, files):
        commits = self.repositories.setdefault(repository, [])
        text = json.dumps([len(commits), sorted(hashlib.sha1(v).hexdigest() for v in files.values())])
        commits.append((hashlib.sha1((repository + text).encode()).hexdigest(), dict(files)))
        return commits[-1][0]

    def files(self, repository, revision="main"):
        commits = self.repositories[repository]
        found = [c for c in commits if revision in (c[0], "main")]
        return found[-1]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self._resolve(head=True)

    def do_GET(self):
        path = unquote(urlsplit(self.path).path)
        if not path.startswith("/api/models/"):
            self._resolve(head=False)
            return
        name, _, revision = path.removeprefix("/api/models/").partition("/revision/")
        self.server.log.append(("info", name))
        if name not in self.server.repositories or not self._may_read(name):
            self._error(404, "RepoNotFound")
            return
        try:
            commit, files = self.server.files(name, revision or "main")
        except IndexError:
            self._error(404, "RevisionNotFound")
            return
        siblings = [{"rfilename": k, "size": len(v)} for k, v in files.items()]
        self._json({"id": name, "sha": commit, "siblings": siblings, "private": name in self.server.private})

    def do_POST(self):
        path = unquote(urlsplit(self.path).path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.log.append(("post", path))
        if path == "/api/validate-yaml":
            self._json({"errors": [], "warnings": []})
        elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._error(401, "")
        elif path == "/api/repos/create":
            self._create(json.loads(body))
        elif "/preupload/" in path:
            wanted = json.loads(body)["files"]
            mode = {f["path"]: "lfs" if f["path"].endswith(".safetensors") else "regular" for f in wanted}
            self._json(
                {"files": [{"path": k, "uploadMode": v, "shouldIgnore": False} for k, v in mode.items()]}
            )
        elif path.endswith("/info/lfs/objects/batch"):
            self._json({"objects": [self._upload_of(item) for item in json.loads(body)["objects"]]})
        elif "/commit/" in path:
            self._commit(path.removeprefix("/api/models/").partition("/commit/")[0], body)
        else:
            self._error(404, "EntryNotFound")

    def do_PUT(self):
        oid, total = self.path.rsplit("/", 1)[1], int(self.headers["Content-Length"])
        if self.server.is_cut:
            self.rfile.read(total)
            self._error(403, "")
            return
        limit = self.server.cut_after
        data = self.rfile.read(total if limit is None else min(limit, total))
        with self.server.lock:
            self.server.sent += len(data)
        if len(data) < total:
            self.server.cut()
            self.close_connection = True
            return
        assert hashlib.sha256(data).hexdigest() == oid
        self.server.large[oid] = data
        self._json({})

    def _create(self, request):
        name = f"{request['organization']}/{request['name']}"
        if request["organization"] != "user":
            self._error(403, "")
        elif name in self.server.repositories:
            self._json({"url": f"{self.server.address}/{name}"}, 409)
        else:
            self.server.commit(name, {".gitattributes": b""})
            if request.get("private") or request.get("visibility") == "private":
                self.server.private.add(name)
            self._json({"url": f"{self.server.address}/{name}"})

    def _upload_of(self, item):
        if item["oid"] in self.server.large:
            return item
        return {**item, "actions": {"upload": {"href": f"{self.server.address}/lfs/{item['oid']}"}}}

    def _commit(self, name, body):
        files = dict(self.server.files(name)[1])
        for line in body.decode().splitlines():
            item = json.loads(line)
            if item["key"] == "file":
                files[item["value"]["path"]] = base64.b64decode(item["value"]["content"])
            elif item["key"] == "lfsFile":
                files[item["value"]["path"]] = self.server.large[item["value"]["oid"]]
            elif item["key"] == "deletedFile":
                files.pop(item["value"]["path"])
        commit = self.server.commit(name, files)
        self._json({"success": True, "commitOid": commit, "commitUrl": f"{self.server.address}/{name}"})

    def _resolve(self, head):
        name, _, rest = unquote(urlsplit(self.path).path).strip("/").partition("/resolve/")
        revision, _, file = rest.partition("/")
        self.server.log.append(("head" if head else "get", file))
        if name not in self.server.repositories or self.server.is_cut or not self._may_read(name):
            self._error(403, "")
            return
        commit, files = self.server.files(name, revision)
        if file not in files:
            self._error(404, "EntryNotFound")
            return
        data, start = files[file], 0
        if (asked := self.headers.get("Range")) is not None:
            start = int(asked.removeprefix("bytes=").partition("-")[0])
            self.server.log.append(("from", file, start))
        self.send_response(206 if start else 200)
        self.send_header("X-Repo-Commit", commit)
        self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        self.send_header("Content-Length", str(len(data) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        if head:
            return
        limit = self.server.cut_after
        if limit is not None and file.endswith(".safetensors") and limit < len(data) - start:
            self.wfile.write(data[start : start + limit])
            self.wfile.flush()
            self.server.cut()
            self.close_connection = True
            return
        self.wfile.write(data[start:])

    def _may_read(self, name):
        return name not in self.server.private or self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def _error(self, status, code):
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _json(self, value, status=200):
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def hub_double(monkeypatch, folder):
    """A running `Hub` that huggingface_hub talks to, with a cache of its own in ``folder``."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    for name in ("HF_HUB_CACHE", "HF_TOKEN_PATH", "HF_STORED_TOKENS_PATH", "AGENT_HARNESSES_PATH"):
        monkeypatch.setattr(constants, name, str(folder / "hf" / name), raising=False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)  # what a cut leaves is whole chunks
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    quick = SimpleNamespace(sleep=lambda _: None, time=__import__("time").time)
    monkeypatch.setattr("huggingface_hub.file_download.time", quick)
    monkeypatch.setattr("huggingface_hub.utils._http.time", quick)
    with running(Hub()) as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.address)
        url = hub.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url)
        monkeypatch.setattr("huggingface_hub.file_download.HUGGINGFACE_CO_URL_TEMPLATE", url, raising=False)
        yield hub
