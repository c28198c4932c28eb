"""Rolling-origin backtest: forecast from many past moments as if the later rows did not exist, and score.

Question: how good would these forecasts have been, against the cheap baselines and against the same weights with the
carried state reset or switched off?

Inputs: CSV or Parquet, long or wide.
Outputs, in the folder: ``forecasts.csv`` (`unique_id, ds, cutoff, y, titans, titans-lo-90, ...` and a column per
baseline and arm, so that utilsforecast reads it unchanged), ``report.json`` and pictures.
Launch: ``titans-seq backtest readings.csv --horizon 96 --n-windows 20 --step-size 24 --out runs/backtest``
        ``titans-seq backtest unseen.csv --model runs/many`` for a model learned from other series
Cost: one fit before the first cutoff, then one pass over the rows behind it; ``--refit`` fits again at every cutoff.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from titans_seq.config.train_series import SeriesSection
from titans_seq.errors import ConfigError
from titans_seq.files import write_error, write_json
from titans_seq.tasks.series_files import load_model
from titans_seq.tasks.series_ridge import SeriesModel
from titans_seq.timeseries import Panel, TableOptions, read_table
from titans_seq.timeseries.panel import Names
from titans_seq.timeseries.writing import write_table
from titans_seq.training.run_folder import refuse_existing
from titans_seq.training.series_backtest import Windows, roll, windows_of, without_empty
from titans_seq.training.series_figures import draw_calibration, draw_steps, draw_windows
from titans_seq.training.series_output import DEFAULT_QUANTILES, quantiles_of
from titans_seq.training.series_rows import known_options
from titans_seq.training.series_scores import calibration, score, score_text, steps

__all__ = ["BacktestJob", "run"]

_log = logging.getLogger(__name__)

Watch = Callable[[str, float, float, str], None]


@dataclass(frozen=True)
class BacktestJob:
    """A table, how it is read, what may be learned from it, and the moments to forecast from.

    Attributes
    ----------
    data, table, settings
        As for a forecast; the horizon is in ``settings``, and has to be that of ``model``.
    model
        A run of `train-series` to forecast with, learned from other series or rows; None fits one to each table.
    n_windows, step_size
        How many cutoffs, and rows between two of them; the last leaves a horizon of rows behind it.
    refit
        Choose and fit again at every cutoff, instead of before the first one only.
    levels
        Intervals in percent, beside the nine deciles.
    out
        The folder.
    """

    data: Path
    table: TableOptions
    settings: SeriesSection
    n_windows: int
    step_size: int
    refit: bool
    levels: tuple[float, ...]
    out: Path
    model: Path | None = None


def run(job: BacktestJob, *, watch: Watch = lambda stage, done, total, note: None) -> tuple[dict[str, Any], str]:
    """Backtest and write; gives what ``report.json`` holds, and the table to print."""
    refuse_existing(job.out)
    quantiles = tuple(sorted({*quantiles_of(job.levels or (90.0,), ()), *DEFAULT_QUANTILES}))
    panel, model = read(job)
    windows: Windows = windows_of(panel, horizon=job.settings.horizon, count=job.n_windows, step=job.step_size)
    panel, windows = without_empty(panel, windows)
    frame, facts = roll(panel, windows, job.settings, quantiles=quantiles, refit=job.refit, watch=watch, model=model)
    report = {
        "format_version": 1,
        "pipeline": "backtest",
        "data": str(job.data),
        "windows": len(windows.cutoffs),
        "step_size": job.step_size,
        "horizon": job.settings.horizon,
        "refit": job.refit,
        **facts.to_json(),
        **score(frame, facts, quantiles=quantiles, levels=job.levels or (90.0,), names=Names()),
    }
    try:
        job.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(job.out, error) from None
    write_table(frame, job.out / "forecasts.csv")
    write_json(job.out / "report.json", report)
    draw(job, frame, facts.scales, quantiles)
    return report, score_text(report)


def horizon_of(model: Path | None) -> int:
    """Give the rows that a model forecasts at once; what a new one does where there is none."""
    return SeriesSection().horizon if model is None else load_model(model)[0].recipe.horizon


def read(job: BacktestJob) -> tuple[Panel, SeriesModel | None]:
    """Read the table and, where one is given, the model; the table is then read as the model's own was."""
    if job.model is None:
        return read_table(job.data, job.table), None
    model, names = load_model(job.model)
    if job.refit:
        raise ConfigError("--refit fits a model at every window: leave it or --model out")
    options = replace(known_options(job.table, model, names), max_rows=job.table.max_rows)
    return read_table(job.data, options, clock=model.clock), model


def draw(job: BacktestJob, frame: pl.DataFrame, scales: dict[str, float], quantiles: tuple[float, ...]) -> None:
    """Draw fans of the last window, error by step, and calibration."""
    draw_windows(job.out / "windows.png", frame, names=Names())
    draw_steps(job.out / "steps.png", steps(frame, scales, horizon=job.settings.horizon, names=Names()))
    draw_calibration(job.out / "calibration.png", quantiles, calibration(frame, quantiles))
