"""Forecasts of a model as a table, and what a fit found as sentences."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from titans_seq.errors import ConfigError
from titans_seq.tasks.series_ridge import SeriesModel
from titans_seq.tasks.series_state import Array, SeriesState
from titans_seq.timeseries import Names
from titans_seq.timeseries.writing import MODEL, column_of, forecast_table
from titans_seq.training.series_choice import Choice

DEFAULT_QUANTILES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def quantiles_of(levels: Sequence[float], quantiles: Sequence[float]) -> tuple[float, ...]:
    """Give the quantiles that were asked for: intervals of ``levels`` percent, quantiles themselves, or the default 90.

    ``(80, 90) -> 0.05 0.1 0.9 0.95``
    """
    for level in levels:
        if not 0 < level <= 99:
            raise ConfigError(f"--level {level:g}: expected percents above 0 and up to 99")
    for quantile in quantiles:
        if not 0.005 <= quantile <= 0.995:
            raise ConfigError(f"--quantiles {quantile:g}: expected numbers from 0.005 to 0.995")
    ends = {round(0.5 + side * level / 200, 6) for level in levels for side in (-1, 1)}
    return tuple(sorted(ends | set(quantiles))) or (0.05, 0.95)


def forecast_frame(
    model: SeriesModel, state: SeriesState, *, horizon: int, quantiles: Sequence[float], names: Names,
    coming: Array | None = None,
) -> pl.DataFrame:  # fmt: skip
    """Forecast from where a state stands.

    Parameters
    ----------
    coming
        Covariates of the rows to be forecast; see `SeriesModel.features`.

    Raises
    ------
    ConfigError
        More rows than the model was made for.
    """
    if horizon > model.recipe.horizon:
        raise ConfigError(
            f"--horizon {horizon}: this model forecasts {model.recipe.horizon} rows; train one for more, or ask for "
            "fewer"
        )
    path = model.path(state, coming)
    columns = {MODEL: path[:, :horizon]}
    for quantile in quantiles:
        columns[column_of(quantile)] = model.quantile(state, path, quantile)[:, :horizon]
    ticks = [
        model.clock.after(int(tick), int(position), horizon) for tick, position in zip(*state.standing(), strict=True)
    ]
    frame = forecast_table(state.tracks, ticks, columns, clock=model.clock, names=names)
    return frame.with_columns(pl.col(*columns).fill_nan(None))


def describe_empty(state: SeriesState) -> str | None:
    """Say which series have no number yet, and what becomes of them; None where all have one."""
    names = state.empty
    if not names:
        return None
    shown = ", ".join(repr(name) for name in names[:3]) + (" ..." if len(names) > 3 else "")
    what = (
        f"the series {shown} holds no number" if len(names) == 1 else f"{len(names):,} series hold no number: {shown}"
    )
    return f"{what}; forecasts are empty there until `observe` brings the first"


def describe_model(model: SeriesModel) -> str:
    """Name what forecasts: ``ridge``, or ``ridge with a memory of each series (titans_lmm)``."""
    if model.correction is None:
        return model.method
    return f"{model.method} with {model.correction.label}"


def describe_choice(choice: Choice | None, model: SeriesModel) -> list[str]:
    """Say what ships, what it beats, and what was tried and left out."""
    if choice is None:
        return [f"too few rows to choose a model on: the forecast is the {model.method}"]
    return [*_describe(choice, model), *_describe_haste(choice)]


def _describe_haste(choice: Choice) -> list[str]:
    """Say what there was no time for."""
    lines = []
    if choice.share < 1:
        lines.append(f"--minutes left time to learn from the newest {choice.share:.0%} of the training rows alone")
    if choice.cut_short:
        lines.append("time was up (--minutes) before every lookback and part had been tried; the best so far ships")
    return lines


def _describe(choice: Choice, model: SeriesModel) -> list[str]:
    recipe = model.recipe
    made = f"lookback of {recipe.lookback} rows" + "".join(f" + {part}" for part in recipe.parts)
    errors = {"plain ridge": choice.ridge.mse} | choice.baselines
    if choice.method == "ridge":
        errors.pop("plain ridge")
    own = {"ridge": choice.ridge.mse, "structured ridge": choice.best.mse}.get(choice.method)
    if own is None:
        own = choice.baselines[choice.method]
        lines = [
            f"the {choice.method} ships: on the held-out rows no ridge beat it by more than the spread (mean squared "
            f"error in variances: ridge {choice.ridge.mse:.4f}, with carried state {choice.best.mse:.4f}, "
            f"{choice.method} {own:.4f})"
        ]
        return lines
    listed = ", ".join(f"{name} {error:.4f}" for name, error in sorted(errors.items(), key=lambda item: item[1]))
    nearest = min(choice.baselines, key=lambda name: choice.baselines[name])
    saved = 1 - own / max(choice.baselines[nearest], 1e-30)
    lines = [
        f"{choice.method}: {made}",
        f"rolling check on the held-out rows, mean squared error in variances: {own:.4f}; {listed}",
        f"it beats the best baseline, {nearest}, by {saved:.0%}",
    ]
    left_out = [f"{name} ({gain:+.4f} +- {spread:.4f})" for name, gain, spread, ships in choice.trials if not ships]
    if left_out:
        lines.append("tried and left out: " + ", ".join(left_out))
    return lines
