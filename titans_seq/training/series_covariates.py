"""Covariates of a table: which are constant within each series, what standardises them, how many a ridge can take."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from titans_seq.errors import ConfigError, RangeError
from titans_seq.tasks.series_files import Snapshot
from titans_seq.tasks.series_recipe import Covariate, Recipe
from titans_seq.tasks.series_ridge import SeriesModel
from titans_seq.tasks.series_state import Array, SeriesState
from titans_seq.timeseries import Names, Panel, TableOptions
from titans_seq.timeseries.future import coming_rows, header_of, read_future, refuse_targets

_log = logging.getLogger(__name__)

MOST: Final = 2000
"""Features of all covariates together; the ridge's work grows with the square of its features."""


def covariates_of(panel: Panel) -> tuple[Covariate, ...]:
    """Describe each covariate column of a panel.

    A column that has one value within each series is static: it needs no future. A column that is the same everywhere
    tells nothing and is left out.
    """
    found = []
    for at, name in enumerate(panel.covariates):
        columns = [series.covariates[:, at] for series in panel]
        known = np.concatenate([column[np.isfinite(column)] for column in columns])
        if not len(known):
            raise RangeError(f"the covariate {name!r} holds no number")
        deviation = float(known.std())
        if deviation <= 1e-12 * max(1.0, abs(float(known.mean()))):
            continue
        static = all(_constant(column[np.isfinite(column)]) for column in columns)
        found.append(Covariate(name, static, float(known.mean()), deviation))
    return tuple(found)


def check_width(recipe: Recipe) -> None:
    """Refuse more covariates than a ridge can take at this horizon.

    Raises
    ------
    ConfigError
        With how many it can.
    """
    widths = [window.length for window in recipe.windows if window.part.startswith("future ")]
    if sum(widths) > MOST:
        raise ConfigError(
            f"{len(widths)} covariates over a horizon of {recipe.horizon} rows make {sum(widths):,} inputs of the "
            f"ridge; name at most {MOST // widths[0]}, or shorten the horizon"
        )


def coming_of(
    model: SeriesModel, state: SeriesState, read: Callable[[tuple[str, ...]], Panel], *, names: Names, path: Path
) -> Array | None:
    """Give the covariates that a forecast from ``state`` needs, (tracks, horizon, covariates); None if it needs none.

    Parameters
    ----------
    read
        Reads the table of the future, given the columns that are wanted.
    path
        Of that table, for messages.
    """
    wanted = tuple(covariate.name for covariate in model.recipe.foreknown)
    if not wanted:
        return None
    stands = zip(*state.standing(), strict=True)
    ticks = [model.clock.after(int(tick), int(position), model.recipe.horizon) for tick, position in stands]
    ids = [_series_of(track, model.channels, has_ids=names.has_ids) for track in state.tracks]
    return coming_rows(read(wanted), ids, ticks, covariates=wanted, path=path)


def read_coming(path: Path, table: TableOptions, snapshot: Snapshot) -> Array | None:
    """Read what a table of the future says about the rows to be forecast; None where the model uses nothing of it.

    Raises
    ------
    InputFileError
        A target in it, rows missing.
    """
    model, names = snapshot.model, snapshot.names
    refuse_targets(path, header_of(path), model.channels)
    if not model.recipe.foreknown:
        _log.warning("%s: the %s that forecasts uses none of it", path, model.method)

    def read(covariates: tuple[str, ...]) -> Panel:
        return read_future(path, table, clock=model.clock, names=names, covariates=covariates)

    return coming_of(model, snapshot.state, read, names=names, path=path)


def check_coming(panel: Panel, future: Panel, *, horizon: int, path: Path) -> None:
    """Refuse a table of the future that lacks rows of a panel's horizon, before anything is trained."""
    wanted = [covariate.name for covariate in covariates_of(panel) if not covariate.static]
    ticks = [panel.clock.after(int(series.ticks[-1]), series.stop - 1, horizon) for series in panel]
    if wanted:
        coming_rows(future, [series.id for series in panel], ticks, covariates=wanted, path=path)


def actual_coming(model: SeriesModel, panel: Panel, rows: NDArray[np.int64]) -> Array | None:
    """Give the covariates behind row ``rows[i]`` of each series as they came, (tracks, horizon, covariates)."""
    wanted = [panel.covariates.index(covariate.name) for covariate in model.recipe.foreknown]
    if not wanted:
        return None
    ahead = np.arange(model.recipe.horizon)
    each = [series.covariates[first + ahead][:, wanted] for series, first in zip(panel, rows.tolist(), strict=True)]
    return np.repeat(np.array(each), len(panel.channels), axis=0)


def _series_of(track: str, channels: tuple[str, ...], *, has_ids: bool) -> str:
    """Give the id of a track's series; the inverse of `Panel.tracks_of`."""
    if not has_ids:
        return ""
    if len(channels) == 1:
        return track
    return track.removesuffix(next(f"/{channel}" for channel in channels if track.endswith(f"/{channel}")))


def _constant(values: Array) -> bool:
    return not len(values) or bool((values == values[0]).all())
