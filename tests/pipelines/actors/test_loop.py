"""Actors share the videos, each video once; one that dies costs nothing but time."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from pipelines.actors import Actors
from pipelines.actors.actor import PIECE_BYTES, Setting, WorkActor
from pipelines.actors.cluster import PIECES, Cluster, connected
from pipelines.actors.errors import ActorError, ClusterError
from pipelines.actors.loop import run_on_actors
from pipelines.config import ConfigError
from tal.errors import WeightsError
from tests.pipelines.actors.conftest import Nodes
from tests.pipelines.actors.works import Counted, noted, tasks_named

TWO = Cluster(count=2, gpus=0, cores=1)


def run(work: Counted, *names: str, cluster: Cluster = TWO) -> list[tuple[Any, ...]]:
    return [value[:2] for value in run_on_actors(cluster, work, tasks_named(*names))]


def of_video(values: list[tuple[Any, ...]], name: str) -> list[Any]:
    return [value for key, value in values if key == name]


def test_each_video_once_and_in_order(nodes: Nodes, tmp_path: Path) -> None:
    names = [f"v{i}" for i in range(60)]
    values = run(Counted(tmp_path, seconds=0.05), *names)
    for name in names:
        assert of_video(values, name) == [0, 1, 2, "end"]
    assert len(list(tmp_path.iterdir())) == 2, "both had some"


def test_a_video_that_kills_its_actor_three_times_has_failed(
    nodes: Nodes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = ["a", "b", "deadly", *(f"v{i}" for i in range(20))]
    values = run(Counted(tmp_path, at_once=4), *names)
    (reason,) = [end for end in of_video(values, "deadly") if end != 0]
    assert "deadly: 3 actors died on it" in reason and "worker process has died" in reason
    begun = Counter(line.split()[0] for line in noted(tmp_path) if line != ".")
    assert begun["deadly"] == 3
    for name in names:
        if name != "deadly":
            assert (
                of_video(values, name)[-4:] == [0, 1, 2, "end"] and of_video(values, name).count("end") == 1
            )
            assert begun[name] <= 2, "who was beside it is done again once"
    assert caplog.text.count("an actor died and is replaced") == 3


def test_a_video_that_takes_too_long_has_failed(nodes: Nodes, tmp_path: Path) -> None:
    cluster = Cluster(count=2, gpus=0, cores=1, video_timeout_s=2.0)
    values = run(Counted(tmp_path), "endless", *(f"v{i}" for i in range(6)), cluster=cluster)
    assert of_video(values, "endless") == ["endless: not through after 2 s (--video-timeout)"]
    for i in range(6):
        assert of_video(values, f"v{i}") == [0, 1, 2, "end"]


def test_errors_of_the_work_end_it(nodes: Nodes, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="they do not fit"):
        run(Counted(tmp_path), "a", "wrong")
    assert sum(line.startswith("wrong") for line in noted(tmp_path)) == 1, "they are not tried again"


def test_actors_that_die_before_they_begin_end_it(nodes: Nodes, tmp_path: Path) -> None:
    with pytest.raises(ActorError, match="3 actors died before they had begun"):
        run(Counted(tmp_path, dies_at_birth=True), "a", "b")


def test_what_is_under_way_is_bounded(nodes: Nodes, tmp_path: Path) -> None:
    """While nobody takes what they bring, actors stop at so many pieces, of a message more than they hold."""
    size = 1 << 20
    work = Counted(tmp_path, steps=200, size=size)
    stream = run_on_actors(TWO, work, tasks_named("a", "b"))
    next(stream)
    time.sleep(3.0)
    made = size * noted(tmp_path).count(".")
    stream.close()
    assert made <= TWO.count * (PIECES + 1) * (PIECE_BYTES + size)


def test_rows_that_a_dead_node_held_are_made_again(nodes: Nodes, tmp_path: Path) -> None:
    """They are large enough to lie in the node until they are fetched."""
    work = Counted(tmp_path, steps=20, size=1 << 20, seconds=0.02)
    names = [f"v{i}" for i in range(12)]
    values: list[tuple[Any, ...]] = []
    with closing(run_on_actors(TWO, work, tasks_named(*names))) as stream:
        for key, step, _ in stream:
            values.append((key, step))
            if len(values) == 60:
                nodes.kill_second()
    nodes.add_second()
    for name in names:
        told = of_video(values, name)
        assert told[-21:] == [*range(20), "end"] and told.count("end") == 1


def test_an_actor_needs_the_same_longtal_and_the_same_folders(tmp_path: Path) -> None:
    work = Counted(tmp_path)
    with pytest.raises(ActorError, match="every machine of the cluster needs the same"):
        WorkActor(work, Setting(tmp_path, "0.0")).begin()
    with pytest.raises(ActorError, match=r"does not see .*nowhere"):
        WorkActor(work, Setting(tmp_path / "nowhere", version("longtal"))).begin()


def test_who_works_must_be_said_where_there_is_no_gpu(nodes: Nodes) -> None:
    with pytest.raises(ConfigError, match="--actors N"), connected(Actors("auto"), "auto"):
        raise AssertionError("nobody works")
    with connected(Actors("auto", 2, 5.0), "auto") as cluster:
        assert (cluster.count, cluster.gpus, cluster.decoders) == (2, 0, 1) and cluster.video_timeout_s == 5.0


def test_where_no_cluster_is_it_is_said_at_once(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    nowhere = connected(Actors("127.0.0.1:9", 1), "cpu")
    with pytest.raises(ClusterError, match="no cluster to work on"), nowhere:
        raise AssertionError("nobody is there")


@pytest.mark.parametrize(
    "wrong", [{"address": "x"}, {"count": -1}, {"address": "ray://h:1"}, {"video_timeout_s": 0}]
)
def test_wrong_options_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="--"):
        Actors(**wrong)
