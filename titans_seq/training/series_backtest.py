"""Roll the origin: bring the state to each cutoff, forecast in every arm, go on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from titans_seq.config.train_series import SeriesSection
from titans_seq.errors import RangeError
from titans_seq.metrics.forecast import seasonal_scale
from titans_seq.tasks.series_arms import carried_columns, path_off, path_reset, path_shuffled
from titans_seq.tasks.series_baselines import BASELINES, baseline_weights
from titans_seq.tasks.series_correction import AFRESH
from titans_seq.tasks.series_recipe import Recipe
from titans_seq.tasks.series_ridge import SeriesModel
from titans_seq.tasks.series_state import Array, SeriesState
from titans_seq.tasks.series_tracks import lay_out
from titans_seq.timeseries import Panel
from titans_seq.timeseries.panel import Names
from titans_seq.timeseries.writing import MODEL, column_of, forecast_table
from titans_seq.training.series_covariates import actual_coming
from titans_seq.training.series_fit import Fitted, build_model, fit_series, state_at
from titans_seq.training.series_output import describe_choice, describe_model

_FEATURE_ARMS: Final = {"titans_reset": path_reset, "titans_off": path_off, "titans_shuffled": path_shuffled}
ARMS: Final = {
    "titans_reset": "profiles and levels begun anew at the lookback",
    "titans_off": "without profiles, levels and last year",
    "titans_shuffled": "their numbers in another order",
    "titans_frozen": "carried, but the weights never solved again after the first window",
    "memory_reset": f"the correction's memory begun anew every {AFRESH} tokens",
    "memory_off": "every read of that memory zero",
    "uncorrected": "the forecast beneath the correction",
}
"""Columns beside ours: what each takes away from the same weights."""

_log = logging.getLogger(__name__)
Watch = Callable[[str, float, float, str], None]


@dataclass(frozen=True)
class Windows:
    """The moments to forecast from.

    Attributes
    ----------
    cutoffs
        For each window, rows of each series that are known, (series,): the last one leaves a horizon behind it.
    horizon
        Rows of a window.
    """

    cutoffs: tuple[NDArray[np.int64], ...]
    horizon: int


@dataclass(frozen=True)
class Facts:
    """What a backtest found beside the forecasts.

    Attributes
    ----------
    method, remarks
        What shipped at the first cutoff, and why.
    arms
        Columns of the same weights with the state reset, off or shuffled (`titans_seq.tasks.series_arms`), and of the
        state with the weights of the first cutoff; each where there is such a thing.
    baselines
        Columns of the baselines.
    scales
        Mean absolute seasonal difference before the first cutoff, by track: the denominator of MASE.
    """

    method: str
    remarks: tuple[str, ...]
    arms: tuple[str, ...]
    baselines: tuple[str, ...]
    scales: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """Give what belongs into the report."""
        return {"method": self.method, "remarks": list(self.remarks)}


def windows_of(panel: Panel, *, horizon: int, count: int, step: int) -> Windows:
    """Lay ``count`` windows, ``step`` rows apart, against the end of each series.

    Raises
    ------
    RangeError
        A series too short for the first window to have any history.
    """
    lengths = np.array([len(series) for series in panel])
    back = horizon + step * np.arange(count - 1, -1, -1)
    shortest = int(lengths.min())
    if shortest - back[0] < 2:
        name = panel.series[int(lengths.argmin())].id or panel.channels[0]
        fit = max(0, (shortest - 2 - horizon) // step + 1)
        raise RangeError(
            f"{count} windows of {horizon} rows, {step} apart, need {int(back[0]) + 2} rows; {name!r} has {shortest}; "
            f"ask for at most {fit} windows, or a shorter horizon"
        )
    return Windows(tuple(lengths - rows for rows in back), horizon)


def without_empty(panel: Panel, windows: Windows) -> tuple[Panel, Windows]:
    """Leave out, and name, the series that hold no number before the first cutoff: nothing can be forecast there.

    Raises
    ------
    RangeError
        No series is left; one of several columns of a series that stays.
    """
    known = [
        np.isfinite(series.values[: int(stop)]).any(axis=0)
        for series, stop in zip(panel, windows.cutoffs[0], strict=True)
    ]
    names = [series.id or panel.channels[0] for series, some in zip(panel, known, strict=True) if not some.any()]
    kept = np.array([some.any() for some in known])
    for series, some in zip(panel, known, strict=True):
        if some.any() and not some.all():
            track = panel.tracks_of(series)[int(np.argmin(some))]
            raise RangeError(
                f"{track!r} holds no number before the first window; ask for fewer windows, or leave it out"
            )
    if not kept.any():
        raise RangeError(f"the series {names[0]!r} holds no number before the first window; ask for fewer windows")
    if kept.all():
        return panel, windows
    _log.warning("left out, as they hold no number before the first window: %s", ", ".join(map(repr, names)))
    parts = [series for series, some in zip(panel, kept, strict=True) if some]
    return panel.replace(parts), replace(windows, cutoffs=tuple(cutoff[kept] for cutoff in windows.cutoffs))


def roll(
    panel: Panel, windows: Windows, settings: SeriesSection, *, quantiles: Sequence[float], refit: bool, watch: Watch,
    model: SeriesModel | None = None,
) -> tuple[pl.DataFrame, Facts]:  # fmt: skip
    """Forecast from every cutoff, by a given model or by one fitted to the rows before the first.

    Returns
    -------
    frame
        Id, time, ``cutoff``, ``y``, the forecast with its quantiles, and a column for each baseline and arm.
    """
    first = _until(panel, windows.cutoffs[0])
    if model is None:
        fitted = fit_series(first, settings)
    else:
        fitted = Fitted(model, model.advance(model.begin(first), first), None)
    begun = fitted.state.weights.copy()
    arms = {name: (other, other.advance(other.begin(first), first)) for name, other in _less(fitted.model).items()}
    ridge = _plain_ridge(first, fitted)
    frames = []
    before = windows.cutoffs[0]
    for number, cutoff in enumerate(windows.cutoffs):
        watch("backtest", number, len(windows.cutoffs), fitted.model.method)
        if refit and number:
            fitted = fit_series(_until(panel, cutoff), settings)
            begun = fitted.state.weights.copy()
        elif number:
            for one, state in ((fitted.model, fitted.state), *arms.values()):
                one.advance(state, _between(panel, before, cutoff))
        before = cutoff
        paths = {name: other.path(state) for name, (other, state) in arms.items()}
        frames.append(_window(panel, cutoff, fitted, ridge, quantiles, frozen=None if refit else begun, arms=paths))
    scales = {
        name: seasonal_scale(series.values[:, channel], fitted.model.recipe.seasons[0])
        for series in first
        for channel, name in enumerate(first.tracks_of(series))
    }
    baselines = (*(_column(name) for name in _baselines(fitted.model)), *(("ridge",) if ridge is not None else ()))
    # With --refit another recipe may ship at each cutoff: an arm counts where every window has it.
    shown = tuple(name for name in ARMS if all(name in frame.columns for frame in frames))
    remarks = describe_choice(fitted.choice, fitted.model) if model is None else []
    facts = Facts(describe_model(fitted.model), tuple(remarks), shown, baselines, scales)
    return pl.concat([frame.drop(set(ARMS) - set(shown), strict=False) for frame in frames]), facts


def _less(model: SeriesModel) -> dict[str, SeriesModel]:
    """Give the same weights with less of a memory; each reads the series on its own."""
    correction = model.correction
    if correction is None:
        return {}
    reads = {"memory_reset": correction.with_arm("reset"), "memory_off": correction.with_arm("off")}
    arms = reads if correction.remembers else {}
    return {name: replace(model, correction=arm) for name, arm in (*arms.items(), ("uncorrected", None))}


def _window(
    panel: Panel, cutoff: NDArray[np.int64], fitted: Fitted, ridge: SeriesModel | None, quantiles: Sequence[float], *,
    frozen: Array | None, arms: dict[str, Array],
) -> pl.DataFrame:  # fmt: skip
    model, state = fitted.model, fitted.state
    horizon = model.recipe.horizon
    coming = actual_coming(model, panel, cutoff)
    path = model.path(state, coming)
    columns = {MODEL: path}
    columns |= {column_of(quantile): model.quantile(state, path, quantile) for quantile in quantiles}
    known = _until(panel, cutoff)
    for name in _baselines(model):
        columns[_column(name)] = _baseline(known, name, model.recipe.seasons, horizon)
    if ridge is not None:
        columns["ridge"] = _path_of(ridge, known)
    columns |= arms
    if carried_columns(model.recipe).any() and model.correction is None:
        columns |= {name: arm(model, state, coming) for name, arm in _FEATURE_ARMS.items()}
    if frozen is not None and model.every:
        columns["titans_frozen"] = model.path(replace(state, weights=frozen), coming)
    ticks, actual, cutoffs = [], [], []
    for series, rows in zip(panel, cutoff, strict=True):
        for channel in range(len(panel.channels)):
            ticks.append(series.ticks[rows : rows + horizon])
            actual.append(series.values[rows : rows + horizon, channel])
            cutoffs.append(np.full(horizon, series.ticks[rows - 1]))
    frame = forecast_table(
        panel.track_ids(), ticks, {"y": np.array(actual), **columns}, clock=panel.clock, names=Names()
    )
    at = forecast_table(panel.track_ids(), cutoffs, {}, clock=panel.clock, names=Names())["ds"]
    frame = frame.insert_column(2, at.alias("cutoff"))
    return frame.with_columns(pl.col("y").fill_nan(None))


def _plain_ridge(panel: Panel, fitted: Fitted) -> SeriesModel | None:
    """Give the plain ridge, lookback and penalty chosen on validation, from the rows before the first cutoff."""
    if fitted.choice is None:
        return None
    model, recipe = fitted.model, fitted.choice.ridge.recipe
    tracks = lay_out(panel, recipe, mean=model.mean, deviation=model.deviation)
    stops = [len(track) for track in tracks]
    return build_model(
        panel, recipe, tracks, stops, method="ridge", every=0, mean=model.mean, deviation=model.deviation
    )


def _path_of(model: SeriesModel, known: Panel) -> Array:
    """Forecast with a model that carries nothing, from the last rows alone."""
    rows = model.recipe.kept + 1
    short = known.replace([series.rows(len(series) - rows, len(series)) for series in known])
    tracks = lay_out(short, model.recipe, mean=model.mean, deviation=model.deviation)
    state: SeriesState = state_at(replace(model, learned=0), short, tracks, [len(track) for track in tracks])
    return model.path(state)


def _baseline(known: Panel, name: str, seasons: tuple[int, ...], horizon: int) -> Array:
    """Forecast by a baseline from each track's last known values; gaps hold the value before them."""
    paths = []
    for series in known:
        for line in series.values.T:
            values = _held(line)
            lookback = max((season for season in seasons if season <= len(values)), default=1)
            if name == "drift":
                lookback = len(values)
            fitting = tuple(season for season in seasons if season <= lookback) or (1,)
            weights = baseline_weights(name, Recipe(horizon, lookback, fitting))
            paths.append(values[-lookback:] @ weights)
    return np.array(paths)


def _held(line: Array) -> Array:
    """Carry the last known value into gaps; rows before the first known value are left out."""
    known = np.isfinite(line)
    at = np.maximum.accumulate(np.where(known, np.arange(len(line)), -1))
    return line[at[at >= 0]] if known.any() else np.zeros(1)


def _baselines(model: SeriesModel) -> list[str]:
    """Name the baselines that differ from each other."""
    return [name for name in BASELINES if name != "long seasonal naive" or len(model.recipe.seasons) > 1]


def _column(name: str) -> str:
    return name.replace(" ", "_")


def _until(panel: Panel, rows: NDArray[np.int64]) -> Panel:
    return panel.replace([series.rows(0, int(stop)) for series, stop in zip(panel, rows, strict=True)])


def _between(panel: Panel, first: NDArray[np.int64], last: NDArray[np.int64]) -> Panel:
    parts = zip(panel, first, last, strict=True)
    return panel.replace([series.rows(int(start), int(stop)) for series, start, stop in parts])
