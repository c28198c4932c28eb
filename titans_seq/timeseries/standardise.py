"""Rows on the scale of the rows before them: the first stage of every causal score, at a fixed size of state.

    z_t = clip((x_t - m_{t-1}) / s_{t-1}, -20, 20)
    g_t = 1 / min(n_t, span),   m_t = m_{t-1} + g_t (x_t - m_{t-1}),   s_t^2 the running variance with the same g_t

Up to ``span`` rows this is the plain mean and deviation of all rows so far; from there on old rows fade.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]
Arrays = dict[str, NDArray[Any]]

CLIP: Final = 20.0
WARM: Final = 20
"""Rows before the first z; the deviation of fewer says nothing."""


class Standardiser:
    """Scale rows by the rows before them.

    Parameters
    ----------
    span
        Rows after which older ones fade.
    """

    def __init__(self, *, span: int) -> None:
        self.span = span
        self._count = 0.0
        self._mean = 0.0
        self._variance = 0.0

    def update(self, values: Rows) -> Rows:
        """Take rows [T] in; give their z [T], NaN where a value is missing, 0 during the first rows.

        ``span`` large, rows ``1 3 ... `` : each is compared with the mean of those before it.
        """
        z = np.full(values.shape, np.nan)
        count, mean, variance = self._count, self._mean, self._variance
        for row, value in enumerate(values.tolist()):
            if math.isnan(value):
                continue
            if count >= WARM and variance > 0:
                z[row] = min(max((value - mean) / math.sqrt(variance), -CLIP), CLIP)
            else:
                # A constant series has no scale of its own: the first row that leaves it is as far away as can be.
                z[row] = math.copysign(CLIP, value - mean) if count >= WARM and value != mean else 0.0
            count = min(count + 1, self.span)
            step = value - mean
            mean += step / count
            variance += (step * (value - mean) - variance) / count
        self._count, self._mean, self._variance = count, mean, variance
        return z

    def arrays(self) -> Arrays:
        """The state, three numbers."""
        return {"moments": np.array([self._count, self._mean, self._variance])}

    def load(self, arrays: Arrays) -> None:
        """Put a state back."""
        self._count, self._mean, self._variance = arrays["moments"].tolist()
