"""Errors of forecasts against what came: arrays (windows, horizon); NaN is unknown and counts nowhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from titans_seq.errors import ShapeError

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Errors:
    """Averages over windows and steps.

    Attributes
    ----------
    mae, mse, rmse
        Mean absolute error, mean squared error and its root.
    mase
        MAE over the mean absolute seasonal difference of the training rows (Hyndman and Koehler 2006).
    smape
        Mean of ``2 |y - f| / (|y| + |f|)``, between 0 and 2; 0 where both are 0.
    """

    mae: float
    mse: float
    rmse: float
    mase: float
    smape: float


def point_errors(actual: Array, forecast: Array, *, scale: Array | float) -> Errors:
    """Score a point forecast.

    Parameters
    ----------
    actual, forecast
        (windows, horizon).
    scale
        Mean absolute seasonal difference of the series of each window (`seasonal_scale`), (windows,) or one number.
    """
    _same(actual, forecast)
    error = actual - forecast
    mse = _mean(error**2)
    scaled = np.abs(error) / np.reshape(np.asarray(scale, dtype=np.float64), (-1, 1))
    size = np.abs(actual) + np.abs(forecast)
    ratio = np.divide(2 * np.abs(error), size, out=np.where(np.isnan(error), np.nan, 0.0), where=size > 0)
    return Errors(_mean(np.abs(error)), mse, float(np.sqrt(mse)), _mean(scaled), _mean(ratio))


def seasonal_scale(values: Array, season: int) -> float:
    """Give the mean absolute difference of values a season apart, the denominator of MASE; NaN for a constant.

    ``[1, 2, 4]`` with a season of 1 gives 1.5.
    """
    differences = np.abs(values[season:] - values[:-season]) if len(values) > season else np.zeros(0)
    known = differences[np.isfinite(differences)]
    size = float(known.mean()) if len(known) else 0.0
    return size if size > 0 else float("nan")


def pinball(actual: Array, forecast: Array, quantile: float) -> Array:
    """Give the quantile loss ``max(q (y - f), (q - 1) (y - f))``, elementwise."""
    error = actual - forecast
    return np.maximum(quantile * error, (quantile - 1) * error)


def weighted_quantile_loss(actual: Array, quantiles: Mapping[float, Array]) -> float:
    """Give twice the pinball loss, averaged over quantiles, over the sum of absolute actual values.

    With quantiles evenly spread this approximates the CRPS, scaled (the WQL of GluonTS and GIFT-Eval).
    """
    known = np.isfinite(actual)
    total = float(np.abs(actual[known]).sum())
    losses = [2 * float(pinball(actual, path, q)[known].sum()) for q, path in quantiles.items()]
    return float(np.mean(losses)) / total if total > 0 else float("nan")


def coverage(actual: Array, low: Array, high: Array) -> float:
    """Give the share of known actual values inside the interval, ends included."""
    known = np.isfinite(actual)
    return float(((actual >= low) & (actual <= high))[known].mean()) if known.any() else float("nan")


def by_step(values: Array) -> Array:
    """Average over windows, (horizon,); NaN for a step of which nothing is known."""
    known = np.isfinite(values)
    counts = known.sum(axis=0)
    sums = np.where(known, values, 0.0).sum(axis=0)
    return np.divide(sums, counts, out=np.full(values.shape[1], np.nan), where=counts > 0)


def _mean(values: Array) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def _same(actual: Array, forecast: Array) -> None:
    if actual.shape != forecast.shape or actual.ndim != 2:
        raise ShapeError(f"expected two arrays (windows, horizon) of one shape, found {actual.shape}, {forecast.shape}")
