"""A training step on a pretended card: what the host waits for, and that the numbers are the CPU's.

Before indices, lengths and targets stayed on the host, a step of these decoders waited 46 to 80 times.
"""

from __future__ import annotations

from collections.abc import Iterator
from unittest import mock

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from benchmarks.gpu.settings import DECODERS, decoder_settings
from pipelines.budget import probe
from pipelines.config import RunConfig, parse_config
from pipelines.train.optim import build_optimizer
from pipelines.train.setup import build_network
from pipelines.train.step import TrainStep
from pipelines.train.step_record import StepRecord
from tal.encoders import build_encoder
from tests.pretend_cuda import CARD, PretendCuda

pytestmark = pytest.mark.usefixtures("one_thread")
MOST_WAITS = 3
STEPS = 3


def config_of(decoder: str) -> RunConfig:
    """Everything on that a step can have: consistency module, row classifier, ages, downsampling."""
    localizer = {"row_loss": 1.0, "downsample": 2, "width": 16, "age_embedding": True}
    localizer |= {"tcm": {"layers": 1, "heads": 2}, "decoder": decoder_settings(decoder, toy=True)}
    return parse_config(
        {
            "data": {"annotations": "a", "videos": "v", "store": "s", "fps": 8.0},
            "encoder": {
                "name": "timm:test_efficientnet",
                "clip_frames": 4,
                "frame_stride": 2,
                "size": 40,
                "crop": 32,
            },
            "memory": {"ratio": 0.5},
            "window": {"num_rows": 32, "crop_ratio": [0.6, 1.0]},
            "localizer": localizer,
            "train": {"batch_size": 3, "device": "cpu"},
        }
    )


@pytest.fixture(autouse=True)
def _own_accelerator() -> Iterator[None]:
    """accelerate holds one precision a process: it forgets it before and after."""
    AcceleratorState._reset_state()
    yield
    AcceleratorState._reset_state()


def steps(config: RunConfig, precision: str, device: torch.device) -> Iterator[StepRecord]:
    """Optimizer steps on made-up clips; an accelerator that names the device in the place of its own."""
    encoder = build_encoder(config.encoder, seed=0)  # type: ignore[arg-type]
    network = build_network(config, 3, encoder.channels, encoder)
    AcceleratorState._reset_state()
    accelerator = Accelerator(cpu=True, mixed_precision={"fp32": "no"}.get(precision, precision))
    with mock.patch.object(Accelerator, "device", device):
        optimizer = build_optimizer(network, config.optim, device=device.type)
        wrapped, optimizer = accelerator.prepare(network, optimizer)
        step = TrainStep(
            config, accelerator, wrapped, optimizer, probe.NoStore(encoder.channels), None, half_store=True
        )
        torch.manual_seed(0)  # of the made-up pictures
        for number, batch in enumerate(probe.made_batches(config, encoder, STEPS), 1):
            yield step.run(number, [batch.pin_memory() if device == CARD else batch])


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("decoder", DECODERS)
def test_a_step_waits_at_most_three_times_and_computes_what_the_cpu_does(
    decoder: str, precision: str
) -> None:
    config, card = config_of(decoder), PretendCuda()
    expected = [(r.losses, r.grad_norm, r.drift) for r in steps(config, precision, torch.device("cpu"))]
    assert all(len(losses) > 2 for losses, _, _ in expected)
    found, waits = [], []
    with card.active():
        for record in steps(config, precision, CARD):
            found.append((record.losses, record.grad_norm, record.drift))
            waits.append(dict(card.waits))
            card.clear()
    assert all(sum(places.values()) <= MOST_WAITS for places in waits[1:]), waits[1:]
    if precision == "fp32":
        # later steps carry the other rounding of Adam's fused form
        for rel, (losses, norm, drift), (losses_, norm_, drift_) in zip(
            (1e-5, 2e-3, 2e-3), found, expected, strict=True
        ):
            assert losses == pytest.approx(losses_, rel=rel)
            # AFSD's pooling takes one maximum or the next by a rounding, and its gradient with it
            assert norm == pytest.approx(norm_, rel=rel if decoder != "afsd" or rel < 1e-4 else 2e-2)
            assert drift == pytest.approx(drift_, rel=rel, abs=1e-5)


def test_the_stand_in_counts_what_cuda_waits_for() -> None:
    card = PretendCuda()
    with card.active():
        x = torch.arange(6.0, device="cuda")
        for wait in (lambda: x.sum().item(), lambda: x[x > 2], lambda: x.cpu(), lambda: x.nonzero()):
            card.clear()
            wait()
            assert card.num_waits == 1
        for free in (lambda: x * 2, lambda: x.where(x > 2, 0.0), lambda: x.sum()):
            card.clear()
            free()
            assert card.num_waits == 0
        card.clear()
        torch.ones(3).to("cuda")
        assert card.num_waits == 1  # not pinned
        card.clear()
        torch.ones(3).pin_memory().to("cuda", non_blocking=True)
        assert card.num_waits == 0
        with pytest.raises(RuntimeError, match="same device"):
            x + torch.ones(6)
