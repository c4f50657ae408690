"""Where actors run: a Ray of this machine's own, closed to everybody else, or a cluster that is there.

Whoever reaches a port of Ray can run code there. So a Ray of our own listens on loopback alone, asks for a
token that this process and its children have, and keeps its sockets in a folder that only this user enters.
"""

from __future__ import annotations

import io
import logging
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from pipelines.actors.actor import PIECE_BYTES
from pipelines.actors.errors import ClusterError
from pipelines.actors.options import Actors
from pipelines.shared import console
from tal.errors import ConfigError
from tal.shared.cores import usable_cores

# Pieces of an actor that are under way at once, see `loop`; and what Ray asks for at least.
PIECES = 2
_LEAST_STORE_BYTES = 128 << 20
_MOST_DECODERS = 8
_LONGEST_FOLDER = 24
_ANSWER_S = 10.0
# Ray reads it once a process, even when another cluster is started later.
_TOKEN = secrets.token_hex(32)


@dataclass(frozen=True)
class Cluster:
    """Who works there.

    Attributes
    ----------
    count
        actors.
    gpus
        GPUs of each, 0 or 1.
    cores
        of each, where all the cluster's cores are shared out.
    video_timeout_s
        as in `Actors`.
    """

    count: int
    gpus: int
    cores: int
    video_timeout_s: float | None = None

    @property
    def decoders(self) -> int:
        """Decoding processes of an actor, where nobody says how many: a core is the encoder's."""
        return max(1, min(_MOST_DECODERS, self.cores - 1))


@contextmanager
def connected(actors: Actors, device: str) -> Iterator[Cluster]:
    """Connect to the cluster, or start one; it is let go of, or ends, with the context.

    A Ray that this process is connected to already is used as it is.

    Parameters
    ----------
    device
        that an actor computes on: auto takes a GPU where the cluster has some.

    Raises
    ------
    ConfigError
        Ray is not installed, or more actors are asked for than there are GPUs, or none and there is no GPU.
    ClusterError
        there is no cluster.
    """
    require_ray()
    with _environment({"RAY_USAGE_STATS_ENABLED": "0"}):
        if actors.address != "local":
            opened = _joined(actors.address)
        else:
            opened = _started(actors)
        # Ray prints what its cluster says to stdout, which is for results
        with redirect_stdout(_ToLog()), opened as ray:
            yield _share(ray.cluster_resources(), actors, device)


def require_ray() -> None:
    """ConfigError where Ray is not installed."""
    if find_spec("ray") is None:
        raise ConfigError("--ray: Ray is not installed here: pip install 'longtal[ray]'")


def _share(resources: Mapping[str, float], actors: Actors, device: str) -> Cluster:
    gpus = 0 if device == "cpu" else int(resources.get("GPU", 0))
    count = actors.count or gpus
    if not count:
        raise ConfigError("there is no GPU to give an actor: say how many shall work on CPUs, --actors N")
    if gpus and count > gpus:
        raise ConfigError(f"--actors {count}: an actor needs a GPU of its own, and there are {gpus}")
    cores = max(1, int(resources.get("CPU", 1)) // count)
    return Cluster(count, min(gpus, 1), cores, actors.video_timeout_s)


@contextmanager
def _joined(address: str) -> Iterator[Any]:
    import ray

    if ray.is_initialized():
        yield ray
        return
    try:
        if address != "auto":  # Ray itself would try for minutes
            host, _, port = address.rpartition(":")
            socket.create_connection((host, int(port)), timeout=_ANSWER_S).close()
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: another version, or token
        reason = str(error).strip().split("\n")[0]
        raise ClusterError(
            f"--ray {address}: no cluster to work on ({reason}): start one (ray start --head), or --ray local"
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


@contextmanager
def _started(actors: Actors) -> Iterator[Any]:
    # what Ray calls Windows or OSX is a machine of its own: its address is 127.0.0.1 then, and what listens
    # there listens nowhere else
    values = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token"}
    with _environment({**values, "RAY_AUTH_TOKEN": _TOKEN}):
        import ray

        if ray.is_initialized():
            yield ray
            return
        console.log.info("starting Ray on this machine")
        # sockets are made far below this folder, and the names of sockets have to be short
        short = len(tempfile.gettempdir()) < _LONGEST_FOLDER
        folder = tempfile.mkdtemp(prefix="longtal-ray-", dir=None if short else "/tmp")
        try:
            ray.init(
                address="local",
                num_cpus=max(actors.count, usable_cores()),
                include_dashboard=False,
                object_store_memory=max(_LEAST_STORE_BYTES, 4 * PIECES * PIECE_BYTES * actors.count),
                _temp_dir=folder,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
            if not all(node["NodeManagerAddress"].startswith("127.") for node in ray.nodes()):
                raise ClusterError(
                    "Ray was imported before and listens on all addresses: import it after longtal, or "
                    "connect to a cluster of your own, --ray auto"
                )
            yield ray
        finally:
            ray.shutdown()
            shutil.rmtree(folder, ignore_errors=True)  # its processes may write their last lines meanwhile


class _ToLog(io.TextIOBase):
    """A stream whose lines go to the log; a user who asks for no details is told by `loop` alone."""

    def write(self, text: str) -> int:
        if text.strip():
            console.log.debug("%s", text.strip())
        return len(text)


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Variables that processes started meanwhile see, where the user has not set them."""
    new = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(new)
    try:
        yield
    finally:
        for name in new:
            del os.environ[name]
