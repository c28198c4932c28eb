"""The same weights without what was carried: what a backtest calls reset, off and shuffled.

What a ridge carries of a series beside its lookback is, in the state's words, the windows of profiles, levels and the
rows of a year ago: the *carried numbers*. Calendar and covariates come from the stamps and the table, so they are no
memory and stay as they are in every arm; so do the weights, refitted online or not.

carried   the numbers as they were carried from the first row of the table on
reset     profiles and levels that began at the first row of the lookback, and no year ago
off       every carried number at its neutral value, the mean of the lookback
shuffled  the same carried numbers of the same track in another order: of the right size, at the wrong places

A fifth arm is the model's second memory, the sums G and P that are solved again online: *frozen* forecasts with the
weights of the first cutoff (`titans_seq.training.series_backtest`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from titans_seq.tasks.series_recipe import Recipe, centred_columns
from titans_seq.tasks.series_ridge import SeriesModel
from titans_seq.tasks.series_sources import before_first, extend
from titans_seq.tasks.series_state import Array, SeriesState


def carried_columns(recipe: Recipe) -> NDArray[np.bool_]:
    """Mark the features that are carried beside the lookback, (features,)."""
    carried = centred_columns(recipe.windows) > 0
    carried[: recipe.lookback] = False
    return carried


def path_off(model: SeriesModel, state: SeriesState, coming: Array | None = None) -> Array:
    """Forecast with every carried number at its neutral value, (tracks, horizon); ``coming`` as for `path`."""
    x, mean = model.features(state, coming)
    x = np.where(carried_columns(model.recipe), 0.0, x)
    return _own_units(state, x @ state.weights + mean)


def path_shuffled(model: SeriesModel, state: SeriesState, coming: Array | None = None, *, seed: int = 0) -> Array:
    """Forecast with each track's carried numbers in an order drawn by ``seed``, (tracks, horizon)."""
    x, mean = model.features(state, coming)
    at = np.flatnonzero(carried_columns(model.recipe))
    x = x.copy()
    x[:, at] = np.random.default_rng(seed).permuted(x[:, at], axis=1)
    return _own_units(state, x @ state.weights + mean)


def path_reset(model: SeriesModel, state: SeriesState, coming: Array | None = None) -> Array:
    """Forecast with profiles and levels that have seen the lookback alone, and no year ago. (tracks, horizon)"""
    recipe = model.recipe
    sources, kept, inputs = recipe.sources, state.numbers.shape[1], len(recipe.inputs)
    look = state.numbers[:, -recipe.lookback :, 0]
    values = np.where(state.known[:, -recipe.lookback :], look, np.nan)
    values[:, 0] = look[:, 0]  # the filters begin with a known value
    past = before_first(sources, values[:, 0]).repeat(kept, axis=1)
    given = state.numbers[:, -recipe.lookback :, len(sources) - inputs :]
    numbers, _ = extend(sources, past, np.zeros(len(values), np.int64), values, given)
    fresh = state.clone()
    fresh.numbers = np.concatenate([past, numbers], axis=1)[:, -kept:]
    # Before the lookback there is nothing; its mean stands for the rows of a year ago.
    mean = look.mean(axis=1)
    fresh.numbers[:, : kept - recipe.lookback, 0] = mean[:, None]
    if inputs:  # covariates are no memory
        fresh.numbers[:, :, len(sources) - inputs :] = state.numbers[:, :, len(sources) - inputs :]
    x, middle = model.features(fresh, coming)
    return _own_units(state, x @ state.weights + middle)


def _own_units(state: SeriesState, path: Array) -> Array:
    return path * state.deviation[:, None] + state.mean[:, None]
