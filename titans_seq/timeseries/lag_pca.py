"""How far the last rows leave the shapes that the series usually takes: streaming principal components of lag windows.

With z the standardised rows, x_t = (z_{t-w+1} ... z_t) and C the (faded) sum of x x^T over earlier windows::

    C = U diag(e) U^T,   U_r the components after the first ``kept``
    score_t = |U_r^T x_t|^2 / w

C takes rows in, and U is computed again, at absolute multiples of ``block`` rows only, and every block is computed at
its full size, so a series cut into any pieces gives the same numbers to the last bit. The state is one block of rows
and C: ``w^2 + w + block`` numbers.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from titans_seq.errors import RangeError
from titans_seq.timeseries.standardise import Arrays, Rows

BLOCK: Final = 64
WARM_WINDOWS: Final = 4
"""Scores begin once C has seen this many times ``window`` rows."""


class LagPca:
    """Residual of lag windows outside their leading components.

    Parameters
    ----------
    window
        Rows of a lag window, w.
    kept
        Components that count as usual.
    span
        Rows after which older ones fade.

    Raises
    ------
    RangeError
        Not 1 <= kept < window.
    """

    def __init__(self, *, window: int, kept: int, span: int) -> None:
        if not 1 <= kept < window:
            raise RangeError(f"expected 1 <= kept < window, found kept {kept} and window {window}")
        self.window, self.kept, self.span = window, kept, span
        self._rows = np.zeros(window - 1 + BLOCK)
        self._known = np.zeros(BLOCK)
        self._gram = np.zeros((window, window))
        self._seen = 0.0
        self._filled = 0
        self._basis: NDArray[np.float64] | None = None

    def update(self, z: Rows) -> Rows:
        """Take standardised rows [T] in; give their scores [T], NaN where z is NaN, 0 before C is warm."""
        scores = np.empty(z.shape)
        at = 0
        while at < z.size:
            taken = min(BLOCK - self._filled, z.size - at)
            scores[at : at + taken] = self._part(z[at : at + taken])
            at += taken
        return scores

    def _part(self, z: Rows) -> Rows:
        """Score rows that end in this block at the latest."""
        first, behind = self._filled, self._filled + z.size
        before = self.window - 1 + first
        for offset, value in enumerate(z.tolist()):
            missing = value != value
            # A missing row stands as the row before it, is not scored and is not learned from.
            self._rows[before + offset] = self._rows[before + offset - 1] if missing else value
            self._known[first + offset] = not missing
        windows = np.lib.stride_tricks.sliding_window_view(self._rows, self.window)
        scores = np.zeros(z.size)
        if self._basis is not None:
            # Rows of the block that are still to come are stale here; their scores are not given out.
            inside = windows @ self._basis
            energy = np.einsum("tw,tw->t", windows, windows) - np.einsum("tk,tk->t", inside, inside)
            scores = np.maximum(energy[first:behind], 0) / self.window
        scores[np.isnan(z)] = np.nan
        self._filled = behind
        if behind == BLOCK:
            self._close(windows[self._known > 0])
        return scores

    def _close(self, windows: Rows) -> None:
        """Learn from a full block and make room for the next."""
        full = self._seen + len(windows) > self.span
        fade = max(1.0 - len(windows) / self.span, 0.0) if full else 1.0
        self._gram = fade * self._gram + windows.T @ windows
        self._seen = fade * self._seen + len(windows)
        self._rows[: self.window - 1] = self._rows[BLOCK:].copy()
        self._filled = 0
        self._basis = self._leading()

    def _leading(self) -> NDArray[np.float64] | None:
        if self._seen < WARM_WINDOWS * self.window or not np.trace(self._gram) > 0:
            return None
        _, vectors = np.linalg.eigh(self._gram)
        return np.ascontiguousarray(vectors[:, -self.kept :])

    def arrays(self) -> Arrays:
        """The state."""
        return {
            "rows": self._rows,
            "known": self._known,
            "gram": self._gram,
            "counts": np.array([self._seen, float(self._filled)]),
        }

    def load(self, arrays: Arrays) -> None:
        """Put a state back."""
        self._rows, self._known, self._gram = (arrays[name].copy() for name in ("rows", "known", "gram"))
        self._seen = float(arrays["counts"][0])
        self._filled = int(arrays["counts"][1])
        self._basis = self._leading()
