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


def follow_errors(state: SeriesState, tracks: NDArray[np.int64], errors: Array, soon: Array, *, fresh: float) -> Array:
    """Move the scales by each row; gives the width of intervals before and after each, (tracks, horizon + n).

    With e the errors of the whole path that row t ends, and f those of the few first steps of a later path that it
    ends,

        s <- s + max(SCALE_RATE, 1 / k) (mean |e| - s)           k whole paths so far
        q <- q + max(SCALE_RATE, 1 / j) (mean |f| - q)           j of those
        w  = s^(1 - fresh) q^fresh

    Parameters
    ----------
    errors, soon
        e and f, (tracks, n, horizon) and (tracks, n, soon); NaN where unknown.
    fresh
        Weight of q.

    Returns
    -------
    past
        w behind each of the ``horizon`` rows before the new ones, and behind each new one.
    """
    horizon = errors.shape[2]
    (sizes, counts), (soon_sizes, soon_counts) = _mean_size(errors), _mean_size(soon)
    past = np.concatenate([state.past_scales[tracks], np.empty(sizes.shape)], axis=1)
    scale, quick, scored, tried = state.scale[tracks], state.quick[tracks], state.scored[tracks], state.tried[tracks]
    for i in range(errors.shape[1]):
        scale, scored = _moved(scale, scored, sizes[:, i], counts[:, i] > 0)
        quick, tried = _moved(quick, tried, soon_sizes[:, i], soon_counts[:, i] > 0)
        past[:, horizon + i] = width_of(scale, quick, fresh=fresh)
    state.scale[tracks], state.quick[tracks] = scale, quick
    state.scored[tracks], state.tried[tracks] = scored, tried
    state.past_scales[tracks] = past[:, -horizon:]
    return past


def follow_hits(
    state: SeriesState, tracks: NDArray[np.int64], errors: Array, past: Array, *, band: tuple[Array, Array] | None,
    share: float = 1.0,
) -> Array:  # fmt: skip
    """Move the stretch by each row; gives what quantiles are multiplied by after each, (tracks, n).

    With e as above and w_o the width that was known at the origin of its path,

        g <- g exp(r (share of e outside g w_o [q05, q95] - 0.1))     r = STRETCH_RATE / horizon

    Parameters
    ----------
    errors
        e, (tracks, n, horizon); NaN where unknown.
    past
        w, from `follow_errors`.
    band
        Quantiles q05 and q95 of the errors in units of w, (horizon,) each; None leaves g as it is.
    share
        Rows that each judged row stands for; r is multiplied by it.
    """
    horizon = errors.shape[2]
    low, high = (np.zeros(horizon),) * 2 if band is None else band
    rate = 0.0 if band is None else STRETCH_RATE / horizon * share
    counts = np.isfinite(errors).sum(axis=2)
    stretch = state.stretch[tracks]
    edges = np.empty(counts.shape)
    for i in range(errors.shape[1]):
        then = (past[:, i] * stretch)[:, None]
        outside = (errors[:, i] < then * low) | (errors[:, i] > then * high)  # False where unknown
        missed = outside.sum(axis=1) / np.maximum(counts[:, i], 1) - (1 - BAND)
        stretch = stretch * np.exp(np.where((counts[:, i] > 0) & (past[:, i] > 0), rate * missed, 0.0))
        edges[:, i] = past[:, horizon + i] * stretch
    state.stretch[tracks] = stretch
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
