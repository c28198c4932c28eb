"""The arms of a backtest: the same weights, with what was carried reset or off."""

from __future__ import annotations

import numpy as np

from titans_seq.config.train_series import SeriesSection
from titans_seq.tasks.series_arms import carried_columns, path_off, path_reset, path_shuffled
from titans_seq.timeseries import Clock, Panel, Series
from titans_seq.training.series_fit import fit_series

HOUR = 3_600_000_000


def weekly(rows: int) -> Panel:
    random = np.random.default_rng(0)
    values = random.standard_normal(168)[np.arange(rows) % 168] + 0.3 * random.standard_normal(rows)
    ticks = Clock("us", HOUR, 0).ticks(np.arange(rows))
    series = Series("a", 0, ticks, values[:, None], np.empty((rows, 0)))
    return Panel((series,), Clock("us", HOUR, 0), ("y",))


def test_every_arm_loses_what_the_profile_knew() -> None:
    panel = weekly(2100)
    known = panel.replace([panel.series[0].rows(0, 2000)])
    fitted = fit_series(known, SeriesSection(horizon=24, lookbacks=(24,)))
    model, state = fitted.model, fitted.state
    assert "profile 168" in model.recipe.parts
    truth = panel.series[0].values[2000:2024, 0]
    before = {name: array.copy() for name, array in state.arrays().items()}
    own = np.abs(model.path(state)[0] - truth).mean()
    for arm in (path_reset, path_off, path_shuffled):
        assert own < 0.7 * np.abs(arm(model, state)[0] - truth).mean()
    # Looking at an arm changes nothing that is carried.
    assert all((array == before[name]).all() for name, array in state.arrays().items())
    # A reset state holds the lookback alone: older rows do not matter to it.
    other = state.clone()
    other.numbers[:, : -model.recipe.lookback] += 5.0
    assert (path_reset(model, other) == path_reset(model, state)).all()


def test_shuffling_moves_the_carried_numbers_and_nothing_else() -> None:
    fitted = fit_series(weekly(2000), SeriesSection(horizon=24, lookbacks=(24,)))
    model, state = fitted.model, fitted.state
    carried = carried_columns(model.recipe)
    assert carried.sum() == 2 * 168  # two profiles of a week
    # Weights that add the carried numbers up cannot tell their order.
    state.weights[carried] = 1.0
    assert np.allclose(path_shuffled(model, state), model.path(state))
    state.weights[carried] = np.arange(carried.sum())[:, None]
    assert not np.allclose(path_shuffled(model, state), model.path(state))
    assert (path_shuffled(model, state) == path_shuffled(model, state)).all()
