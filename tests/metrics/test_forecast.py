"""Errors of forecasts by hand."""

from __future__ import annotations

import numpy as np
import pytest

from titans_seq.errors import ShapeError
from titans_seq.metrics.forecast import (
    by_step,
    coverage,
    pinball,
    point_errors,
    seasonal_scale,
    weighted_quantile_loss,
)

ACTUAL = np.array([[1.0, 2.0], [3.0, np.nan]])
FORECAST = np.array([[2.0, 2.0], [1.0, 9.0]])


def test_point_errors_leave_unknown_values_out() -> None:
    errors = point_errors(ACTUAL, FORECAST, scale=np.array([1.0, 2.0]))
    assert errors.mae == pytest.approx(1.0)
    assert errors.mse == pytest.approx(5 / 3)
    assert errors.rmse == pytest.approx(np.sqrt(5 / 3))
    assert errors.mase == pytest.approx((1 + 0 + 1) / 3)
    assert errors.smape == pytest.approx((2 / 3 + 0 + 1) / 3)
    with pytest.raises(ShapeError):
        point_errors(ACTUAL, FORECAST[:1], scale=1.0)


def test_two_zeros_are_no_error() -> None:
    assert point_errors(np.zeros((1, 1)), np.zeros((1, 1)), scale=1.0).smape == 0


def test_scale_of_mase() -> None:
    assert seasonal_scale(np.array([1.0, 2.0, 4.0]), 1) == 1.5
    assert seasonal_scale(np.array([1.0, 9.0, 2.0, np.nan, 5.0]), 2) == 2.0
    assert np.isnan(seasonal_scale(np.ones(9), 2))


def test_pinball_and_wql() -> None:
    assert pinball(np.array(3.0), np.array(1.0), 0.9) == pytest.approx(1.8)
    assert pinball(np.array(1.0), np.array(3.0), 0.9) == pytest.approx(0.2)
    wql = weighted_quantile_loss(ACTUAL, {0.5: FORECAST})
    assert wql == pytest.approx((1 + 0 + 2) / 6)  # at the median: absolute errors over absolute values


def test_coverage_and_steps() -> None:
    assert coverage(ACTUAL, ACTUAL - 1, np.array([[1.0, 1.0], [3.0, 3.0]])) == pytest.approx(2 / 3)
    assert by_step(ACTUAL).tolist() == [2.0, 2.0]
    assert np.isnan(by_step(np.array([[np.nan]]))[0])
