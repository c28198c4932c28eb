"""Forecast a table of series: train a forecaster on it, or go on with one, and write forecast and intervals.

Question: what comes next in every series, how sure is that, and does the model beat repeating the last season?

Inputs: CSV or Parquet, long (`unique_id, ds, y`) or wide; or a state file alone; optionally a table of covariates that
are known in advance for the rows to come.
Outputs: a table `unique_id, ds, titans, titans-lo-90, titans-hi-90`; optionally a picture and a state file.
Launch: ``titans-seq forecast readings.csv --horizon 96 -o forecast.csv --plot forecast.png``
Cost: closed form, seconds to a minute on a CPU, `--minutes` at most; figures are in LOG.md.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from titans_seq.config.train_series import SeriesSection
from titans_seq.errors import ConfigError
from titans_seq.tasks.series_files import Snapshot, load_model
from titans_seq.timeseries import Panel, TableOptions, read_table
from titans_seq.timeseries.future import covariate_names, read_future
from titans_seq.timeseries.panel import Names
from titans_seq.timeseries.writing import TABLES, check_target, write_table
from titans_seq.timeseries.zones import parse_moment
from titans_seq.training.series_covariates import check_coming, read_coming
from titans_seq.training.series_figures import draw_forecast
from titans_seq.training.series_fit import fit_series
from titans_seq.training.series_output import (
    describe_choice,
    describe_empty,
    describe_model,
    forecast_frame,
    quantiles_of,
)
from titans_seq.training.series_rows import known_options, newer_rows, tick_before
from titans_seq.training.series_undo import as_of as state_as_of

__all__ = ["ForecastJob", "run"]

_log = logging.getLogger(__name__)

Watch = Callable[[str, float, float, str], None]


@dataclass(frozen=True)
class ForecastJob:
    """What is to be forecast.

    Attributes
    ----------
    data
        The table; None goes on from ``state`` alone.
    horizon
        Rows to forecast; None takes the model's.
    table
        How the table is read.
    settings
        What a new model may be made of.
    model, state
        A run folder or model file to use; a state file to go on from, or to begin.
    future
        A table of covariates for the rows to be forecast.
    levels, quantiles
        Intervals in percent, and quantiles.
    as_of
        Rows later than this moment are not looked at.
    out, plot
        Where table and picture go.
    """

    data: Path | None
    horizon: int | None
    table: TableOptions
    settings: SeriesSection
    model: Path | None = None
    state: Path | None = None
    future: Path | None = None
    levels: Sequence[float] = ()
    quantiles: Sequence[float] = ()
    as_of: str | None = None
    out: Path | None = None
    plot: Path | None = None


def run(job: ForecastJob, *, watch: Watch = lambda stage, done, total, note: None) -> tuple[pl.DataFrame, list[str]]:
    """Forecast; gives the table and what there is to say about it."""
    quantiles = quantiles_of(job.levels, job.quantiles)
    check_target(job.out, *TABLES)
    check_target(job.plot, ".png")
    check_target(job.state)
    panel, snapshot, words = settle(job, watch)
    if (line := describe_empty(snapshot.state)) is not None:
        _log.warning(line)
    horizon = job.horizon or snapshot.model.recipe.horizon
    frame = forecast_frame(
        snapshot.model, snapshot.state, horizon=horizon, quantiles=quantiles, names=Names(),
        coming=None if job.future is None else read_coming(job.future, job.table, snapshot),
    )  # fmt: skip
    if job.out is not None:
        write_table(frame, job.out)
        words.append(f"{len(frame):,} rows in {job.out}")
    if job.plot is not None:
        draw_forecast(job.plot, panel, frame, names=Names())
    if job.state is not None and not job.state.exists():
        snapshot.save(job.state)
        words.append(f"state in {job.state}: `titans-seq observe NEW.csv --state {job.state}` goes on from here")
    return frame, words


def settle(job: ForecastJob, watch: Watch) -> tuple[Panel | None, Snapshot, list[str]]:
    """Bring a model to the last row: from a state, by reading the table with a given model, or by training one."""
    if job.state is not None and job.state.exists():
        return from_state(job, job.state)
    if job.data is None:
        raise ConfigError("expected a table of series, or --state with a state file that exists")
    if job.model is not None:
        model, names = load_model(job.model)
        options = replace(known_options(job.table, model, names), max_rows=job.table.max_rows)
        panel = read_table(job.data, options, clock=model.clock, as_of=job.as_of)
        return (
            panel,
            Snapshot(model, model.advance(model.begin(panel), panel), names),
            [f"{describe_model(model)} of {job.model}"],
        )
    foreseen = () if job.future is None else covariate_names(job.data, job.future, job.table)
    table = replace(job.table, covariates=tuple(dict.fromkeys((*job.table.covariates, *foreseen))))
    panel = read_table(job.data, table, as_of=job.as_of)
    if job.future is not None:
        future = read_future(job.future, table, clock=panel.clock, names=panel.names, covariates=foreseen)
        check_coming(panel, future, horizon=job.settings.horizon, path=job.future)
    begun = time.monotonic()
    fitted = fit_series(panel, job.settings, watch=watch)
    words = describe_choice(fitted.choice, fitted.model)
    words.append(f"trained on {panel.rows:,} rows in {time.monotonic() - begun:.1f} s")
    return panel, Snapshot(fitted.model, fitted.state, panel.names), words


def from_state(job: ForecastJob, path: Path) -> tuple[Panel | None, Snapshot, list[str]]:
    """Go on from a state file, with the rows of the table that are newer, if one is given."""
    wanted = None if job.model is None else load_model(job.model)[0]
    snapshot = Snapshot.load(path, model=wanted)
    moment = None if job.as_of is None else parse_moment(job.as_of, snapshot.model.clock)
    if moment is not None:
        snapshot = Snapshot.load(state_as_of(path, moment), model=wanted)
    if job.data is None:
        return None, snapshot, [f"{describe_model(snapshot.model)} from {path}"]
    options = known_options(job.table, snapshot.model, snapshot.names)
    shown = 0 if job.plot is None else 3 * snapshot.model.recipe.horizon  # a picture shows history too
    newest = tick_before(snapshot, rows=shown)
    panel = read_table(job.data, options, clock=snapshot.model.clock, newer_than=newest)
    new = newer_rows(panel if moment is None else panel.until(moment), snapshot)
    snapshot.model.advance(snapshot.state, new)
    words = f"{describe_model(snapshot.model)} from {path}, with {new.rows:,} newer rows of {job.data}"
    return panel, snapshot, [words]
