"""Which clips of a window are encoded now: exactly n of N, each with the same chance n / N."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tal.memory.config import MemoryConfig


def num_sampled(num_clips: int, ratio: float) -> int:
    """floor(r * N) as in TALLFormer's release, but at least one clip when r > 0."""
    if ratio == 0 or num_clips == 0:
        return 0
    return max(1, math.floor(ratio * num_clips + 1e-6))


def sample_clips(
    rng: np.random.Generator, num_clips: int, config: MemoryConfig, ages: NDArray[np.floating] | None = None
) -> NDArray[np.int64]:
    """Sorted indices in [0, num_clips), `num_sampled` of them.

    ``ages`` [num_clips] (steps since a clip's rows were written) is what `oldest` and `mixture` look at;
    equal ages are told apart at random.
    """
    count = num_sampled(num_clips, config.ratio)
    everything = np.arange(num_clips)
    if count >= num_clips:
        return everything
    if config.sampler == "uniform":
        return np.sort(rng.choice(num_clips, count, replace=False))
    if config.sampler == "stratified":
        return spread_sample(rng, num_clips, count)
    age = np.zeros(num_clips) if ages is None else np.asarray(ages, dtype=np.float64)
    by_age = np.lexsort((rng.random(num_clips), -age))
    oldest = count if config.sampler == "oldest" else round(config.oldest_share * count)
    taken = by_age[:oldest]
    rest = np.setdiff1d(everything, taken)
    more = rest[spread_sample(rng, len(rest), count - oldest)]
    return np.sort(np.concatenate([taken, more]))


def spread_sample(rng: np.random.Generator, num_items: int, count: int) -> NDArray[np.int64]:
    """``count`` of ``num_items``, spread out, each item with probability exactly count / num_items.

    Ordered pivotal sampling (Deville & Tillé 1998): neighbours duel for their inclusion probability until
    every item has 0 or 1. Strata with independent jitter, which the release uses, choose an item twice or the
    last one never.
    """
    if count == 0 or num_items == 0:
        return np.zeros(0, dtype=np.int64)
    share = count / num_items
    chosen: list[int] = []
    holder, mass = 0, share
    for item in range(1, num_items):
        total = mass + share
        if total < 1 - 1e-9:  # the two together are less than one item: one of them carries both
            if rng.random() * total < share:
                holder = item
            mass = total
        else:  # one is in, the other goes on with what is left
            left = max(total - 1, 0.0)
            if rng.random() * (2 - total) < 1 - share:  # P(holder is in) = (1 - share) / (2 - total)
                chosen.append(holder)
                holder = item
            else:
                chosen.append(item)
            mass = left
    if len(chosen) < count:
        chosen.append(holder)
    return np.sort(np.asarray(chosen, dtype=np.int64))
