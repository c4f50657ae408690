"""Two hosts on this machine: two agents with a process each, with folders of their own, on the loopback."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from featstore import FeatureStore
from pipelines.config import RunConfig, save_resolved
from pipelines.train.split import split_by_slots

ROOT = Path(__file__).resolve().parents[3]
HERE = "tests/pipelines/train"
_PATIENCE_S = 240


@dataclass(frozen=True)
class Ended:
    """How an agent ended: its return code, and the last of what it and its process said."""

    code: int
    said: str


def make_hosts(folder: Path, config: RunConfig) -> list[list[str]]:
    """Of each host, the arguments of `longtal train` for its own store, videos and run folder."""
    path = save_resolved(config, folder, "run.yaml")
    arguments = []
    parts = split_by_slots(Path(config.data.store), config, 2, folder / "parts")
    for number, part in enumerate(parts):
        host = folder / f"host{number}"
        (host / "videos").mkdir(parents=True)
        with FeatureStore.open(part.store) as store:
            for name in store.video_ids:
                shutil.copy(Path(config.data.videos) / f"{name}.mp4", host / "videos")
        shutil.move(part.store, host / "store.zarr")
        sets = ["--set", f"data.store={host}/store.zarr", "--set", f"data.videos={host}/videos"]
        arguments.append(["--config", str(path), *sets, "--out", str(host / "run")])
    return arguments


def train_on(*hosts: list[str], dying: tuple[int, str, int] | None = None) -> list[Ended]:
    """`longtal train` on each host; ``dying`` (`dying.py`): which one dies, where, from which step on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    program = ["cli.py", "train"]
    if dying is not None:
        program = [f"{HERE}/dying.py", *map(str, dying)]
    agents = [_agent(number, port, [*program, *arguments]) for number, arguments in enumerate(hosts)]
    ended = []
    try:
        for agent in agents:
            _, said = agent.communicate(timeout=_PATIENCE_S)
            ended.append(Ended(agent.returncode, said[-4000:]))
    finally:
        for agent in agents:
            if agent.poll() is None:
                os.killpg(agent.pid, signal.SIGKILL)
    return ended


def _agent(number: int, port: int, program: list[str]) -> subprocess.Popen[str]:
    rendezvous = ["--nnodes", "2", "--node-rank", str(number), "--nproc-per-node", "1"]
    rendezvous += ["--master-addr", "127.0.0.1", "--master-port", str(port)]
    env = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, f"{HERE}/agent.py", *rendezvous, *program],
        cwd=ROOT,
        env=os.environ | env | {"GLOO_SOCKET_IFNAME": "lo"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
