"""What realised errors say about the width of intervals: two running scales, and a stretch that follows the hits."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from titans_seq.tasks.series_state import Array, SeriesState

SCALE_RATE: Final = 0.015
"""Share by which one realised forecast moves the running scales of the errors."""

FRESH: Final = 0.5
"""Weight of the scale of errors a few rows ahead in the width of intervals; chosen on validation rows (LOG.md)."""

STRETCH_RATE: Final = 0.2
"""How fast the width of the intervals follows what they have held, per horizon."""

BAND: Final = 0.9


def width_of(scale: Array, quick: Array, *, fresh: float) -> Array:
    """Give scale^(1 - fresh) quick^fresh; of the two alone what there is of them."""
    both = (scale > 0) & (quick > 0)
    mixed = np.where(both, scale, 1.0) ** (1 - fresh) * np.where(both, quick, 1.0) ** fresh
    return np.where(both, mixed, np.where(scale > 0, scale, quick))


def rescale(
    state: SeriesState, tracks: NDArray[np.int64], errors: Array, soon: Array, *, fresh: float,
    band: tuple[Array, Array] | None,
) -> Array:  # fmt: skip
    """Move scales and stretch by each row; gives the width of intervals after each row, (tracks, n).

    With e the errors of the whole path that row t ends, f those of the few first steps of a later path that it
    ends, and w_o the width that was known at the origin of the former,

        s <- s + max(SCALE_RATE, 1 / k) (mean |e| - s)           k whole paths so far
        q <- q + max(SCALE_RATE, 1 / j) (mean |f| - q)           j of those
        w  = s^(1 - fresh) q^fresh
        g <- g exp(r (share of e outside g w_o [q05, q95] - 0.1))     r = STRETCH_RATE / horizon

    Parameters
    ----------
    errors, soon
        e and f, (tracks, n, horizon) and (tracks, n, soon); NaN where unknown.
    fresh
        Weight of q.
    band
        Quantiles q05 and q95 of the errors in units of w, (horizon,) each; None leaves g as it is.
    """
    horizon = errors.shape[2]
    (sizes, counts), (soon_sizes, soon_counts) = _mean_size(errors), _mean_size(soon)
    low, high = (np.zeros(horizon),) * 2 if band is None else band
    rate = 0.0 if band is None else STRETCH_RATE / horizon
    past = np.concatenate([state.past_scales[tracks], np.empty(sizes.shape)], axis=1)
    scale, quick, stretch = state.scale[tracks], state.quick[tracks], state.stretch[tracks]
    scored, tried = state.scored[tracks], state.tried[tracks]
    edges = np.empty(sizes.shape)
    for i in range(errors.shape[1]):
        some = counts[:, i] > 0
        then = (past[:, i] * stretch)[:, None]
        outside = (errors[:, i] < then * low) | (errors[:, i] > then * high)  # False where unknown
        missed = outside.sum(axis=1) / np.maximum(counts[:, i], 1) - (1 - BAND)
        stretch = stretch * np.exp(np.where(some & (past[:, i] > 0), rate * missed, 0.0))
        scale, scored = _moved(scale, scored, sizes[:, i], some)
        quick, tried = _moved(quick, tried, soon_sizes[:, i], soon_counts[:, i] > 0)
        past[:, horizon + i] = width_of(scale, quick, fresh=fresh)
        edges[:, i] = past[:, horizon + i] * stretch
    state.scale[tracks], state.quick[tracks], state.stretch[tracks] = scale, quick, stretch
    state.scored[tracks], state.tried[tracks] = scored, tried
    state.past_scales[tracks] = past[:, -horizon:]
    return edges


def _mean_size(errors: Array) -> tuple[Array, NDArray[np.int64]]:
    """Give the mean absolute error of each path, (tracks, n), and how many of its steps are known."""
    found = np.isfinite(errors)
    counts = found.sum(axis=2)
    return np.abs(np.where(found, errors, 0.0)).sum(axis=2) / np.maximum(counts, 1), counts


def _moved(
    mean: Array, count: NDArray[np.int64], value: Array, some: NDArray[np.bool_]
) -> tuple[Array, NDArray[np.int64]]:
    """Move running means by one value each, where there is some."""
    count = count + some
    rate = np.maximum(SCALE_RATE, 1 / np.maximum(count, 1))
    return mean + np.where(some, rate, 0.0) * (value - mean), count
