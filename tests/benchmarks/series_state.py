"""What a carried state costs: bytes, milliseconds for a new row and error, by length of history.

    python tests/benchmarks/series_state.py --rows 1000 10000 100000 1000000

Hourly rows of daily and weekly cycles, a slow level and noise (seed 0); horizon 24, at most 168 rows of lookback. The
model is trained on the first 1,000 rows in every case, then reads the history; what is timed is one row after another.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time

import numpy as np

from titans_seq.config.train_series import SeriesSection
from titans_seq.timeseries import Clock, Panel, Series
from titans_seq.training.series_fit import fit_series

HOUR = 3_600_000_000


def panel_of(values: np.ndarray, start: int) -> Panel:
    clock = Clock("us", HOUR, 0)
    ticks = clock.ticks(np.arange(start, start + len(values)))
    series = Series("a", start, ticks, values[:, None], np.empty((len(values), 0)))
    return Panel((series,), clock, ("y",))


def load(rows: int) -> np.ndarray:
    random = np.random.default_rng(0)
    t = np.arange(rows)
    level = np.cumsum(0.02 * random.standard_normal(rows))
    weekly = np.cos(2 * np.pi * t / 168) * (1 + 0.3 * np.sin(2 * np.pi * t / 8766))
    return 10 + 3 * np.sin(2 * np.pi * t / 24) + weekly + level + 0.3 * random.standard_normal(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--timed", type=int, default=600)
    parser.add_argument("--horizon", type=int, default=24)
    parser.add_argument("--lookbacks", type=int, nargs="+", help="to choose from; up to 168 rows unless given")
    options = parser.parse_args()
    print(f"{'':21s}{'by the clock, ms a row':>31s}{'processor time, ms a row':>35s}")
    four = "  median    mean     p99     max"
    print(f"   history  state MB{four}  {four}     MAE  read s  RSS MB")
    horizon = options.horizon
    values = load(max(options.rows) + options.timed + horizon)
    settings = SeriesSection(horizon=horizon, max_lookback=168, lookbacks=options.lookbacks)
    for rows in options.rows:
        fitted = fit_series(panel_of(values[:1000], 0), settings)
        model, state = fitted.model, fitted.state
        start = time.perf_counter()
        if rows > 1000:
            model.advance(state, panel_of(values[1000:rows], 1000))
        read = time.perf_counter() - start
        spent, worked, errors = [], [], []
        for row in range(rows, rows + options.timed):
            new = panel_of(values[row : row + 1], row)
            start, at_work = time.perf_counter(), time.process_time()
            model.advance(state, new)
            spent.append(1000 * (time.perf_counter() - start))
            worked.append(1000 * (time.process_time() - at_work))  # a busy machine takes the wall clock elsewhere
            if row % 12 == 0:
                errors.append(np.abs(model.path(state)[0] - values[row + 1 : row + 1 + horizon]).mean())
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{rows:10,d} {state.nbytes / 1e6:9.2f} {_figures(spent)}  {_figures(worked)} {np.mean(errors):7.4f} "
            f"{read:7.1f} {peak:7.0f}",
            flush=True,
        )
    print(f"{model.recipe.width} inputs, refitted every {model.every} rows; {options.timed} rows timed after each")


def _figures(times: list[float]) -> str:
    low, high = statistics.median(times), max(times)
    return f"{low:8.2f}{statistics.mean(times):8.2f}{np.quantile(times, 0.99):8.2f}{high:8.2f}"


if __name__ == "__main__":
    main()
