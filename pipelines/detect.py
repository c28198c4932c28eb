"""Score every row of a table of series for how anomalous it is, with p-values and flags, in one causal pass.

Question: which rows look like nothing that this series did before, at a false-alarm rate that the user sets?

Inputs: a CSV or Parquet table, long or wide; optionally the state of an earlier call, which then goes on.
Outputs: a table of rows (id, time, value, score, p_value, flag), a table of flagged intervals, a picture, the state.
Launch: ``titans-seq detect readings.csv -o scores.csv --alpha 0.001 --plot scores.png``
Cost: some 80,000 rows a second of processor time, nothing to train; figures by machine are in LOG.md.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from titans_seq.errors import StateMismatchError, unknown_name
from titans_seq.tasks.detect_tables import interval_table, row_table, summary
from titans_seq.tasks.series_detect import (
    METHODS,
    Detector,
    DetectSettings,
    load_detector,
    save_detector,
)
from titans_seq.timeseries import Panel, TableOptions, check_same_channels, read_table
from titans_seq.timeseries.anomaly_scores import ScoreSettings
from titans_seq.timeseries.conformal import ConformalSettings
from titans_seq.timeseries.score_table import write_rows
from titans_seq.timeseries.writing import TABLES, check_target
from titans_seq.training.detect_figure import draw_scores

_log = logging.getLogger(__name__)

Watch = Callable[[str, float, float, str], None]

LEAST_CALIBRATION = 2_000
CALIBRATION_PER_ALARM = 10
"""Calibration rows are this many over alpha, so that the level stands on ten scores and not on the highest one."""


@dataclass(frozen=True)
class DetectJob:
    """What is read, with what, and where to; made by `prepare`."""

    panel: Panel
    detector: Detector
    out: Path
    state: Path | None
    plot: Path | None
    join: int


def prepare(
    *,
    table: Path,
    out: Path,
    options: TableOptions,
    alpha: float | None = None,
    method: str | None = None,
    smooth: int | None = None,
    calibration: int | None = None,
    fixed_level: bool = False,
    state: Path | None = None,
    plot: Path | None = None,
    join: int = 20,
) -> DetectJob:
    """Read and check everything; nothing is written.

    A state that exists goes on; ``alpha``, ``method``, ``smooth`` and ``calibration`` are then those it was begun with.
    """
    check_target(out, *TABLES)
    check_target(plot, ".png")
    check_target(state)
    if state is not None and state.exists():
        detector = load_detector(state)
        fixed = {"alpha": alpha, "method": method, "smooth": smooth, "calibration": calibration}
        _same_settings(state, detector.settings, fixed)
        panel = read_table(table, options, clock=detector.clock)
        check_same_channels(panel, detector.channels, path=table)
        detector.check(panel)
    else:
        settings = make_settings(method, alpha=alpha, smooth=smooth, calibration=calibration, fixed_level=fixed_level)
        panel = read_table(table, options)
        detector = Detector(settings, panel.clock, panel.channels)
        _warn_if_short(panel, settings)
    return DetectJob(panel, detector, out, state, plot, join)


def make_settings(
    method: str | None, *, alpha: float | None, smooth: int | None, calibration: int | None, fixed_level: bool
) -> DetectSettings:
    """Fill in what was not asked for."""
    method = method or "pca+level"
    if method not in METHODS:
        raise unknown_name("method", method, METHODS)
    score = ScoreSettings() if smooth is None else ScoreSettings(smooth=smooth)
    alpha = 0.001 if alpha is None else alpha
    rows = calibration or (max(LEAST_CALIBRATION, ceil(CALIBRATION_PER_ALARM / alpha)) if 0 < alpha < 1 else 1)
    conformal = ConformalSettings(alpha=alpha, calibration=rows, skip=4 * score.window, adaptive=not fixed_level)
    return DetectSettings(method, score, conformal)


def run(job: DetectJob, *, watch: Watch = lambda stage, done, total, note: None) -> str:
    """Score, write the tables, the picture and the state; gives the interval table as text."""
    total, done = job.panel.rows * len(job.panel.channels), 0

    def count(rows: int) -> None:
        nonlocal done
        done += rows
        watch("scoring", done, total, f"{done:,} of {total:,} rows")

    scored = list(job.detector.read(job.panel, keep=job.state is not None, progress=count))
    intervals = interval_table(scored, job.panel, join=job.join)
    write_rows(job.out, row_table(scored, job.panel))
    beside = job.out.with_name(f"{job.out.stem}-intervals{job.out.suffix}")
    write_rows(beside, intervals)
    if job.plot is not None:
        draw_scores(job.plot, scored, clock=job.panel.clock, join=job.join)
    # The state comes last: a call that fails before leaves the old one, and can simply be made again.
    if job.state is not None:
        save_detector(job.state, job.detector)
    _log.info("rows: %s; intervals: %s", job.out, beside)
    return summary(scored, intervals, alpha=job.detector.settings.conformal.alpha)


def _same_settings(state: Path, settings: DetectSettings, asked: dict[str, float | int | str | None]) -> None:
    conformal = settings.conformal
    found = {
        "alpha": conformal.alpha, "method": settings.method, "smooth": settings.score.smooth,
        "calibration": conformal.calibration,
    }  # fmt: skip
    for name, value in asked.items():
        if value is not None and value != found[name]:
            raise StateMismatchError(
                f"{state}: was begun with {name} {found[name]}, but the call asks for {value}; leave the option out, "
                "or begin a new state"
            )


def _warn_if_short(panel: Panel, settings: DetectSettings) -> None:
    first = settings.conformal.first_alarm
    short = [series for series in panel if len(series) <= first]
    if short:
        _log.warning(
            "%d of %d series have at most %d rows, and alpha %g can raise no flag before row %d; scores and p-values "
            "are written all the same, and a larger --alpha flags earlier",
            len(short), len(panel), first, settings.conformal.alpha, first + 1,
        )  # fmt: skip


__all__ = ["DetectJob", "make_settings", "prepare", "run"]
