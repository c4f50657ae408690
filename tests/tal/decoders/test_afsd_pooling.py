"""Boundary max pooling against a loop over intervals, and its gradient."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tal.decoders.afsd.network import boundary_intervals, points_of_levels
from tal.decoders.afsd.pooling import boundary_max_pool, interval_argmax, interval_max


def reference(x, start, stop):
    columns = [
        torch.stack(
            [x[b, :, int(a) : int(z) + 1].amax(-1) for a, z in zip(start[b], stop[b], strict=True)], dim=-1
        )
        for b in range(len(x))
    ]
    return torch.stack(columns)


@pytest.mark.parametrize("length", [1, 2, 3, 31, 32, 33, 100])
def test_every_interval_of_a_sequence(length):
    x = torch.randn(2, 3, length, generator=torch.Generator().manual_seed(length))
    start, stop = torch.triu_indices(length, length)
    start, stop = start.expand(2, -1), stop.expand(2, -1)
    torch.testing.assert_close(interval_max(x, start, stop), reference(x, start, stop), rtol=0, atol=0)


def test_long_intervals_at_powers_of_two():
    length = 2**15
    x = torch.randn(1, 1, length, generator=torch.Generator().manual_seed(1))
    sizes = torch.tensor([2**k + d for k in range(2, 15) for d in (-1, 0, 1)])
    start = torch.randint(0, 1000, (len(sizes),), generator=torch.Generator().manual_seed(2))
    stop = start + sizes - 1
    keep = stop < length
    start, stop = start[keep][None], stop[keep][None]
    torch.testing.assert_close(interval_max(x, start, stop), reference(x, start, stop), rtol=0, atol=0)


def test_infinite_and_equal_values():
    x = torch.tensor([[[-torch.inf, 2.0, 2.0, -torch.inf]]])
    start, stop = torch.tensor([[0, 0, 1, 3]]), torch.tensor([[0, 3, 2, 3]])
    assert interval_max(x, start, stop).tolist() == [[[-torch.inf, 2.0, 2.0, -torch.inf]]]
    assert interval_argmax(x, start, stop)[0, 0, 1].item() in (1, 2)


def test_gradient():
    x = torch.randn(
        2, 4, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(3), requires_grad=True
    )
    start, stop = torch.tensor([[0, 2, 8, 3]] * 2), torch.tensor([[4, 2, 8, 7]] * 2)
    assert torch.autograd.gradcheck(lambda value: interval_max(value, start, stop), (x,))
    mask = torch.ones(2, 1, 9, dtype=torch.bool)
    mask[1, :, 6:] = False
    bounds = torch.tensor([[[-1.2, 3.0], [2.0, 2.4], [7.0, 20.0]]] * 2)
    assert torch.autograd.gradcheck(lambda value: boundary_max_pool(value, mask, bounds, bounds + 1), (x,))


@given(st.integers(1, 40), st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_boundary_pooling_equals_a_loop_over_valid_positions(length, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(1, 4, length, generator=generator)
    count = int(torch.randint(1, length + 1, (1,), generator=generator))
    mask = (torch.arange(length) < count)[None, None]
    starts = (torch.rand(1, 6, 2, generator=generator) * 2 * length - length / 2).sort(-1).values
    ends = (torch.rand(1, 6, 2, generator=generator) * 2 * length - length / 2).sort(-1).values
    pooled = boundary_max_pool(x, mask, starts, ends)
    for half, bounds in ((slice(0, 2), starts), (slice(2, 4), ends)):
        for n in range(6):
            low, high = (min(max(round(v), 0), count - 1) for v in bounds[0, n].tolist())
            torch.testing.assert_close(
                pooled[0, half, n], x[0, half, low : high + 1].amax(-1), rtol=0, atol=0
            )


def test_points_stand_in_the_middle_of_what_they_cover():
    points = points_of_levels((4, 2, 1))
    assert points[:, 0].tolist() == [0.0, 1.0, 2.0, 3.0, 0.5, 2.5, 1.5]
    assert points[:, 1].tolist() == [1.0] * 4 + [2.0] * 2 + [4.0]


def test_intervals_by_hand():
    # 20 grid units long: 2 outwards, 5 inwards on the grid; on a grid of twice the cells, 4 and 10
    segment = torch.tensor([[10.0, 30.0]])
    starts, ends = boundary_intervals(segment, 1.0)
    assert starts.tolist() == [[8.0, 15.0]] and ends.tolist() == [[25.0, 32.0]]
    starts, ends = boundary_intervals(segment, 2.0)
    assert starts.tolist() == [[16.5, 30.5]] and ends.tolist() == [[50.5, 64.5]]
    # at least one cell each way
    starts, ends = boundary_intervals(torch.tensor([[3.0, 4.0]]), 1.0)
    assert starts.tolist() == [[2.0, 4.0]] and ends.tolist() == [[3.0, 5.0]]
