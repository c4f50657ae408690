"""Swin's attention against torchvision's own, written out."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision.models.video.swin_transformer import ShiftedWindowAttention3d

from tal.encoders import EncoderConfig, build_encoder
from tal.encoders.window_attention import WindowAttention
from tests.pretend_cuda import PretendCuda

pytestmark = pytest.mark.usefixtures("one_thread")
WINDOW = [4, 3, 3]


def pair(shift: list[int]) -> tuple[ShiftedWindowAttention3d, WindowAttention]:
    """Both with the same weights, the bias table of visible size."""
    torch.manual_seed(0)
    theirs = ShiftedWindowAttention3d(16, WINDOW, shift, 2)
    torch.nn.init.normal_(theirs.relative_position_bias_table)
    ours = WindowAttention(16, WINDOW, shift, 2)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def gradients(module: torch.nn.Module, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    x = x.clone().requires_grad_()
    out = module(x)
    weight = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view(out.shape)
    return out.detach(), list(torch.autograd.grad((out * weight).sum(), [x, *module.parameters()]))


@pytest.mark.parametrize("shift", [[0, 0, 0], [2, 1, 1], [0, 1, 0], [1, 0, 2]])
@pytest.mark.parametrize("size", [(8, 6, 6), (7, 8, 5), (4, 6, 6), (2, 3, 7), (3, 2, 2)])
def test_values_and_gradients_are_torchvisions(shift: list[int], size: tuple[int, int, int]) -> None:
    """Whole and padded volumes, volumes smaller than a window, shifts along some axes."""
    theirs, ours = pair(shift)
    x = torch.randn(2, *size, 16)
    (expected, expected_grads), (found, found_grads) = gradients(theirs, x), gradients(ours, x)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    for ours_, theirs_ in zip(found_grads, expected_grads, strict=True):
        torch.testing.assert_close(ours_, theirs_, rtol=1e-4, atol=1e-4)


def test_every_block_of_the_encoder_has_it() -> None:
    config = EncoderConfig(name="swin3d_t", clip_frames=4, frame_stride=2, size=32, crop=32)
    found = [m for m in build_encoder(config, seed=0).modules() if isinstance(m, ShiftedWindowAttention3d)]
    assert len(found) == 12 and all(isinstance(m, WindowAttention) for m in found)


def test_half_precision_is_near_full() -> None:
    theirs, ours = pair([2, 1, 1])
    x = torch.randn(2, 7, 8, 5, 16)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found = ours(x)
    assert found.dtype == torch.bfloat16
    cosine = torch.cosine_similarity(found.float().flatten(0, -2), theirs(x).detach().flatten(0, -2), dim=1)
    assert float(cosine.min()) > 0.999


def test_no_scores_are_kept_where_nothing_learns_the_bias() -> None:
    """What autograd keeps of an adapter's way back through the block: masks, but no scores of windows."""
    kept: list[int] = []
    for module in pair([2, 1, 1]):
        module.requires_grad_(False)
        pairs: list[int] = []

        def note(tensor: Tensor, pairs: list[int] = pairs) -> Tensor:
            if tensor.shape[-2:] == (36, 36):
                pairs.append(tensor.untyped_storage().nbytes())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            module(torch.randn(8, 8, 6, 6, 16, requires_grad=True))
        kept.append(sum(pairs))
    theirs, ours = kept
    scores = 8 * 8 * 2 * 36 * 36 * 4  # bytes of one score for each pair: clips, windows, heads
    assert theirs >= scores and ours < scores / 4


def test_the_host_waits_for_nothing() -> None:
    _, ours = pair([2, 1, 1])
    x, card = torch.randn(1, 8, 6, 6, 16), PretendCuda()
    expected = ours(x).detach()
    with card.active():
        for tensor in (*ours.parameters(), *ours.buffers()):
            card.note(tensor, True)
        there = card.note(x.clone(), True)
        found = ours(there)
        ours(there)
        assert card.num_waits == 0
        torch.testing.assert_close(found.detach().cpu(), expected)
