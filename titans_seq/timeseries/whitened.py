"""One-step errors of an autoregression learned online, on the scale of earlier errors.

Recursive least squares on the last ``order`` standardised rows, h = (1, z_{t-1} ... z_{t-order})::

    e_t = z_t - h^T a            score_t = min(e_t^2 / v, CLIP^2)
    k   = P h / (1 + h^T P h),   a += k e_t,   P -= k (P h)^T
    v  += (min(e_t^2, 100 v) - v) / min(n, span)

In the words of MIRAS, a vector memory with a second-order rule whose surprise is the score.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from titans_seq.timeseries.standardise import CLIP, Arrays, Rows

OUTLIER: Final = 100.0
"""An error's share in the running scale is at most this many times the scale."""


class Whitened:
    """Squared one-step errors over their running mean.

    Parameters
    ----------
    order
        Rows looked back on.
    span
        Rows after which the scale of older errors fades.
    """

    def __init__(self, *, order: int, span: int) -> None:
        self.order, self.span = order, span
        self._weights = np.zeros(order + 1)
        self._inverse = np.eye(order + 1)
        self._past = np.eye(1, order + 1)[0]
        self._scale = np.array([1.0, 1.0])

    def update(self, z: Rows) -> Rows:
        """Take standardised rows [T] in; give their scores [T], NaN where z is NaN."""
        scores = np.full(z.shape, np.nan)
        weights, inverse, past = self._weights, self._inverse, self._past
        scale, count = self._scale.tolist()
        for row, value in enumerate(z.tolist()):
            if value != value:
                past[2:] = past[1:-1].copy()
                continue
            error = value - float(weights @ past)
            scores[row] = min(error * error / max(scale, 1e-6), CLIP**2)
            reach = inverse @ past
            spread = 1 + float(past @ reach)
            weights += reach * (error / spread)
            # As an outer product P stays symmetric to the last bit; as k h^T P it does not.
            inverse -= np.outer(reach, reach) / spread
            count = min(count + 1, self.span)
            scale += (min(error * error, OUTLIER * scale) - scale) / count
            past[2:] = past[1:-1].copy()
            past[1] = value
        self._scale = np.array([scale, count])
        return scores

    def arrays(self) -> Arrays:
        """The state."""
        return {"weights": self._weights, "inverse": self._inverse, "past": self._past, "scale": self._scale}

    def load(self, arrays: Arrays) -> None:
        """Put a state back."""
        self._weights, self._inverse, self._past, self._scale = (
            arrays[name].copy() for name in ("weights", "inverse", "past", "scale")
        )
