"""The same weights without what was carried: the state reset to the lookback, or switched off."""

from __future__ import annotations

import numpy as np

from titans_seq.tasks.series_recipe import centred_columns
from titans_seq.tasks.series_ridge import SeriesModel
from titans_seq.tasks.series_sources import extend
from titans_seq.tasks.series_state import Array, SeriesState


def path_off(model: SeriesModel, state: SeriesState) -> Array:
    """Forecast with every carried feature at its neutral value: the mean of the lookback. (tracks, horizon)

    The calendar is no memory and stays.
    """
    x, mean = model.features(state)
    windows = model.recipe.windows
    silent = centred_columns(windows) > 0
    silent[: model.recipe.lookback] = False
    x = np.where(silent, 0.0, x)
    return _own_units(state, x @ state.weights + mean)


def path_reset(model: SeriesModel, state: SeriesState) -> Array:
    """Forecast with profiles and levels that have seen the lookback alone, and no year ago. (tracks, horizon)"""
    recipe = model.recipe
    sources, kept = recipe.sources, state.numbers.shape[1]
    look = state.numbers[:, -recipe.lookback :, 0]
    values = np.where(state.known[:, -recipe.lookback :], look, np.nan)
    values[:, 0] = look[:, 0]  # the filters begin with a known value
    past = np.repeat(values[:, :1, None], kept, axis=1).repeat(len(sources), axis=2)
    numbers, _ = extend(sources, past, np.zeros(len(values), np.int64), values)
    fresh = state.clone()
    fresh.numbers = np.concatenate([past, numbers], axis=1)[:, -kept:]
    # Before the lookback there is nothing; its mean stands for the rows of a year ago.
    mean = look.mean(axis=1)
    fresh.numbers[:, : kept - recipe.lookback, 0] = mean[:, None]
    x, middle = model.features(fresh)
    return _own_units(state, x @ state.weights + middle)


def _own_units(state: SeriesState, path: Array) -> Array:
    return path * state.deviation[:, None] + state.mean[:, None]
