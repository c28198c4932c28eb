"""Vectors of tokens into one vector per region, while they are read: RAM does not grow with what was read.

For the known tokens t of a region (N and missing values are left out), with vectors h_t:

    mean        sum h_t / n
    max         per coordinate, the largest
    last        h_t of the base that is read last
    attention   sum w_t h_t / sum w_t,   w_t = - log p(s_t | what was read before)

``attention`` weighs each base with what it cost the model in nats: bases that the model saw coming say little. Nothing
is trained for it. A base before which nothing was read costs log 4, and none less than 1e-6. Sums run in float64.

Regions may overlap: a part is cut at the borders of all regions, each cut is reduced once, and the result goes to the
regions that are open there.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import log
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from titans_seq.errors import unknown_name
from titans_seq.genomics import N_TOKEN
from titans_seq.streaming.reader import Part

POOLS: Final = ("mean", "max", "last", "attention")
WEIGHING: Final = ("attention",)
"""Poolings that weigh a base by what it cost, so that the model must predict."""
LEAST: Final = 1e-6
Pooled = tuple[int, npt.NDArray[np.float32]]
"""Number of a region, and its vector (d_model); NaN where it holds no known base."""
Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]


@dataclass(slots=True)
class _Open:
    """A region that has begun: sum (or largest, or last) of its vectors, and of their weights."""

    vector: Doubles
    weight: float = 0.0


class Pool:
    """Pools the parts of one passage into its regions.

    Parameters
    ----------
    how
        One of `POOLS`.
    width
        d_model.
    strand
        Of the passage: the parts come from low to high coordinates on ``+``, from high to low on ``-``.
    start, end
        Of the regions, int64 [n], in any order.
    """

    def __init__(
        self, how: str, *, width: int, strand: str, start: npt.NDArray[np.int64], end: npt.NDArray[np.int64]
    ) -> None:
        if how not in POOLS:
            raise unknown_name("pooling", how, POOLS)
        self.how, self.width, self.forward = how, width, strand == "+"
        # On strand - everything is mirrored, so that both strands are read upwards.
        self.start, self.end = (start, end) if self.forward else (-end, -start)
        self._order = np.argsort(self.start, kind="stable")
        self._starts = self.start[self._order]
        self._next = 0
        self._open: dict[int, _Open] = {}

    def add(self, part: Part) -> list[Pooled]:
        """Take a part in; gives number and vector of every region that ended with it."""
        assert part.vectors is not None
        first, order = (part.start, 1) if self.forward else (-part.end, -1)
        return self.take(first, part.vectors[::order], part.tokens[::order] < N_TOKEN, part.loss[::order])

    def take(self, first: int, vectors: Floats, known: npt.NDArray[np.bool_], loss: Floats | None) -> list[Pooled]:
        """As `add`, tokens ``first ..`` in the order of reading; the loss is looked at for `WEIGHING` alone."""
        last, weights = first + len(vectors), None
        if self.how == "attention":
            assert loss is not None
            weights = np.where(np.isnan(loss), log(4), np.maximum(loss, LEAST)).astype(np.float64)
        ended: list[Pooled] = []
        for low, high in pairwise(self._edges(first, last)):
            self._begin(low)
            ended += self._close(low)  # what ended in a gap
            cut: slice | npt.NDArray[np.intp] = slice(low - first, high - first)
            if not known[cut].all():
                cut = low - first + np.flatnonzero(known[cut])
            if len(vectors[cut]):
                self._reduce(vectors[cut], None if weights is None else weights[cut])
            ended += self._close(high)
        return ended

    def finish(self) -> list[Pooled]:
        """The regions that no part ended: those whose end was a gap and not read."""
        self._begin(None)
        return self._close(None)

    def state(self) -> tuple[torch.Tensor, dict[str, Any]]:
        """Open regions, for a checkpoint: their vectors (open, d_model), and what JSON can hold."""
        numbers = list(self._open)
        stacked = np.stack([self._open[n].vector for n in numbers]) if numbers else np.empty((0, self.width))
        weights = [self._open[n].weight for n in numbers]
        return torch.from_numpy(stacked), {"next": self._next, "open": numbers, "weights": weights}

    def restore(self, vectors: torch.Tensor, cursor: dict[str, Any]) -> None:
        """Go on where `state` was taken."""
        self._next = int(cursor["next"])
        rows = zip(cursor["open"], vectors.numpy().copy(), cursor["weights"], strict=True)
        self._open = {int(number): _Open(vector, float(weight)) for number, vector, weight in rows}

    def _edges(self, first: int, last: int) -> list[int]:
        """``first``, ``last`` and every border of a region between them, upwards."""
        edges = {first, last}
        numbers = [*self._open, *self._order[self._next : np.searchsorted(self._starts, last)].tolist()]
        for number in numbers:
            edges.update(edge for edge in (int(self.start[number]), int(self.end[number])) if first < edge < last)
        return sorted(edges)

    def _begin(self, low: int | None) -> None:
        """Open the regions that start at ``low`` or before, or all."""
        stop = len(self._order) if low is None else int(np.searchsorted(self._starts, low, side="right"))
        empty = -np.inf if self.how == "max" else 0.0
        for number in self._order[self._next : stop].tolist():
            self._open[number] = _Open(np.full(self.width, empty))
        self._next = max(self._next, stop)

    def _reduce(self, vectors: Floats, weights: Doubles | None) -> None:
        """Reduce a cut and give it to the regions that are open."""
        if not self._open:
            return
        if self.how == "max":
            value, weight = vectors.max(0).astype(np.float64), 1.0
        elif self.how == "last":
            value, weight = vectors[-1].astype(np.float64), 1.0
        elif weights is None:
            value, weight = vectors.sum(0, dtype=np.float64), float(len(vectors))
        else:
            value, weight = weights @ vectors.astype(np.float64), float(weights.sum())
        for region in self._open.values():
            if self.how == "max":
                np.maximum(region.vector, value, out=region.vector)
            elif self.how == "last":
                region.vector[:] = value
            else:
                region.vector += value
            region.weight += weight

    def _close(self, high: int | None) -> list[Pooled]:
        """Give up the regions that end at ``high`` or before, or all."""
        ended = [number for number in self._open if high is None or self.end[number] <= high]
        return [(number, self._value(self._open.pop(number))) for number in ended]

    def _value(self, region: _Open) -> npt.NDArray[np.float32]:
        if region.weight == 0:
            return np.full(self.width, np.nan, dtype=np.float32)
        whole = region.vector if self.how in ("max", "last") else region.vector / region.weight
        return whole.astype(np.float32)
