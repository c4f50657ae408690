"""A cluster of two nodes on this machine, of one core each, that listens on loopback."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.actors import cluster

ROOT = Path(__file__).resolve().parents[3]
# Before Ray is imported: see `pipelines.actors.cluster`. What runs in the nodes takes the code from here.
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "token",
    # Ray reads it once a process, which may have started a Ray of its own before, in a test elsewhere
    "RAY_AUTH_TOKEN": cluster._TOKEN,
    "PYTHONPATH": str(ROOT),
    "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
}


class Nodes:
    """The cluster; ``second`` is the node that may be killed."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        health = {"health_check_period_ms": 500, "health_check_failure_threshold": 4}
        head = {"num_cpus": 1, "num_gpus": 0, "include_dashboard": False, "_system_config": health}
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self.add_second()

    @property
    def address(self) -> str:
        return str(self._cluster.address)

    def add_second(self) -> None:
        self.second = self._cluster.add_node(num_cpus=1, num_gpus=0)
        self._cluster.wait_for_nodes()

    def kill_second(self) -> None:
        self._cluster.remove_node(self.second, allow_graceful=False)

    def close(self) -> None:
        self._cluster.shutdown()


@pytest.fixture(scope="package")
def nodes() -> Iterator[Nodes]:
    before = dict(os.environ)
    os.environ.update(ENVIRONMENT)
    ray = pytest.importorskip("ray")
    running = Nodes()
    try:
        ray.init(address=running.address, log_to_driver=False, logging_level="error")
        yield running
    finally:
        ray.shutdown()
        running.close()
        os.environ.clear()
        os.environ.update(before)
