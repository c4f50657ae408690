"""Memory that is not enough: batches are halved, no run is lost; batches that pay are found by doubling."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipelines.budget import probe
from pipelines.train import train
from pipelines.train.step import TrainStep
from tal.device import AtOnce, best_size, out_of_memory
from tal.encoders import EncoderConfig, build_encoder, fastest_batch
from tal.encoders.stream import ClipEncoder
from tal.errors import DeviceMemoryError
from tal.grid import FeatureGrid
from tal.inference.localize import InferenceConfig, localize
from tal.localizer import Localizer, LocalizerConfig
from tests.pipelines.tiny_run import ENCODER, make_data, make_store, tiny_config
from tests.tal.encoders.late import Flight

CPU = torch.device("cpu")


@given(st.integers(0, 40), st.integers(1, 20), st.integers(1, 20))
def test_every_thing_goes_through_once_in_parts_that_fit(count, most, fits):
    at_once, tried = AtOnce(most, "things"), []

    def work(part):
        tried.append(part.stop - part.start)
        if tried[-1] > fits:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return list(range(count))[part]

    parts = at_once.run(count, work)
    assert [item for part in parts for item in part] == list(range(count))
    assert at_once.most <= most
    if count:
        assert min(fits, count, most) // 2 <= at_once.most <= max(fits, most)
    tried.clear()
    assert [item for part in at_once.run(count, work) for item in part] == list(range(count))
    assert all(size <= fits for size in tried)  # what did not fit once is not tried again


def test_one_thing_that_does_not_fit_is_an_error_that_says_what_to_do(said):
    def work(part):
        raise RuntimeError("MPS backend out of memory")

    with pytest.raises(DeviceMemoryError, match=r"one of the clips at once.*bf16"):
        AtOnce(4, "clips").run(4, work)
    assert [line for line in said if "going on with" in line] == [
        "out of memory with 4 clips at once: going on with 2",
        "out of memory with 2 clips at once: going on with 1",
    ]


def test_other_errors_are_not_taken_for_little_memory():
    def work(part):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    with pytest.raises(RuntimeError, match="illegal"):
        AtOnce(4, "clips").run(4, work)
    assert out_of_memory(MemoryError()) and not out_of_memory(ValueError("out of memory"))


@pytest.mark.parametrize(
    ("seconds_of", "size"),
    [
        (lambda n: 1.0, 64),  # launches are all that it costs: the larger the better
        (lambda n: n / 8, 8),  # the device is full from the start
        (lambda n: max(1.0, n / 24), 32),  # full at 24
        (lambda n: None if n > 16 else 1.0, 16),  # more do not fit
        (lambda n: None, 8),  # nor do these: encoding will halve them
    ],
)
def test_batches_are_doubled_as_long_as_it_pays(seconds_of, size):
    assert best_size(8, 100, seconds_of) == size


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("late", [False, True])
def test_an_encoder_short_of_memory_gives_all_rows(monkeypatch, said, late):
    encoder = build_encoder(EncoderConfig(**ENCODER))
    pictures = np.random.default_rng(0).integers(0, 256, (23, *encoder.clip_shape.shape), dtype=np.uint8)

    def rows(clips):
        found = [e for n in range(23) for e in clips.add("v", n, pictures[n])] + [*clips.flush()]
        assert [e.clip for e in found] == list(range(23))
        return np.stack([e.rows for e in found])

    wanted = rows(ClipEncoder(encoder, CPU, 8, "fp32"))
    encode = encoder.encode

    def short(frames):
        if len(frames) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return encode(frames)

    monkeypatch.setattr(encoder, "encode", short)
    clips = ClipEncoder(encoder, CPU, 8, "fp32")
    if late:
        Flight.of(clips, monkeypatch)
    np.testing.assert_allclose(rows(clips), wanted, rtol=1e-5, atol=1e-6)
    assert sum("going on with" in line for line in said) == 2  # 8, 4: then 2, of every later batch too


def test_a_cpu_keeps_its_batches():
    """Others would round differently, and be as fast."""
    encoder = build_encoder(EncoderConfig(**ENCODER))
    assert fastest_batch(encoder, CPU, "fp32") == 8  # of clips of 4 frames


def test_windows_that_do_not_fit_are_halved(monkeypatch):
    torch.manual_seed(0)
    decoder = {"name": "temporalmaxer", "embed_dim": 16, "head_dim": 16, "levels": 2, "min_score": 0.0}
    model = Localizer(LocalizerConfig(decoder=decoder), 6, 3).eval()
    rows = torch.randn(200, 6).numpy()
    config = InferenceConfig(window_rows=32, min_score=0.0)
    wanted = localize(model, rows, FeatureGrid(8.0, 4, 4), config, 100.0)
    forward = model.decoder.forward

    def short(features, mask):
        if len(features) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return forward(features, mask)

    monkeypatch.setattr(model.decoder, "forward", short)
    found = localize(model, rows, FeatureGrid(8.0, 4, 4), config, 100.0)
    assert len(found) == len(wanted) > 0
    np.testing.assert_allclose(found["score"], wanted["score"], rtol=1e-5)


def test_a_training_without_memory_says_what_would_fit(tmp_path: Path, monkeypatch):
    make_data(tmp_path, train=2, validation=1)
    make_store(tmp_path)

    def full(self, number, batches, meanwhile):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(TrainStep, "run", full)
    with pytest.raises(DeviceMemoryError, match=r"memory\.ratio.*longtal plan.*2 GiB"):
        train(tiny_config(tmp_path), tmp_path / "run")


def test_a_plan_counts_all_that_a_card_holds(monkeypatch):
    """What torch reserved at the peak, context and work space beside it, not other programs' gigabytes."""
    gb = 10**9
    card = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda _: 10 * gb)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 9 * gb)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (14 * gb, 24 * gb))
    assert probe.peak_bytes(card) == 11 * gb
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (1 * gb, 80 * gb))
    assert probe.peak_bytes(card) == 10 * gb + (2 << 30)
    assert math.isclose(probe.peak_bytes(CPU), probe.peak_memory_mib(CPU) * 2**20, rel_tol=0.1)
