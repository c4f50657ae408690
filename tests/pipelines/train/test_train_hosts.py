"""Two hosts with stores, videos and run folders of their own train one run; killed, it goes on to the bit."""

import numpy as np
import pytest

from featstore import FeatureStore, merge_stores
from pipelines.train import train
from pipelines.train.run_log import read_log
from tests.pipelines.tiny_run import losses, make_data, make_store, tiny_config
from tests.pipelines.train.test_train_accumulate import DECODERS
from tests.pipelines.train.two_hosts import make_hosts, train_on

pytestmark = pytest.mark.slow


def config_of(folder):
    return tiny_config(
        folder,
        localizer={"decoder": DECODERS["actionformer"]},
        memory={"sampler": "mixture"},
        train={"batch_size": 4, "epochs": 4, "checkpoint_every": 3},
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Folder in which one process trained (`one`), and two hosts did (`host0/run`, `host1/run`)."""
    folder = tmp_path_factory.mktemp("whole")
    make_data(folder)
    make_store(folder)
    train(config_of(folder), folder / "one")
    ended = train_on(*make_hosts(folder, config_of(folder)))
    assert [host.code for host in ended] == [0, 0], ended
    return folder


def test_two_hosts_have_the_losses_of_one_process(whole, tmp_path):
    one, two = (read_log(whole / run, "step") for run in ("one", "host0/run"))
    assert [r["step"] for r in one] == [r["step"] for r in two] == list(range(1, 9))
    for a, b in zip(one, two, strict=True):
        assert b["loss"] == pytest.approx(a["loss"], rel=2e-4)
        assert b["grad_norm"] == pytest.approx(a["grad_norm"], rel=2e-3)
        assert (b["fresh_rows"], b["stored_rows"]) == (a["fresh_rows"], a["stored_rows"])
    mAPs = [read_log(whole / run, "validation")[-1]["mAP"] for run in ("one", "host0/run")]
    assert mAPs[1] == pytest.approx(mAPs[0], abs=1e-3)
    assert not (whole / "host1" / "run" / "checkpoints").exists()

    merge_stores(tmp_path / "all.zarr", [whole / f"host{k}" / "run" / "memory.zarr" for k in range(2)])
    with (
        FeatureStore.open(whole / "one" / "memory.zarr") as first,
        FeatureStore.open(tmp_path / "all.zarr") as second,
    ):
        assert sorted(first.video_ids) == sorted(second.video_ids)
        assert first.generation == second.generation
        for video in first.video_ids:
            rows = first.video(video).num_rows
            steps = [store.ledger(video, 0, rows)["step"] for store in (first, second)]
            np.testing.assert_array_equal(*steps)
            assert abs(first.read(video, 0, rows) - second.read(video, 0, rows)).max() < 1e-2


def test_a_run_of_which_hosts_are_killed_goes_on_bit_for_bit(whole, tmp_path):
    """In mid-epoch, after the first host wrote a checkpoint that none committed, and between two commits."""
    make_data(tmp_path)
    make_store(tmp_path)
    hosts = make_hosts(tmp_path, config_of(tmp_path))
    resume = [["--resume", "--out", arguments[-1]] for arguments in hosts]
    deaths = ((1, "step", 6), (0, "checkpointed", 6), (1, "commit", 8))
    for arguments, dying in zip((hosts, resume, resume), deaths, strict=True):
        ended = train_on(*arguments, dying=dying)
        assert ended[dying[0]].code == -9 and ended[1 - dying[0]].code != 0, ended
    assert [host.code for host in train_on(*resume)] == [0, 0]
    assert losses(tmp_path / "host0" / "run") == losses(whole / "host0" / "run")
    for number in range(2):
        stores = [FeatureStore.open(f / f"host{number}" / "run" / "memory.zarr") for f in (whole, tmp_path)]
        for video in stores[0].video_ids:
            rows = stores[0].video(video).num_rows
            np.testing.assert_array_equal(*(store.read(video, 0, rows) for store in stores))
            np.testing.assert_array_equal(*(store.ledger(video, 0, rows)["step"] for store in stores))
