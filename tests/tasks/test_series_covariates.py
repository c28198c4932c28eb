"""Covariates in the ridge: learned where they explain something, carried in the state, the same under any cut."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from titans_seq.config.train_series import SeriesSection
from titans_seq.errors import ConfigError
from titans_seq.tasks.series_arms import path_off, path_reset, path_shuffled
from titans_seq.tasks.series_files import Snapshot
from titans_seq.tasks.series_recipe import Recipe
from titans_seq.timeseries import Clock, Names, Panel, Series
from titans_seq.training.series_covariates import actual_coming, check_width, covariates_of
from titans_seq.training.series_fit import Fitted, fit_series

HOUR = 3_600_000_000
CLOCK = Clock("us", HOUR, 0)
HORIZON = 12


def spiky(rows: int, *, series: int = 1, start: int = 0, covariates: Sequence[str] = ("promo", "noise")) -> Panel:
    """A daily cycle with spikes of 8 where ``promo`` is 1, and a second column that means nothing."""
    random = np.random.default_rng(0)
    members = []
    for number in range(series):
        t = np.arange(4000)
        promo = (random.random(4000) < 0.05).astype(float)
        noise = random.standard_normal(4000)
        values = 3 * np.sin(2 * np.pi * t / 24) + 8 * promo + 0.3 * random.standard_normal(4000)
        columns = {"promo": promo, "noise": noise, "size": np.full(4000, float(number))}
        part = slice(start, start + rows)
        given = np.stack([columns[name][part] for name in covariates], axis=1)
        name = f"s{number}" if series > 1 else ""
        members.append(Series(name, start, CLOCK.ticks(t[part]), values[part, None], given))
    return Panel(tuple(members), CLOCK, ("y",), tuple(covariates))


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    return fit_series(spiky(1500), SeriesSection(horizon=HORIZON, lookbacks=(24, 48), refit_every=128))


def coming(fitted: Fitted, rows: int) -> np.ndarray:
    found = actual_coming(fitted.model, spiky(4000), np.array([rows]))
    assert found is not None
    return found


def test_what_explains_the_spikes_ships_and_noise_does_not(fitted: Fitted) -> None:
    assert fitted.model.method == "structured ridge"
    assert [covariate.name for covariate in fitted.model.recipe.covariates] == ["promo"]
    assert fitted.choice is not None
    assert "future noise" not in fitted.model.recipe.parts
    assert any(name == "future noise" and not ships for name, _, _, ships in fitted.choice.trials)
    assert fitted.choice.best.mse < 0.2 * fitted.choice.ridge.mse


def test_the_forecast_follows_the_covariate(fitted: Fitted) -> None:
    given = coming(fitted, 1500)
    without = given.copy()
    given[0, :, 0], without[0, :, 0] = 0.0, 0.0
    given[0, 5, 0] = 1.0
    raised = fitted.model.path(fitted.state, given) - fitted.model.path(fitted.state, without)
    assert raised[0, 5] == pytest.approx(8, abs=1.0)
    assert np.abs(np.delete(raised[0], 5)).max() < 1.5


def test_any_cut_gives_the_forecast_of_one_pass_and_a_file_keeps_it(fitted: Fitted, tmp_path: Path) -> None:
    whole = fitted.model.advance(fitted.state.clone(), spiky(300, start=1500))
    pieces = fitted.state.clone()
    for first, rows in ((1500, 1), (1501, 150), (1651, 149)):
        fitted.model.advance(pieces, spiky(rows, start=first))
    given = coming(fitted, 1800)
    assert np.abs(fitted.model.path(whole, given) - fitted.model.path(pieces, given)).max() < 1e-9
    Snapshot(fitted.model, whole, Names()).save(tmp_path / "s.state")
    again = Snapshot.load(tmp_path / "s.state")
    assert (again.model.path(again.state, given) == fitted.model.path(whole, given)).all()
    truth = spiky(HORIZON, start=1800).series[0].values[:, 0]
    assert np.abs(fitted.model.path(whole, given)[0] - truth).mean() < 0.6


def test_a_missing_cell_is_the_mean(fitted: Fitted) -> None:
    given = coming(fitted, 1500)
    mean = given.copy()
    given[0, 3, 0], mean[0, 3, 0] = np.nan, fitted.model.recipe.covariates[0].mean
    assert np.allclose(fitted.model.path(fitted.state, given), fitted.model.path(fitted.state, mean))


def test_the_model_asks_for_what_it_needs(fitted: Fitted) -> None:
    with pytest.raises(ConfigError, match="needs 'promo' of the next 12 rows: give them by --future"):
        fitted.model.path(fitted.state)


def test_arms_keep_covariates(fitted: Fitted) -> None:
    given = coming(fitted, 1500)
    none = np.zeros_like(given)
    none[0, 5, 0] = 1.0
    for arm in (path_off, path_reset, path_shuffled):
        raised = arm(fitted.model, fitted.state, none) - arm(fitted.model, fitted.state, np.zeros_like(given))
        assert raised[0, 5] == pytest.approx(8, abs=1.0)


def test_static_columns_are_told_from_others_and_a_constant_is_left_out() -> None:
    panel = spiky(100, series=3, covariates=("promo", "size"))
    assert [(covariate.name, covariate.static) for covariate in covariates_of(panel)] == [
        ("promo", False),
        ("size", True),
    ]
    assert covariates_of(spiky(100, covariates=("size",))) == ()


def test_a_static_covariate_tells_series_apart() -> None:
    """Series drift up or down by a column of the table that the lookback of two rows cannot see in the noise."""
    random = np.random.default_rng(1)
    members = []
    for number in range(40):
        up = float(number % 2)
        values = np.cumsum(0.4 * (2 * up - 1) + random.standard_normal(200))[:, None]
        members.append(Series(f"s{number}", 0, CLOCK.ticks(np.arange(200)), values, np.full((200, 1), up)))
    panel = Panel(tuple(members), CLOCK, ("y",), ("up",))
    fitted = fit_series(panel, SeriesSection(horizon=HORIZON, lookbacks=(2,), parts=()))
    assert fitted.model.recipe.parts == ("static up",)
    rise = fitted.model.path(fitted.state)[:, -1] - np.array([series.values[-1, 0] for series in panel])
    assert (np.sign(rise) == [2 * (number % 2) - 1 for number in range(40)]).mean() > 0.9


def test_too_many_are_refused() -> None:
    random = np.random.default_rng(0)
    names = tuple(f"c{i}" for i in range(12))
    series = Series("", 0, CLOCK.ticks(np.arange(900)), random.random((900, 1)), random.random((900, 12)))
    covariates = covariates_of(Panel((series,), CLOCK, ("y",), names))
    recipe = Recipe(336, 24, (24,), tuple(covariate.part for covariate in covariates), covariates=covariates)
    with pytest.raises(ConfigError, match=r"12 covariates over a horizon of 336 rows make 4,320 .* name at most 5"):
        check_width(recipe)
