"""Optimizer groups, schedules, averages, augmentation, write-back, log: each against its definition."""

import json
import math
import threading

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from pipelines.config import OptimConfig
from pipelines.train.checkpoint import TrainState, choose_checkpoint, prune, save_checkpoint
from pipelines.train.ema import WeightAverage
from pipelines.train.optim import build_optimizer, load_optimizer, lr_factor, parameter_groups, set_lr
from pipelines.train.run_log import RunLog, read_log
from tal.encoders.preprocess import Preprocess
from tal.errors import CheckpointError
from tal.memory.augment import AugmentConfig, Draw, apply_augmentation, draw_augmentation
from tal.memory.writeback import RowsToWrite, WriteBack


def network():
    model = nn.Module()
    model.encoder = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    model.localizer = nn.Sequential(nn.Conv1d(4, 4, 3), nn.LayerNorm(4), nn.Linear(4, 2))
    model.localizer.scale = nn.Parameter(torch.ones(1, 4, 1))
    return model


def test_groups_hold_every_parameter_once_and_only_weights_decay():
    model = network()
    groups = {g["name"]: g for g in parameter_groups(model, OptimConfig(lr=0.1, encoder_lr_multiplier=0.4))}
    assert sum(len(g["params"]) for g in groups.values()) == len(list(model.parameters()))
    assert groups["encoder"]["lr"] == pytest.approx(0.04) and groups["localizer"]["lr"] == 0.1
    assert [p.dim() for p in groups["localizer"]["params"]] == [3, 2]
    assert all(g["weight_decay"] == 0 for name, g in groups.items() if "no decay" in name)
    model.encoder.requires_grad_(False)
    assert {g["name"] for g in parameter_groups(model, OptimConfig())} == {"localizer", "localizer, no decay"}
    optimizer = build_optimizer(model, OptimConfig(name="sgd", lr=0.1))
    set_lr(optimizer, 0.5)
    assert {g["lr"] for g in optimizer.param_groups} == {0.05}


def test_schedules_of_both_papers():
    cosine = OptimConfig(warmup_epochs=2, min_lr_factor=0.1)
    rate = [lr_factor(s, 10, 12, cosine) for s in range(120)]
    assert rate[0] == 0 and rate[10] == 0.5 and rate[20] == 1
    np.testing.assert_allclose(rate[70], 0.1 + 0.9 * 0.5, atol=1e-9)
    assert rate[119] == pytest.approx(0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * 99 / 100)))
    # TALLFormer on THUMOS: linear warm-up from .1, cosine restarts every 100 epochs, floor .01
    restarts = OptimConfig(
        schedule="cosine_restarts", warmup_epochs=5, warmup_factor=0.1, restart_epochs=100, min_lr_factor=0.01
    )
    assert lr_factor(0, 10, 1000, restarts) == 0.1
    assert lr_factor(1000, 10, 1000, restarts) == 1 and lr_factor(999, 10, 1000, restarts) < 0.011
    # and on ActivityNet: x 0.1 at epochs 8 and 10
    steps = OptimConfig(schedule="multistep", warmup_epochs=0, milestones=(8, 10))
    assert [round(lr_factor(s, 4, 12, steps), 6) for s in (0, 31, 32, 39, 40)] == [1, 1, 0.1, 0.1, 0.01]
    assert lr_factor(50, 10, 10, OptimConfig(schedule="constant")) == 1


