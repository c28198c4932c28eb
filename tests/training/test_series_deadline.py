"""Training within a given time: what is left out, what is said, and that enough time changes nothing."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from tests.tasks.test_series_ridge import load, panel_of
from titans_seq.config.train_series import SeriesSection
from titans_seq.tasks import series_tracks
from titans_seq.tasks.series_moments import design
from titans_seq.tasks.series_recipe import Recipe
from titans_seq.tasks.series_scales import track_scales
from titans_seq.training.deadline import Deadline
from titans_seq.training.series_fit import Fitted, fit_series
from titans_seq.training.series_output import describe_choice

SETTINGS = SeriesSection(horizon=12, lookbacks=(24, 48, 96))


def ticking(seconds: float) -> Deadline:
    """A time of which every look at the clock costs a second."""
    ticks = itertools.count()
    return Deadline(seconds, clock=lambda: float(next(ticks)))


def fit_in(seconds: float) -> Fitted:
    return fit_series(panel_of(load(2000)), SETTINGS, deadline=ticking(seconds))


@pytest.fixture(scope="module")
def whole() -> Fitted:
    return fit_series(panel_of(load(2000)), SETTINGS)


def test_enough_time_changes_nothing_and_is_not_mentioned(whole: Fitted) -> None:
    other = fit_in(1e9)
    assert other.model.fingerprint == whole.model.fingerprint
    assert other.choice is not None
    assert not other.choice.cut_short
    assert not any("--minutes" in line for line in describe_choice(other.choice, other.model))


@pytest.mark.parametrize("seconds", [1, 10, 20])
def test_when_time_is_up_the_best_so_far_ships_and_it_is_said(whole: Fitted, seconds: float) -> None:
    found = fit_in(seconds)
    assert found.choice is not None
    assert whole.choice is not None
    assert found.choice.cut_short
    assert found.choice.ridge.mse >= whole.choice.ridge.mse
    assert np.isfinite(found.model.path(found.state)).all()
    assert describe_choice(found.choice, found.model)[-1].startswith("time was up (--minutes)")


def test_more_time_tries_more() -> None:
    tried = [len(fitted.choice.trials) for fitted in map(fit_in, (1, 25, 1e9)) if fitted.choice is not None]
    assert tried[0] == 0
    assert tried == sorted(tried)
    assert tried[-1] > tried[0]


def test_sums_in_pieces_are_the_sums_and_short_of_time_those_of_the_newest_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    panel = panel_of(load(1000, 2), ids=("a", "b"))
    recipe = Recipe(4, 8, (24,))
    mean, deviation = track_scales(panel)
    tracks = series_tracks.lay_out(panel, recipe, mean=mean, deviation=deviation)
    spans = [(track, 10, 900) for track in tracks]
    windows = (*recipe.windows, recipe.target)
    monkeypatch.setattr(series_tracks, "_PIECE", 100)
    total, share = series_tracks.learn(spans, windows, 4)
    designs = [design(track.numbers, np.arange(10, 900), windows) for track in tracks]
    assert share == 1
    assert np.allclose(total, sum(z.T @ z for z in designs))
    asked = itertools.count()
    total, share = series_tracks.learn(spans, windows, 4, enough=lambda: next(asked) >= 3)  # four pieces: two of each
    assert share == pytest.approx(400 / 1780)
    assert np.allclose(total, sum(z[-200:].T @ z[-200:] for z in designs))


def test_rows_that_there_was_no_time_for_are_told_of(whole: Fitted) -> None:
    assert whole.choice is not None
    lines = describe_choice(replace(whole.choice, share=0.4), whole.model)
    assert "--minutes left time to learn from the newest 40% of the training rows alone" in lines
