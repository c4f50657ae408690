"""A long sequence in chunks: the memory of one chunk, the candidates of one pass over the whole.

Exact where a decoder's outputs depend on a bounded stretch of its input: each chunk is decoded with that much
more on both sides, and only positions of the chunk itself report.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tal.decoders.base import Candidates, joined_candidates, on_host
from tal.decoders.pyramid.decoder import PyramidDecoder
from tal.errors import ConfigError
from tal.localizer import Localizer

# (start, stop) -> rows [stop - start, C] and bool [stop - start], which of them hold something
ReadRows = Callable[[int, int], tuple[Tensor, Tensor]]


@torch.inference_mode()
def chunked_candidates(localizer: Localizer, read: ReadRows, num_rows: int, chunk_rows: int) -> Candidates:
    """Candidates of ``num_rows`` rows, those of one pass, in any order: on the decoder's grid, on the CPU.

    Segments are float64. ``chunk_rows`` is rounded up to the coarsest level's stride; ``topk_per_level``
    counts the whole sequence, as in one pass.

    Raises
    ------
    ConfigError
        the result of a chunk depends on the whole sequence (`context_rows`).
    """
    context = context_rows(localizer)
    decoder, factor = localizer.decoder, localizer.downsample
    assert isinstance(decoder, PyramidDecoder)
    device = next(localizer.parameters()).device
    coarsest = decoder.config.strides[-1] * factor
    # borders on the coarsest grid, so that the levels' positions are those of the whole
    chunk, context = (-(-rows // coarsest) * coarsest for rows in (chunk_rows, context))
    best: list[Candidates] | None = None
    for start in range(0, num_rows, chunk):
        first, stop = max(0, start - context), min(num_rows, start + chunk + context)
        rows, valid = read(first, stop)
        mask = valid[None, None].to(device)
        features = rows.float().t()[None].to(device) * mask
        outputs, level_mask = localizer(features, mask)
        place = first // factor + torch.arange(level_mask.shape[2], device=device)
        inside = level_mask & (place >= start // factor) & (place < (start + chunk) // factor)
        levels = [
            Candidates(level.segments.double() + first // factor, level.scores, level.labels)
            for level in on_host(decoder.level_candidates(outputs, inside)[0])
        ]
        if best is not None:
            levels = [joined_candidates(pair) for pair in zip(best, levels, strict=True)]
        best = [level.best(decoder.config.topk_per_level) for level in levels]
    if best is None:
        return Candidates(torch.zeros(0, 2).double(), torch.zeros(0), torch.zeros(0, dtype=torch.long))
    return decoder.merged(best)


def context_rows(localizer: Localizer) -> int:
    """Rows to each side that a candidate can depend on; ConfigError where it is the whole sequence."""
    decoder = localizer.decoder
    reach = decoder.receptive_margin if isinstance(decoder, PyramidDecoder) else None
    reasons = {
        "its consistency module attends to all rows": localizer.tcm is not None,
        f"{type(decoder).__name__} as configured looks at the whole sequence": reach is None,
        "its masking is not strict": isinstance(decoder, PyramidDecoder) and not decoder.config.strict,
    }
    for reason, holds in reasons.items():
        if holds:
            raise ConfigError(
                f"inference.long=chunks is not exact for this model: {reason}. Use inference.long=windows "
                "(overlapping windows of the training length); chunks suit ActionFormer with local attention "
                "and TemporalMaxer without a group norm"
            )
    assert reach is not None
    # each halving is a convolution over 3 rows
    return reach * localizer.downsample + localizer.downsample - 1
