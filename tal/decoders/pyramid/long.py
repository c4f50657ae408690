"""A long sequence in chunks: memory of one chunk, the candidates of the whole.

Exact for decoders whose outputs depend on a bounded stretch of the input; each chunk is decoded with that
much more on both sides, and only what lies in the chunk itself is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from tal.decoders.base import Candidates
from tal.decoders.pyramid.decoder import PyramidDecoder
from tal.errors import ConfigError


@torch.inference_mode()
def chunked_candidates(
    decoder: PyramidDecoder[Any], read: Callable[[int, int], Tensor], length: int, chunk: int = 4608
) -> Iterator[Candidates]:
    """Candidates of each chunk in turn, segments in positions of the whole sequence.

    ``read(start, stop)`` gives features [C, stop - start]; ``chunk`` is rounded up to the coarsest stride.
    The union over chunks is what one pass gives, but for ``topk_per_level``, which counts a chunk.
    ConfigError for a decoder that looks at the whole sequence (TriDet, CLTDR-GMG, full attention) or whose
    masking is not strict.
    """
    margin = decoder.receptive_margin
    if margin is None or not decoder.config.strict:
        raise ConfigError(
            f"{type(decoder).__name__} as configured looks at the whole sequence: its result in chunks "
            "differs; use overlapping windows of the training length"
        )
    device = decoder.loss_normaliser.device
    coarsest = decoder.config.strides[-1]
    # chunk borders on the coarsest grid, so that the levels' positions are those of the whole
    chunk, margin = (-(-n // coarsest) * coarsest for n in (chunk, margin))
    for start in range(0, length, chunk):
        first, stop = max(0, start - margin), min(length, start + chunk + margin)
        features = read(first, stop)[None].to(device)
        place = torch.arange(first, stop, device=device)
        outputs = decoder(features, torch.ones_like(place, dtype=torch.bool)[None, None])
        core = ((place >= start) & (place < start + chunk))[None, None]
        found = decoder.candidates(outputs, core)[0]
        yield Candidates(found.segments + first, found.scores, found.labels)
