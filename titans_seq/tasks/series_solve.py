"""A ridge solved a little at a time, so that no single row has to pay for it.

Rows are told apart by absolute clock positions: a *block* is ``every`` rows, its *portions* an eighth of that. At the
first row R of a block the sums stand still, `SlicedSolve` works on them while the rows of the first portion come in,
and its weights are in force from the second portion on::

    row        R            R + every/8        R + every/4    ...    R + every
    sums       as of R, at rest | + portion 0 | + portion 1  ...
    weights    those of R - every   | those of R  ...

The solution is a Cholesky factor made panel by panel, L L^T = G + penalty I, with the forward substitution beside it
and the backward substitution behind it. Each step is the same arithmetic whenever it is taken, so the weights do not
depend on how the rows were cut.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

PORTIONS: Final = 8
_PANEL: Final = 64


@dataclass(frozen=True, slots=True)
class Portions:
    """The rows between two refits, and what they are divided into.

    Attributes
    ----------
    every
        Rows of a block.
    """

    every: int

    @property
    def count(self) -> int:
        """Portions of a block."""
        return min(PORTIONS, self.every)

    def at(self, row: int) -> int:
        """Number the portion that a clock position lies in, from 0 on."""
        block, within = divmod(row, self.every)
        return block * self.count + min(within // (self.every // self.count), self.count - 1)

    def first(self, portion: int) -> int:
        """Give the clock position at which a portion begins."""
        block, number = divmod(portion, self.count)
        return block * self.every + number * (self.every // self.count)

    def solves(self, portion: int) -> bool:
        """Whether a block's weights are solved while this portion is read."""
        return portion % self.count == 0

    def share(self, row: int) -> float:
        """Give how much of the solution is due once ``row``, in a portion that solves, has been read."""
        return (row % self.every + 1) / (self.every // self.count)


class SlicedSolve:
    """Solve ``(G + penalty I) W = P`` in `steps` of about equal work.

    Parameters
    ----------
    gram, cross
        G, (features, features), and P, (features, horizon); they must not change until the end.
    """

    def __init__(self, gram: Array, cross: Array, penalty: float) -> None:
        self._gram, self._cross, self._penalty = gram, cross, penalty
        self._factor = np.zeros(gram.shape)
        self._weights = np.empty(cross.shape)
        self._inverses: list[Array] = []
        self._panels = -(-len(gram) // _PANEL)
        self.done = 0

    @property
    def steps(self) -> int:
        """How many there are."""
        return 2 * self._panels

    def advance(self, share: float) -> None:
        """Go on until a share of the steps, 0 to 1, is done."""
        while self.done < min(round(share * self.steps), self.steps):
            if self.done < self._panels:
                self._forward(self.done)
            else:
                self._backward(self.steps - 1 - self.done)
            self.done += 1

    def finish(self) -> Array:
        """Do what is left; gives W, (features, horizon)."""
        self.advance(1)
        return self._weights

    def _forward(self, panel: int) -> None:
        """Make one panel of the factor L, and the rows of Y = L^-1 P beside it."""
        a, b, factor, y = panel * _PANEL, (panel + 1) * _PANEL, self._factor, self._weights
        columns = self._gram[a:, a:b] - factor[a:, :a] @ factor[a:b, :a].T
        size = columns.shape[1]
        root = np.linalg.cholesky(columns[:size] + self._penalty * np.eye(size))
        inverse = np.linalg.inv(root)
        factor[a:b, a:b] = root
        factor[b:, a:b] = columns[size:] @ inverse.T
        y[a:b] = inverse @ (self._cross[a:b] - factor[a:b, :a] @ y[:a])
        self._inverses.append(inverse)

    def _backward(self, panel: int) -> None:
        """Turn the rows of Y into those of W = L^-T Y."""
        a, b, factor, y = panel * _PANEL, (panel + 1) * _PANEL, self._factor, self._weights
        y[a:b] = self._inverses[panel].T @ (y[a:b] - factor[b:, a:b].T @ y[b:])
