"""An S3 server on loopback, and a wire to it that can be cut."""

import contextlib
import os
import socket
import threading

import pytest

KEYS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_MAX_ATTEMPTS": "1",  # s3fs tries again by itself
    "AWS_EC2_METADATA_DISABLED": "true",
}


class Wire:
    """A relay to a server: after `cut_after` bytes every connection ends, and none is made until `mend`."""

    def __init__(self, port):
        self._server_port = port
        self._left = None
        self._pairs = set()
        self._guard = threading.Lock()
        self.cuts = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_after(self, num_bytes):
        with self._guard:
            self._left = num_bytes

    def mend(self):
        with self._guard:
            self._left = None

    def close(self):
        self._listener.close()

    def _accept(self):
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self._left is not None and self._left <= 0:
                near.close()
                continue
            far = socket.create_connection(("127.0.0.1", self._server_port))
            with self._guard:
                self._pairs.add((near, far))
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._relay, args=(one, other), daemon=True).start()

    def _relay(self, source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 14):
                target.sendall(data[: self._allowed(len(data))])
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _allowed(self, num_bytes):
        """How many bytes may pass; at the last of them all connections end."""
        with self._guard:
            if self._left is None:
                return num_bytes
            passed = min(num_bytes, max(0, self._left))
            self._left -= num_bytes
            if self._left <= 0:
                self.cuts += 1
                for pair in self._pairs:
                    for end in pair:
                        with contextlib.suppress(OSError):
                            end.shutdown(socket.SHUT_RDWR)
                self._pairs.clear()
            return passed


@contextlib.contextmanager
def running_bucket(name="bucket"):
    """A bucket of moto's S3 behind a `Wire`, named by the environment as AWS's tools take it."""
    s3fs = pytest.importorskip("s3fs")
    server_kind = pytest.importorskip("moto.server").ThreadedMotoServer
    server = server_kind(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    wire = Wire(server.get_host_and_port()[1])
    with pytest.MonkeyPatch.context() as patch:
        for key in [key for key in os.environ if key.startswith("AWS_")]:
            patch.delenv(key)
        for key, value in {**KEYS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{wire.port}"}.items():
            patch.setenv(key, value)
        s3fs.S3FileSystem.clear_instance_cache()
        try:
            s3fs.S3FileSystem().mkdir(name)
            yield wire
        finally:
            s3fs.S3FileSystem.clear_instance_cache()
            wire.close()
            server.stop()
