"""The forecasts that cost nothing, written as weights of a lookback, so that all else treats them like any other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from titans_seq.errors import unknown_name
from titans_seq.tasks.series_recipe import Recipe
from titans_seq.tasks.series_state import Array


def _last_value(recipe: Recipe) -> Array:
    weights = np.zeros((recipe.lookback, recipe.horizon))
    weights[-1] = 1
    return weights


def _seasonal_naive(recipe: Recipe) -> Array:
    season = min(recipe.seasons[0], recipe.lookback)
    return _cycle(recipe, season)


def _long_seasonal_naive(recipe: Recipe) -> Array:
    season = max((n for n in recipe.seasons if n <= recipe.lookback), default=1)
    return _cycle(recipe, season)


def _cycle(recipe: Recipe, season: int) -> Array:
    weights = np.zeros((recipe.lookback, recipe.horizon))
    steps = np.arange(recipe.horizon)
    weights[recipe.lookback - season + steps % season, steps] = 1
    return weights


def _drift(recipe: Recipe) -> Array:
    weights = _last_value(recipe)
    if recipe.lookback > 1:
        slope = np.arange(1, recipe.horizon + 1) / (recipe.lookback - 1)
        weights[-1] += slope
        weights[0] -= slope
    return weights


BASELINES: Final[dict[str, Callable[[Recipe], Array]]] = {
    "last value": _last_value,
    "seasonal naive": _seasonal_naive,
    "long seasonal naive": _long_seasonal_naive,
    "drift": _drift,
}
"""``seasonal naive`` repeats the last short season, ``long seasonal naive`` the last long one; ``drift`` draws the line
through the first and the last value of the lookback."""


def baseline_weights(name: str, recipe: Recipe) -> Array:
    """Give a baseline as weights W, (lookback, horizon), with ``forecast = (v - m) W + m``.

    Every baseline's weights add up to one for each step, so taking the mean m off and adding it again changes nothing.
    """
    if name not in BASELINES:
        raise unknown_name("baseline", name, BASELINES)
    return BASELINES[name](recipe)
