"""A server that runs beside a test."""

from __future__ import annotations

import threading
from contextlib import contextmanager


@contextmanager
def running(server):
    """Serve until the block ends, then close."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
