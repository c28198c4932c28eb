"""Scores of a backtest's table: errors by method, coverage and width of intervals, calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from titans_seq.metrics.forecast import by_step, coverage, point_errors, weighted_quantile_loss
from titans_seq.timeseries import Names
from titans_seq.timeseries.writing import MODEL, column_of
from titans_seq.training.series_backtest import ARMS, Facts

Array = NDArray[np.float64]


def score(
    frame: pl.DataFrame, facts: Facts, *, quantiles: Sequence[float], levels: Sequence[float], names: Names
) -> dict[str, Any]:
    """Give every figure of a backtest: errors by method, intervals by level, error by step.

    ``mse_scaled`` and ``mae_scaled`` are in units of each series' mean absolute seasonal difference, so that series of
    different size count alike.
    """
    horizon = _horizon(frame, names)
    actual = _matrix(frame, "y", horizon)
    scale = np.array([facts.scales[name] for name in frame[names.id].to_list()[::horizon]])
    rows = []
    for column in (MODEL, *facts.arms, *facts.baselines):
        errors = asdict(point_errors(actual, _matrix(frame, column, horizon), scale=scale))
        kind = "ours" if column == MODEL else "arm" if column in facts.arms else "baseline"
        rows.append({"name": column, "kind": kind, **{key: _known(value) for key, value in errors.items()}})
    paths = {q: _matrix(frame, column_of(q), horizon) for q in quantiles}
    deciles = {q: path for q, path in paths.items() if round(q * 10, 6) == round(q * 10)}
    intervals = []
    for level in levels:
        low, high = (paths[round(0.5 + side * level / 200, 6)] for side in (-1, 1))
        known = np.isfinite(actual)
        width = float(((high - low) / scale[:, None])[known & np.isfinite(scale)[:, None]].mean()) if known.any() else 0
        intervals.append(
            {"level": level, "coverage": _known(coverage(actual, low, high)), "width_scaled": _known(width)}
        )
    return {
        "rows": rows,
        "intervals": intervals,
        "wql": _known(weighted_quantile_loss(actual, deciles)),
        "mae_by_step": [_known(value) for value in by_step(np.abs(actual - _matrix(frame, MODEL, horizon)))],
        "verdict": verdict(rows),
    }


def verdict(rows: Sequence[dict[str, Any]]) -> str:
    """Say in a sentence or two which baseline is nearest and what the carried state is worth."""
    own = rows[0]["mae"]
    best = min((row for row in rows if row["kind"] == "baseline"), key=lambda row: row["mae"])
    if own < best["mae"]:
        words = f"The forecast beats the best baseline, {best['name']}, by {1 - own / best['mae']:.1%} of its MAE."
    elif own == best["mae"]:
        words = f"The forecast is the best baseline, {best['name']}."
    else:
        words = f"The baseline won: {best['name']} has {1 - best['mae'] / own:.1%} less MAE than the forecast."
    arms = {row["name"]: row["mae"] for row in rows if row["kind"] == "arm"}
    if not arms:
        return words + " Nothing is carried beyond the lookback."
    shares = " and ".join(
        f"{'less' if own < mae else 'more'} by {abs(1 - own / mae):.1%} than {name.removeprefix('titans_')}"
        for name, mae in arms.items()
    )
    return f"{words} With the state carried the MAE is {shares}."


def score_text(report: dict[str, Any]) -> str:
    """Lay the scores out as lines."""
    lines = [
        f"{report['windows']} windows of {report['horizon']} rows, {report['step_size']} apart; {report['method']}",
        f"{'':22s} {'MAE':>10s} {'MSE':>12s} {'RMSE':>10s} {'MASE':>7s} {'sMAPE':>7s}",
    ]
    for row in report["rows"]:
        numbers = [
            row[key] if row[key] is not None else float("nan") for key in ("mae", "mse", "rmse", "mase", "smape")
        ]
        lines.append(
            f"{row['name']:22s} {numbers[0]:10.4g} {numbers[1]:12.5g} {numbers[2]:10.4g} {numbers[3]:7.3f} "
            f"{numbers[4]:7.4f}"
        )
    lines += [f"{row['name']}: {ARMS[row['name']]}" for row in report["rows"] if row["kind"] == "arm"]
    for interval in report["intervals"]:
        lines.append(
            f"{interval['level']:g} % interval: covers {interval['coverage'] or 0:.1%}, width "
            f"{interval['width_scaled'] or 0:.2f} seasonal differences"
        )
    wql = report["wql"]
    return "\n".join([*lines, f"WQL {wql if wql is not None else float('nan'):.4f}", report["verdict"]])


def calibration(frame: pl.DataFrame, quantiles: Sequence[float]) -> list[float]:
    """Give the share of known actual values at or below each quantile."""
    known = frame.filter(pl.col("y").is_not_null())
    return [float((known["y"] <= known[column_of(q)]).mean() or 0.0) for q in quantiles]  # type: ignore[arg-type]


def steps(frame: pl.DataFrame, scales: dict[str, float], *, horizon: int, names: Names) -> dict[str, Array]:
    """Give the scaled mean absolute error by step for the forecast and every baseline and arm."""
    skipped = {names.id, names.time, "cutoff", "y"}
    columns = [c for c in frame.columns if c not in skipped and not c.startswith(f"{MODEL}-")]
    actual = _matrix(frame, "y", horizon)
    scale = np.array([scales[name] for name in frame[names.id].to_list()[::horizon]])[:, None]
    return {column: by_step(np.abs(actual - _matrix(frame, column, horizon)) / scale) for column in columns}


def _matrix(frame: pl.DataFrame, column: str, horizon: int) -> Array:
    return frame[column].cast(pl.Float64).fill_null(float("nan")).to_numpy().reshape(-1, horizon)


def _horizon(frame: pl.DataFrame, names: Names) -> int:
    return int(frame.group_by(names.id, "cutoff").len()["len"][0])


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
