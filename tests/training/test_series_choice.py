"""What a model is made of is decided on held-out rows: parts that help ship, others do not."""

from __future__ import annotations

import numpy as np
import pytest

from titans_seq.config.train_series import SeriesSection
from titans_seq.errors import RangeError
from titans_seq.timeseries import Clock, Panel, Series
from titans_seq.timeseries.calendar import calendar_features, calendar_names, find_season, season_lengths
from titans_seq.training.series_fit import Fitted, fit_series
from titans_seq.training.series_output import describe_choice

HOUR = 3_600_000_000


def hourly(values: np.ndarray) -> Panel:
    clock = Clock("us", HOUR, 0)
    ticks = clock.ticks(np.arange(len(values)))
    return Panel((Series("a", 0, ticks, values[:, None], np.empty((len(values), 0))),), clock, ("y",))


def fit(values: np.ndarray, **settings: object) -> Fitted:
    return fit_series(hourly(values), SeriesSection(horizon=24, lookbacks=(24, 48), **settings))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    return np.random.default_rng(0).standard_normal(4000)


def test_a_random_walk_keeps_its_last_value(noise: np.ndarray) -> None:
    fitted = fit(np.cumsum(noise))
    assert fitted.model.method == "last value"
    assert np.allclose(fitted.model.path(fitted.state), np.cumsum(noise)[-1])
    assert "the last value ships" in describe_choice(fitted.choice, fitted.model)[0]


def test_a_weekly_profile_ships_where_the_lookback_is_a_day(noise: np.ndarray) -> None:
    t = np.arange(4000)
    weekly = np.random.default_rng(1).standard_normal(168)[t % 168]
    fitted = fit(weekly + 0.3 * noise)
    assert fitted.model.method == "structured ridge"
    assert "profile 168" in fitted.model.recipe.parts
    assert fitted.choice is not None
    assert fitted.choice.best.mse < 0.5 * fitted.choice.ridge.mse


def test_nothing_ships_that_is_switched_off(noise: np.ndarray) -> None:
    weekly = np.random.default_rng(1).standard_normal(168)[np.arange(4000) % 168]
    assert fit(weekly + 0.3 * noise, parts=()).model.recipe.parts == ()


def test_the_same_rows_give_the_same_model(noise: np.ndarray) -> None:
    first, second = fit(noise + 3), fit(noise + 3)
    assert first.model.fingerprint == second.model.fingerprint


def test_intervals_cover_what_they_promise(noise: np.ndarray) -> None:
    t = np.arange(4000)
    spread = 1 + 0.8 * np.sin(2 * np.pi * t / 2000)  # the noise itself swells and shrinks
    values = 5 * np.sin(2 * np.pi * t / 24) + spread * noise
    panel = hourly(values)
    fitted = fit_series(panel.replace([panel.series[0].rows(0, 2800)]), SeriesSection(horizon=24, lookbacks=(24, 48)))
    model, state, hits = fitted.model, fitted.state, []
    for row in range(2800, 3900, 20):
        path = model.path(state)
        low, high = (model.quantile(state, path, q)[0] for q in (0.05, 0.95))
        hits.append(((values[row : row + 24] >= low) & (values[row : row + 24] <= high)).mean())
        model.advance(state, panel.replace([panel.series[0].rows(row, row + 20)]))
    assert 0.85 <= np.mean(hits) <= 0.95


def test_a_horizon_needs_a_history() -> None:
    with pytest.raises(RangeError, match="longer than the history of 20"):
        fit(np.arange(20.0))


def test_a_year_needs_two_years_of_training_rows() -> None:
    clock = Clock("us", HOUR, 0)
    assert calendar_names(clock, 400) == ("day", "week")
    assert calendar_names(clock, 2 * 8766) == ("day", "week", "year")
    assert season_lengths(clock) == (24, 168)
    assert season_lengths(Clock("us", 24 * HOUR, 0)) == (7,)
    assert season_lengths(Clock("month", 1, 0)) == (12,)


def test_the_calendar_is_wall_time() -> None:
    summer = int(np.datetime64("2024-07-01T10", "us").astype(np.int64))
    utc, berlin = Clock("us", HOUR, 0), Clock("us", HOUR, 0, zone="Europe/Berlin")
    there = calendar_features(np.array([summer]), berlin, ("day",))
    assert np.allclose(there, calendar_features(np.array([summer + 2 * HOUR]), utc, ("day",)))


def test_a_season_is_found_where_stamps_tell_nothing(noise: np.ndarray) -> None:
    t = np.arange(1000)
    assert find_season([np.sin(2 * np.pi * t / 31) + 0.02 * noise[:1000]]) == 31
    assert find_season([noise[:31][t % 31] + 0.3 * noise[:1000]]) == 31
    assert find_season([noise[:1000]]) == 1
