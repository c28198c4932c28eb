"""What standardises the tracks of a panel."""

from __future__ import annotations

import numpy as np

from titans_seq.errors import RangeError
from titans_seq.metrics.forecast import seasonal_scale
from titans_seq.tasks.series_state import Array
from titans_seq.timeseries import Panel


def seasonal_size(rows: Array, *, spread: float, season: int) -> float:
    """Give the size of a series among many: its mean absolute difference of values a season apart, as in MASE.

    But no less than a fiftieth of its deviation ``spread``: measured in deviations, the most regular series would
    hardly count, and measured in differences they would count for all.
    """
    return float(np.fmax(seasonal_scale(rows, season), 0.02 * spread))


def track_scales(panel: Panel, *, season: int | None = None) -> tuple[Array, Array]:
    """Give mean and deviation of each track's known values; the deviation of a constant is 1.

    With a season the size is that of a series among many, `seasonal_size`.

    A track without any has NaN for its mean until its first value comes (`SeriesModel.advance`), which is then taken
    for it. Of fewer than two values the deviation is the usual one of the others.
    """
    mean, deviation = [], []
    for series in panel:
        for line in series.values.T:
            known = line[np.isfinite(line)]
            spread = float(known.std()) if len(known) > 1 else np.nan
            mean.append(float(known.mean()) if len(known) else np.nan)
            constant = len(known) > 1 and spread <= 1e-12 * max(1.0, abs(mean[-1]))
            if season is not None and len(known) > 1 and not constant:
                spread = seasonal_size(line, spread=spread, season=season)
            deviation.append(1.0 if constant else spread)
    if mean and np.isnan(mean).all():
        names = ", ".join(repr(series.id or panel.channels[0]) for series in panel.series[:3])
        raise RangeError(f"the series {names} holds no number; leave its rows out")
    return np.array(mean), like_the_others(np.array(deviation))


def like_the_others(deviation: Array) -> Array:
    """Put the median of the deviations that are known for those that are NaN; 1 where none is."""
    unknown = np.isnan(deviation)
    if not unknown.any():
        return deviation
    return np.where(unknown, 1.0 if unknown.all() else np.median(deviation[~unknown]), deviation)
