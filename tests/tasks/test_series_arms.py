"""The arms of a backtest: the same weights, with what was carried reset or off."""

from __future__ import annotations

import numpy as np

from titans_seq.config.train_series import SeriesSection
from titans_seq.tasks.series_arms import path_off, path_reset
from titans_seq.timeseries import Clock, Panel, Series
from titans_seq.training.series_fit import fit_series

HOUR = 3_600_000_000


def weekly(rows: int) -> Panel:
    random = np.random.default_rng(0)
    values = random.standard_normal(168)[np.arange(rows) % 168] + 0.3 * random.standard_normal(rows)
    ticks = Clock("us", HOUR, 0).ticks(np.arange(rows))
    series = Series("a", 0, ticks, values[:, None], np.empty((rows, 0)))
    return Panel((series,), Clock("us", HOUR, 0), ("y",))


def test_reset_and_off_lose_what_the_profile_knew() -> None:
    panel = weekly(2100)
    known = panel.replace([panel.series[0].rows(0, 2000)])
    fitted = fit_series(known, SeriesSection(horizon=24, lookbacks=(24,)))
    model, state = fitted.model, fitted.state
    assert "profile 168" in model.recipe.parts
    truth = panel.series[0].values[2000:2024, 0]
    before = {name: array.copy() for name, array in state.arrays().items()}
    errors = [
        np.abs(path[0] - truth).mean() for path in (model.path(state), path_reset(model, state), path_off(model, state))
    ]
    assert errors[0] < 0.7 * errors[1]
    assert errors[0] < 0.7 * errors[2]
    # Looking at an arm changes nothing that is carried.
    assert all((array == before[name]).all() for name, array in state.arrays().items())
    # A reset state holds the lookback alone: older rows do not matter to it.
    other = state.clone()
    other.numbers[:, : -model.recipe.lookback] += 5.0
    assert (path_reset(model, other) == path_reset(model, state)).all()
