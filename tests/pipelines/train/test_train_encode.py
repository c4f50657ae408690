"""Videos encoded during a run: rows that land late, and how processes share the work."""

from datetime import timedelta
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import pipelines.train.setup as setup
from featstore import FeatureStore
from pipelines.shared.run_folder import validation_predictions
from pipelines.train import encode, train
from pipelines.train.encode import loader_workers, share_by_duration
from tal.annotations import read_predictions
from tal.encoders.stream import ClipEncoder
from tal.grid import FeatureGrid
from tal.memory.sampler import TrainingVideo
from tests.pipelines.tiny_run import losses, make_data, make_store, tiny_config
from tests.tal.encoders.late import Flight


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    make_data(folder)
    make_store(folder)
    return folder


@pytest.mark.usefixtures("one_thread")
def test_rows_that_land_late_change_no_validation_and_no_memory(data, tmp_path, monkeypatch):
    """As on CUDA: the memory encoded anew and the validation videos, with batches in flight."""
    config = tiny_config(
        data, memory={"ratio": 0.5, "finetune_localizer_epochs": 1}, train={"epochs": 3, "workers": 0}
    )
    plain = train(config, tmp_path / "plain")
    flights = []

    def late(*arguments):
        flights.append(Flight.of(ClipEncoder(*arguments), monkeypatch))
        return flights[-1].clips

    monkeypatch.setattr(encode, "ClipEncoder", late)
    result = train(config, tmp_path / "late")
    assert len(flights) == 2 and all(len(flight.buffers) > 3 for flight in flights)
    assert losses(tmp_path / "late") == losses(tmp_path / "plain")
    found, wanted = (
        read_predictions(validation_predictions(tmp_path / name, run.step))
        for name, run in (("late", result), ("plain", plain))
    )
    assert len(wanted)
    pd.testing.assert_frame_equal(found, wanted)
    with (
        FeatureStore.open(tmp_path / "late" / "memory.zarr") as late_rows,
        FeatureStore.open(tmp_path / "plain" / "memory.zarr") as plain_rows,
    ):
        for name in plain_rows.video_ids:
            count = plain_rows.video(name).num_rows
            np.testing.assert_array_equal(late_rows.read(name, 0, count), plain_rows.read(name, 0, count))


@pytest.mark.usefixtures("one_thread")
def test_decoders_of_their_own_change_no_validation(data, tmp_path):
    found = []
    for workers in (0, 2):
        out = tmp_path / str(workers)
        result = train(tiny_config(data, train={"epochs": 1, "workers": workers}), out)
        found.append(read_predictions(validation_predictions(out, result.step)))
    assert len(found[0])
    pd.testing.assert_frame_equal(*found)


def _videos(seconds):
    grid, none = FeatureGrid(1.0, 1, 1), np.zeros(0)
    return [
        TrainingVideo(str(n), 1, 1.0, grid, none, none, duration_s=length) for n, length in enumerate(seconds)
    ]


@given(st.lists(st.floats(0.0, 1e5), max_size=40), st.integers(1, 9))
def test_each_process_gets_about_as_many_minutes(seconds, processes):
    videos = _videos(seconds)
    shares = share_by_duration(videos, processes)
    dealt = [video.id for share in shares for video in share]
    assert len(shares) == processes and sorted(dealt) == sorted(video.id for video in videos)
    loads = [sum(video.duration_s for video in share) for share in shares]
    # whoever has the most had the least when its last, shortest video came
    assert max(loads) - min(loads) <= max(seconds, default=0) + 1e-6
    for share in shares:
        assert [int(video.id) for video in share] == sorted(int(video.id) for video in share)


def test_one_long_video_is_not_dealt_by_count():
    shares = share_by_duration(_videos([10, 100, 10, 10, 10, 10]), 2)
    assert [[video.id for video in share] for share in shares] == [["1"], ["0", "2", "3", "4", "5"]]


def test_processes_wait_longer_than_a_validation_takes(data, monkeypatch):
    """Ten minutes, torch's limit for GPUs, are less than a validation or the copy of a large store."""
    given_ = []
    real = setup.Accelerator
    monkeypatch.setattr(
        setup, "Accelerator", lambda **how: (given_.extend(how["kwargs_handlers"]), real(**how))[1]
    )
    setup.build_accelerator(tiny_config(data))
    (timeout,) = [handler.timeout for handler in given_ if hasattr(handler, "timeout")]
    assert timeout >= timedelta(hours=6)


def test_loader_workers_are_given_or_the_share_of_the_cores(data, monkeypatch):
    monkeypatch.setattr("tal.encoders.whole.usable_cores", lambda: 16)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    card = SimpleNamespace(device=torch.device("cuda"), num_processes=2)
    host = SimpleNamespace(device=torch.device("cpu"), num_processes=2)
    auto = tiny_config(data)
    assert auto.train.workers == -1
    assert loader_workers(auto, host) == 0 and loader_workers(auto, card) == 8
    assert loader_workers(tiny_config(data, train={"workers": 3}), host) == 3
    # two machines of four processes each: the cores here are those of four
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    card.num_processes = 8
    assert loader_workers(auto, card) == 4
