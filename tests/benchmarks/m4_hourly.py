"""M4 hourly: MASE and coverage on the 414 test parts, one pooled model, beside statsforecast where it is installed.

python tests/benchmarks/m4_hourly.py                # ours and the cheap baselines
python tests/benchmarks/m4_hourly.py --peers        # AutoETS and AutoTheta too (six minutes of CPU)

With --sample N every N-th series is scored; our model still learns from all 414.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import time
from pathlib import Path

import numpy as np

from titans_seq.config.train_series import SeriesSection
from titans_seq.metrics.forecast import coverage, seasonal_scale
from titans_seq.tasks.series_baselines import BASELINES, baseline_weights
from titans_seq.tasks.series_recipe import Recipe
from titans_seq.timeseries import Clock, Panel, Series
from titans_seq.training.series_fit import fit_series
from titans_seq.training.series_output import describe_choice

DATA = Path("../shared/data/timeseries")
HORIZON, SEASON = 48, 24


def read(name: str) -> dict[str, np.ndarray]:
    with gzip.open(DATA / name, "rt", newline="") as file:
        rows = list(csv.reader(file))[1:]
    return {row[0]: np.array([float(cell) for cell in row[1:] if cell]) for row in rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--sample", type=int, default=1, help="score every n-th series")
    options = parser.parse_args()
    everything, test = read("M4_Hourly_train.csv.gz"), read("M4_Hourly_test.csv.gz")
    train = dict(list(everything.items())[:: options.sample])
    actual = np.array([test[name] for name in train])
    scales = np.array([seasonal_scale(values, SEASON) for values in train.values()])
    print(f"{len(train)} of {len(everything)} series, {HORIZON} hours")

    def show(name: str, path: np.ndarray, low: np.ndarray | None, high: np.ndarray | None, seconds: float) -> None:
        mase = (np.abs(actual - path).mean(axis=1) / scales).mean()
        size = np.abs(actual) + np.abs(path)
        smape = (200 * np.abs(actual - path) / size).mean()
        covers = f"{coverage(actual, low, high):.3f}" if low is not None and high is not None else "-"
        print(f"{name:22s} MASE {mase:6.3f}  sMAPE {smape:6.2f}  90 % covers {covers}  {seconds:6.1f} s", flush=True)

    for name in BASELINES:
        paths = []
        for values in train.values():
            lookback = len(values) if name == "drift" else 7 * SEASON
            paths.append(values[-lookback:] @ baseline_weights(name, Recipe(HORIZON, lookback, (SEASON, 7 * SEASON))))
        show(name, np.array(paths), None, None, 0.0)
    clock = Clock("integer", 1, 0)
    series = tuple(
        Series(name, 0, np.arange(len(values)), values[:, None], np.empty((len(values), 0)))
        for name, values in everything.items()
    )
    start = time.process_time()
    fitted = fit_series(Panel(series, clock, ("y",)), SeriesSection(horizon=HORIZON, seasons=(SEASON, 7 * SEASON)))
    path = fitted.model.path(fitted.state)
    ends = [fitted.model.quantile(fitted.state, path, q) for q in (0.05, 0.95)]
    path, low, high = (values[:: options.sample] for values in (path, *ends))
    show(f"titans-seq ({fitted.model.method})", path, low, high, time.process_time() - start)
    print("\n".join(describe_choice(fitted.choice, fitted.model)))
    if options.peers:
        peers(train, show)


def peers(train: dict[str, np.ndarray], show) -> None:  # type: ignore[no-untyped-def]
    try:
        from statsforecast.models import AutoETS, AutoTheta, SeasonalNaive
    except ImportError:
        print("statsforecast is not installed (pip install 'titans-seq[baselines]')")
        return
    for model in (SeasonalNaive(SEASON), AutoTheta(SEASON), AutoETS(SEASON)):
        start = time.process_time()
        found = [model.forecast(y=values, h=HORIZON, level=[90]) for values in train.values()]
        paths, lows, highs = (np.array([f[key] for f in found]) for key in ("mean", "lo-90", "hi-90"))
        show(type(model).__name__, paths, lows, highs, time.process_time() - start)


if __name__ == "__main__":
    main()
