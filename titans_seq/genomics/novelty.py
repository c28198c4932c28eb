"""Novelty: which bases of a stream lie in nothing that was there before.

A base is 0 where it lies in a stretch of at least `seed` bases that agrees, base for base, with an earlier one or its
reverse complement, and 1 elsewhere. So a changed base in a copy is new, and so are the bases between two changes that
lie closer than `seed`. Unknown bases have no number.

What agrees is what a search followed: at each position the bases that agreed in a row up to there.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from titans_seq.genomics.alphabet import N_TOKEN, Tokens
from titans_seq.genomics.repeats import Places

_BACK: Final = 31
"""Bases that a search compares at once. A longer stretch is marked position by position, each reaching so far back."""


class Novelty:
    """Marks the bases that were there before, piece after piece of a stream.

    Parameters
    ----------
    length
        Bases of the stream; a byte of RAM each.
    seed
        Shortest stretch that counts, at most 31.

    Examples
    --------
    >>> novelty = Novelty(6, seed=3)
    >>> run = np.array([[0], [0], [0], [0], [3], [0]])     # at 4, three bases agreed
    >>> novelty.mark(0, np.zeros(6, np.uint8), run=run, symbol=run * 0, live=run > 0)
    >>> novelty.values(0, np.zeros(6, np.uint8)).tolist()
    [1.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    """

    def __init__(self, length: int, *, seed: int) -> None:
        self.seed = seed
        self._matched = np.zeros(length, dtype=bool)
        # Of each copy: known bases in a row up to the last piece's end, and whether its next base is unknown.
        self._known: Places = np.zeros(1, dtype=np.int64)
        self._ends: npt.NDArray[np.bool_] = np.zeros(1, dtype=bool)

    def mark(self, start: int, tokens: Tokens, *, run: Places, symbol: Places, live: npt.NDArray[np.bool_]) -> None:
        """Take in the piece (T,) at ``start``, behind the one before.

        Parameters
        ----------
        run
            (T, P): bases that agreed in a row up to each position, by each copy that is followed.
        symbol, live
            (T, P): the base that a copy says is next, and whether there is a copy.
        """
        length = len(tokens)
        if not length:
            return
        # A search compares unknown bases like any other; here they end a stretch, on either side of it.
        ends = live & (symbol == N_TOKEN)
        before = np.concatenate([np.broadcast_to(self._ends, (1, ends.shape[1])), ends[:-1]])
        broken = before | (tokens == N_TOKEN)[:, None]
        place = np.arange(length)[:, None]
        last = np.maximum.accumulate(np.where(broken, place, -1 - self._known))
        agreed = np.minimum(run, place - last).max(1).clip(max=_BACK)
        self._ends, self._known = ends[-1], length - 1 - last[-1]
        stop = np.flatnonzero(agreed >= self.seed) + start + 1
        first, size = stop - agreed[stop - 1 - start], min(start, _BACK) + length
        low = start + length - size
        opened = np.bincount(first - low, minlength=size + 1) - np.bincount(stop - low, minlength=size + 1)
        self._matched[low : start + length] |= np.cumsum(opened)[:size] > 0

    def values(self, start: int, tokens: Tokens) -> npt.NDArray[np.float32]:
        """Novelty of the bases ``start ..``; NaN where the token is unknown."""
        new = (~self._matched[start : start + len(tokens)]).astype(np.float32)
        return np.where(tokens == N_TOKEN, np.float32(np.nan), new)