def test_average_follows_its_rule_and_is_only_lent():
    model = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        model.weight.fill_(0.0)
    average, expected = WeightAverage(model, 0.5), 0.0
    for step in range(1, 6):
        with torch.no_grad():
            model.weight.fill_(float(step))
        average.update(model, step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    with average.applied(model):
        assert float(model.weight.detach()) == pytest.approx(expected)
    assert float(model.weight.detach()) == 5.0


def test_augmentation_is_one_draw_and_its_neutral_draw_is_the_centre():
    frames = np.arange(2 * 8 * 10 * 3, dtype=np.uint8).reshape(2, 8, 10, 3)
    same = apply_augmentation(frames, 6, Draw())
    assert np.array_equal(same.numpy(), frames[:, 1:7, 2:8])
    odd = apply_augmentation(frames, 5, Draw())  # as extraction rounds
    assert np.array_equal(odd.numpy(), Preprocess(8, 5, (0.5,) * 3, (0.5,) * 3).center(frames).numpy())
    flipped = apply_augmentation(frames, 6, Draw(flip=True))
    assert np.array_equal(flipped.numpy(), frames[:, 1:7, 2:8][:, :, ::-1])
    corners = {
        (d.top, d.left)
        for d in (draw_augmentation(np.random.default_rng(s), AugmentConfig()) for s in range(9))
    }
    assert len(corners) == 9
    # a colour map of the identity, and turning by a right angle
    neutral = Draw(colour=(np.eye(3), np.zeros(3)))
    assert np.array_equal(apply_augmentation(frames, 6, neutral).numpy(), same.numpy())
    turned = apply_augmentation(frames, 6, Draw(angle_deg=90.0)).numpy()
    assert np.array_equal(turned, np.rot90(same.numpy(), axes=(1, 2))) or np.array_equal(
        turned, np.rot90(same.numpy(), -1, axes=(1, 2))
    )
    everything = AugmentConfig(rotation=1.0, photometric=1.0, channel_shuffle=1.0)
    a, b = (draw_augmentation(np.random.default_rng(7), everything) for _ in range(2))
    assert torch.equal(apply_augmentation(frames, 6, a), apply_augmentation(frames, 6, b))
    # switching one thing off leaves the other draws alone
    plain = draw_augmentation(np.random.default_rng(7), AugmentConfig(photometric=0.0, rotation=0.0))
    assert (plain.top, plain.left, plain.flip) == (a.top, a.left, a.flip) and plain.colour is None


def test_a_scaled_crop_is_the_resized_square_of_its_place():
    rng = np.random.default_rng(5)
    small = rng.integers(0, 256, (2, 6, 8, 3)).astype(np.uint8)
    frames = small.repeat(4, 1).repeat(4, 2)  # [2, 24, 32, 3]
    found = apply_augmentation(frames, 16, Draw(top=0.999, left=0.0, scale=0.5)).numpy()
    for picture, whole in zip(found, frames, strict=True):
        square = Image.fromarray(whole).crop((0, 12, 12, 24)).resize((16, 16), Image.Resampling.BILINEAR)
        assert np.abs(picture.astype(int) - np.asarray(square)).max() <= 1
    scales = [draw_augmentation(np.random.default_rng(s), AugmentConfig(scale=0.6)).scale for s in range(200)]
    assert 0.6 <= min(scales) < 0.65 and 0.95 < max(scales) <= 1
    assert draw_augmentation(np.random.default_rng(1), AugmentConfig()).scale is None


class SlowStore:
    """Writes when it is let."""

    def __init__(self):
        self.gate, self.written, self.fail = threading.Event(), [], False

    def write(self, video, start, rows, step):
        self.gate.wait(10)
        if self.fail:
            raise OSError("disk full")
        self.written.append((video, start, step))


def rows(video):
    return RowsToWrite(video, 0, np.zeros((1, 1)))


def test_write_back_waits_only_for_what_is_about_to_be_read():
    store = SlowStore()
    writer = WriteBack(store, capacity=4)
    writer.submit(1, [rows("a"), rows("b")])
    writer.submit(2, [rows("c")])
    writer.wait_for(["d"])  # nothing of it is waiting: returns at once, the gate is shut
    assert store.written == []
    threading.Timer(0.05, store.gate.set).start()
    writer.wait_for(["c"])
    assert store.written == [("a", 0, 1), ("b", 0, 1), ("c", 0, 2)]
    writer.drain()
    writer.close()
    assert writer.waited_s > 0.02


def test_an_error_of_the_writing_thread_reaches_the_loop():
    store = SlowStore()
    store.fail = True
    store.gate.set()
    writer = WriteBack(store)
    writer.submit(1, [rows("a")])
    with pytest.raises(OSError, match="disk full"):
        writer.drain()
    with pytest.raises(OSError, match="disk full"):
        writer.close()


def test_checkpoints_are_whole_and_chosen_by_generation(tmp_path):
    model = nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    for step, generation in ((10, 3), (20, 4), (30, 5)):
        state = TrainState(step=step, generation=generation)
        save_checkpoint(tmp_path, state, model.state_dict(), None, {"optimizer": optimizer.state_dict()})
    (tmp_path / ".step_00000040.tmp").mkdir()  # a crash while writing
    assert choose_checkpoint(tmp_path, 4).state.step == 20
    assert choose_checkpoint(tmp_path / "nothing", 4) is None
    with pytest.raises(CheckpointError, match="generation 9"):
        choose_checkpoint(tmp_path, 9)
    prune(tmp_path)
    assert [p.name for p in sorted(tmp_path.glob("step_*"))] == ["step_00000020", "step_00000030"]
    (tmp_path / "step_00000030" / "state.json").write_text("{")
    with pytest.raises(CheckpointError, match="step_00000030"):
        choose_checkpoint(tmp_path, 5)


def test_a_resumed_log_has_every_step_once(tmp_path):
    log = RunLog(tmp_path)
    for step in (1, 2, 3):
        log.write("step", step, loss=float(step))
    log.close()
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"kind": "step", "st')  # cut short by the crash
    log = RunLog(tmp_path, from_step=2)
    log.write("step", 3, loss=30.0)
    log.close()
    assert [(r["step"], r["loss"]) for r in read_log(tmp_path, "step")] == [(1, 1.0), (2, 2.0), (3, 30.0)]
    assert all(json.loads(line)["time"] > 0 for line in (tmp_path / "log.jsonl").read_text().splitlines())


def test_an_optimizer_of_weights_of_other_shapes_is_refused():
    states = []
    for kernel in (1, 3):
        layer = torch.nn.Conv1d(2, 2, kernel)
        optimizer = build_optimizer(layer, OptimConfig())
        layer(torch.ones(1, 2, 3)).sum().backward()
        optimizer.step()
        states.append(optimizer.state_dict())
    load_optimizer(optimizer, states[1])
    with pytest.raises(CheckpointError, match=r"shape \[2, 2, 1\] for a weight of shape \[2, 2, 3\]"):
        load_optimizer(optimizer, states[0])
