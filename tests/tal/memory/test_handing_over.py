"""Batches between loader workers and the training process, with and without shared memory."""

import pickle

import pytest
import torch

from tal.memory import handing_over
from tal.memory.clip_loader import Batch
from tal.memory.handing_over import PipedBatch, Receiver, hand_over
from tal.memory.mixing import ClipPlaces
from tal.memory.network import ClipFrames


def a_batch(clean=True):
    pictures = torch.arange(2 * 3 * 4 * 4 * 3, dtype=torch.int32).to(torch.uint8).reshape(2, 3, 4, 4, 3)
    places = ClipPlaces(torch.tensor([0, 1]), torch.tensor([4, 8]))
    learn = torch.tensor([True, False])
    return Batch([], ClipFrames(pictures, places, learn, pictures.flip(0) if clean else None), 0.5)


def tensors_of(batch):
    clips = batch.clips
    return [clips.frames, clips.places.sample, clips.places.position, clips.learn, clips.clean]


@pytest.fixture
def in_a_worker(monkeypatch):
    monkeypatch.setattr(handing_over, "get_worker_info", lambda: object())


def full(self):
    raise RuntimeError("unable to allocate shared memory(shm): No space left on device (28)")


def test_all_of_a_batch_is_in_shared_memory(in_a_worker):
    handed = hand_over(a_batch())
    assert isinstance(handed, Batch) and all(tensor.is_shared() for tensor in tensors_of(handed))
    assert hand_over(a_batch(clean=False)).clips.clean is None
    without = Batch([], None, 0.0, "v.mp4: cannot be decoded")
    assert hand_over(without) is without


def test_in_the_training_process_itself_nothing_moves():
    handed = hand_over(a_batch())
    assert isinstance(handed, Batch) and not any(tensor.is_shared() for tensor in tensors_of(handed))


def test_without_shared_memory_a_batch_arrives_through_the_pipe(in_a_worker, monkeypatch, said):
    monkeypatch.setattr(torch.Tensor, "share_memory_", full)
    handed = hand_over(a_batch())
    assert isinstance(handed, PipedBatch)
    receiver = Receiver()
    for _ in range(2):
        taken = receiver.take(pickle.loads(pickle.dumps(handed)))
        assert taken.decode_s == 0.5
        for found, expected in zip(tensors_of(taken), tensors_of(a_batch()), strict=True):
            assert torch.equal(found, expected)
    assert len(said) == 1 and "no shared memory for a batch" in said[0] and "train.workers" in said[0]


def test_a_batch_that_was_shared_is_taken_as_it_is(said):
    batch = a_batch()
    assert Receiver().take(batch) is batch and said == []
