"""Batches in flight: what CUDA does, acted out on the CPU. Rows arrive when their event is waited for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tal.encoders import Encoder, EncoderConfig, build_encoder
from tal.encoders.stream import ClipEncoder, EncodedClip
from tests.tal.encoders.late import GPU, Flight

_BATCH = 3
_CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    config = EncoderConfig(name="timm:test_resnet", clip_frames=4, frame_stride=2, size=40, crop=32)
    return build_encoder(config, seed=0)


def _encode(clips: ClipEncoder, count: int) -> list[EncodedClip]:
    pictures = np.random.default_rng(0).integers(0, 256, (count, 4, 32, 32, 3), dtype=np.uint8)
    found = [encoded for clip in range(count) for encoded in clips.add("video", clip, pictures[clip])]
    return [*found, *clips.flush()]


def _late(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> Flight:
    """A `ClipEncoder` that believes to be on the second GPU, and computes on the CPU."""
    return Flight.of(ClipEncoder(encoder, _CPU, _BATCH, "fp32"), monkeypatch)


@pytest.mark.usefixtures("one_thread")
def test_late_rows_equal_those_of_the_cpu(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    count = 5 * _BATCH + 1
    wanted = _encode(ClipEncoder(encoder, _CPU, _BATCH, "fp32"), count)
    flight = _late(encoder, monkeypatch)
    found = _encode(flight.clips, count)
    assert [(e.key, e.clip) for e in found] == [("video", clip) for clip in range(count)]
    for ours, theirs in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(ours.rows, theirs.rows)

    # a batch lands when the next one is queued, so that the device always has work
    between = [step for n in range(1, 6) for step in (f"launch {n}", f"land {n - 1}")]
    assert flight.log == ["launch 0", *between, "land 5"]
    first, second = flight.buffers[:2]
    assert first != second and flight.buffers == [first, second] * 3
    assert flight.streams == [("stream", GPU)] * 6


@pytest.mark.usefixtures("one_thread")
def test_late_rows_after_a_flush(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """All buffers are free again: a stream may be used twice, as the benchmark does."""
    flight = _late(encoder, monkeypatch)
    first, second = _encode(flight.clips, 2 * _BATCH), _encode(flight.clips, _BATCH + 2)
    for ours, theirs in zip(second, first, strict=False):
        assert ours.clip == theirs.clip
        np.testing.assert_array_equal(ours.rows, theirs.rows)
    assert len(second) == _BATCH + 2 and flight.log[-1] == "land 3"


def test_on_a_cpu_rows_come_at_once(encoder: Encoder) -> None:
    clips = ClipEncoder(encoder, _CPU, 1, "fp32")
    assert not clips.late
    picture = np.zeros((4, 32, 32, 3), np.uint8)
    assert [[e.clip for e in clips.add("video", clip, picture)] for clip in range(3)] == [[0], [1], [2]]
