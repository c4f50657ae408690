"""TALLFormer's two decoders, beyond what every decoder holds: candidates are clamped, and both learn."""

import pytest
import torch

from tal.decoders import Targets, build_decoder
from tests.tal.decoders.cases import TALLFORMER, batch, calm, make


@pytest.mark.parametrize("name", TALLFORMER)
def test_candidates_end_one_position_outside_the_valid_ones(name):
    features, mask = batch([50, 41])
    decoder = make(TALLFORMER[name]).eval()
    with torch.no_grad():
        samples = decoder.candidates(decoder(features, mask), mask)
    for candidates, length in zip(samples, (50, 41), strict=True):
        assert candidates.segments.min() >= -1 and candidates.segments.max() == length


@pytest.mark.parametrize(
    "name",
    [
        "daotad-conv",
        "afsd",
        pytest.param("daotad", marks=pytest.mark.slow),
        pytest.param("afsd-segment", marks=pytest.mark.slow),
    ],
)
def test_learns_two_videos_by_heart(name):
    """Assignment, losses and decoding fit together: the best candidate of each segment is found again."""
    torch.manual_seed(0)
    decoder = calm(build_decoder(TALLFORMER[name], 24, 5))
    features = torch.randn(2, 24, 48, generator=torch.Generator().manual_seed(9))
    mask = torch.ones(2, 1, 48, dtype=torch.bool)
    targets = [
        Targets(torch.tensor([[5.0, 11.0], [20.0, 41.0]]), torch.tensor([3, 3])),
        Targets(torch.tensor([[13.0, 26.0]]), torch.tensor([1])),
    ]
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=2e-3)
    for _ in range(90):
        optimizer.zero_grad()
        decoder.losses(decoder(features, mask), mask, targets)["loss"].backward()
        optimizer.step()
    decoder.eval()
    with torch.no_grad():
        samples = decoder.candidates(decoder(features, mask), mask)
    for candidates, target in zip(samples, targets, strict=True):
        best = candidates.scores.argmax()
        assert candidates.labels[best] == target.labels[0]
        for segment in target.segments:
            strong = candidates.segments[candidates.scores > 0.5 * candidates.scores.max()]
            inter = (strong.clamp(max=segment[1])[:, 1] - strong.clamp(min=segment[0])[:, 0]).clamp(min=0)
            union = (strong[:, 1] - strong[:, 0]) + (segment[1] - segment[0]) - inter
            assert (inter / union).max() > 0.7
