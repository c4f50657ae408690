"""Greedy suppression of all classes at once: each step takes the best candidate of every class.

Candidates of K classes stand in padded matrices [K, N]; a taken, removed or absent candidate has score
-1. The work is a few passes over one matrix per step, so Python's overhead is shared by all classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
# (IoU [K, N] of the candidates taken with all of their groups, the table): changes the scores in place.
# Gives the detections' segments [K, 2]; None: those of the candidates taken.
Decay = Callable[[Array, "Table"], Array | None]

_GONE = -1.0
# Steps between two looks at whether rows and columns can be dropped.
_STEPS_BETWEEN_PACKING = 16
# The release adds this to each length, so that two points are not divided by zero.
_LENGTH_SLACK = 1e-6


@dataclass
class Picks:
    """The candidates taken, in order of taking within each class.

    ``index`` and ``score`` [n]: into the candidates, and at the time of taking; ``segment`` [n, 2]: of the
    detections, None where they lie where the candidates do.
    """

    index: NDArray[np.intp]
    score: Array
    segment: Array | None = None


def gaussian(sigma: float) -> Decay:
    """Soft-NMS (Bodla et al., 2017): score x exp(-IoU^2 / sigma)."""

    def decay(overlap: Array, table: Table) -> None:
        np.square(overlap, out=overlap)
        overlap *= -1.0 / sigma
        np.exp(overlap, out=overlap)
        table.score *= overlap

    return decay


def hard(threshold: float) -> Decay:
    """NMS: candidates that overlap the one taken by the threshold or more are removed."""

    def decay(overlap: Array, table: Table) -> None:
        np.putmask(table.score, overlap >= threshold, _GONE)

    return decay


def merging(threshold: float) -> Decay:
    """Non-maximum weighting, as in TALLFormer's release.

    Candidates that overlap the one taken by the threshold or more are removed, and the detection lies at
    their mean, weighted by score x IoU. So each votes once.
    """

    def decay(overlap: Array, table: Table) -> Array:
        row, column = np.nonzero((overlap >= threshold) & (table.score > 0))
        weight = overlap[row, column].astype(np.float64) * table.score[row, column]
        table.score[row, column] = _GONE
        total = np.bincount(row, weight, len(overlap))
        total[total == 0] = 1.0  # a group that is done: nothing is taken from it
        edges = (table.start, table.end)
        sums = [np.bincount(row, weight * edge[row, column], len(overlap)) for edge in edges]
        return (np.stack(sums, 1) / total[:, None]).astype(overlap.dtype)

    return decay


def greedy(
    start: Array,
    end: Array,
    score: Array,
    group: NDArray[np.integer],
    decay: Decay,
    min_score: float,
    limit: int,
    slack: float = _LENGTH_SLACK,
) -> Picks:
    """Take the best of each group, lower what overlaps it, drop what falls below ``min_score``; repeat.

    Arrays [n]; ``group`` is the class that each candidate competes in. With ``limit`` > 0 picks that
    cannot be among the best ``limit`` of all groups are left out: scores only fall, so a group whose best
    is below the limit-th best pick so far is done. ``slack``, more than 0, is added to each length.
    """
    table = Table.build(start, end, score, group, slack)
    picked_index: list[NDArray[np.intp]] = []
    picked_score: list[Array] = []
    picked_segment: list[Array] = []
    # gone candidates stay below 0, or reach -0 after many decays
    least = max(min_score, float(np.finfo(score.dtype).tiny))
    step = 0
    while table.score.size:
        rows = np.arange(len(table.score))
        column = table.score.argmax(axis=1)
        best = table.score[rows, column]
        # a score only falls, so dropping what is below the least score can wait until it would be taken;
        # the first of a group is taken whatever its score, as in the releases
        active = best >= (least if step else 0.0)
        picked_index.append(table.index[rows, column][active])
        picked_score.append(best[active])
        segments = decay(table.overlap(rows, column), table)
        if segments is not None:
            picked_segment.append(segments[active])
        table.score[rows, column] = _GONE
        step += 1
        if step % _STEPS_BETWEEN_PACKING == 0 or not active.any():
            table = table.packed(least, _limit_th(picked_score, limit))
    if not picked_index:
        return Picks(np.zeros(0, np.intp), score[:0])
    segment = np.concatenate(picked_segment) if picked_segment else None
    return Picks(np.concatenate(picked_index), np.concatenate(picked_score), segment)


def _limit_th(scores: list[Array], limit: int) -> float:
    """Score of the limit-th best pick so far; below every score while there are fewer."""
    if not limit or sum(map(len, scores)) < limit:
        return _GONE
    every = np.concatenate(scores)
    return float(np.partition(every, len(every) - limit)[len(every) - limit])


@dataclass
class Table:
    """Candidates as matrices [K, N]: positions, lengths, scores and index into the input."""

    start: Array
    end: Array
    length: Array
    score: Array
    index: NDArray[np.intp]
    _scratch: tuple[Array, Array] | None = None

    @classmethod
    def build(cls, start: Array, end: Array, score: Array, group: NDArray[np.integer], slack: float) -> Table:
        _, row, counts = np.unique(group, return_inverse=True, return_counts=True)
        order = np.argsort(row, kind="stable")
        column = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
        shape = (len(counts), int(counts.max(initial=0)))
        matrices = []
        for values, fill in ((start, 0.0), (end, 0.0), (score, _GONE)):
            matrix = np.full(shape, fill, dtype=values.dtype)
            matrix[row[order], column] = values[order]
            matrices.append(matrix)
        index = np.zeros(shape, np.intp)
        index[row[order], column] = order
        length = matrices[1] - matrices[0]
        length += length.dtype.type(slack)
        return cls(matrices[0], matrices[1], length, matrices[2], index)

    def overlap(self, rows: NDArray[np.intp], column: NDArray[np.intp]) -> Array:
        """IoU [K, N] of each row's chosen candidate with all of the row; the array is used again."""
        if self._scratch is None:
            self._scratch = np.empty_like(self.start), np.empty_like(self.start)
        overlap, other = self._scratch
        np.minimum(self.end, self.end[rows, column][:, None], out=overlap)
        np.maximum(self.start, self.start[rows, column][:, None], out=other)
        overlap -= other
        np.maximum(overlap, 0, out=overlap)
        np.add(self.length, self.length[rows, column][:, None], out=other)
        other -= overlap
        overlap /= other
        overlap[rows, column] = 1  # a point shares no length with itself
        return overlap

    def packed(self, least: float, floor: float) -> Table:
        """Without rows that are done, and with the columns of candidates that are gone squeezed out."""
        alive = self.score >= least
        keep = self.score.max(axis=1) >= max(floor, least)
        width = int(alive[keep].sum(axis=1).max(initial=0))
        if keep.all() and width > 0.8 * self.score.shape[1]:
            return self
        columns = np.argsort(~alive[keep], axis=1, kind="stable")[:, :width]
        rows = np.flatnonzero(keep)[:, None]
        start, end, length, score = (
            np.ascontiguousarray(field[rows, columns])
            for field in (self.start, self.end, self.length, self.score)
        )
        return Table(start, end, length, score, np.ascontiguousarray(self.index[rows, columns]))
