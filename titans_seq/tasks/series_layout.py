"""The state of tracks before their first row, and the features that the rows of a state make."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from titans_seq.tasks.series_recipe import Recipe, centre
from titans_seq.tasks.series_state import Array, Carried, SeriesState
from titans_seq.timeseries import Clock
from titans_seq.timeseries.calendar import calendar_features


def empty_state(
    recipe: Recipe, tracks: tuple[str, ...], weights: Array, *, mean: Array, deviation: Array, every: int,
    gram: Array, cross: Array, learned: NDArray[np.int64], memory: Carried | None = None,
) -> SeriesState:  # fmt: skip
    """Give the state of tracks that have had no row; the sums are those learned before, empty where ``every`` is 0."""
    count, kept = len(tracks), recipe.kept + every
    return SeriesState(
        tracks=tracks, rows=np.zeros(count, np.int64), position=np.full(count, -1), tick=np.zeros(count, np.int64),
        numbers=np.zeros((count, kept, len(recipe.sources))), known=np.zeros((count, kept), np.bool_),
        mean=mean.copy(), deviation=deviation.copy(), scale=np.zeros(count), scored=np.zeros(count, np.int64),
        quick=np.zeros(count), tried=np.zeros(count, np.int64), stretch=np.ones(count),
        past_scales=np.zeros((count, recipe.horizon)), memory=memory or {},
        gram=gram.copy(), cross=cross.copy(), learned=learned.copy(), weights=weights.copy(),
    )  # fmt: skip


def lay_features(
    recipe: Recipe, clock: Clock, state: SeriesState, tracks: NDArray[np.int64], numbers: Array,
    origins: NDArray[np.int64], *, last: int,
) -> tuple[Array, Array]:  # fmt: skip
    """Give centred features (tracks, origins, F) and means (tracks, origins, 1).

    Parameters
    ----------
    tracks, numbers
        Tracks of the state, and sources of their rows, (tracks, rows, sources).
    origins
        Places among those rows.
    last
        Place of the row that the state stands at.
    """
    windows = recipe.windows
    carried = [window for window in windows if window.part != "calendar"]
    parts = [numbers[:, origins[:, None] + (w.start + np.arange(w.length)), w.source] for w in carried]
    if len(carried) < len(windows):
        ticks = np.zeros((len(tracks), len(origins)), np.int64)
        if clock.unit != "row":
            ticks = clock.ticks((state.position[tracks, None] - (last - origins)).ravel())
        waves = calendar_features(ticks.ravel(), clock, recipe.calendar)
        parts.append(waves.reshape(len(tracks), len(origins), -1))
    return centre(np.concatenate(parts, axis=2), windows)
