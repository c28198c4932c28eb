"""The long-horizon protocols, closed form: ridge, structured ridge, refitted online, beside the cheap baselines.

    python tests/benchmarks/long_horizon.py --set ETTh1
    python tests/benchmarks/long_horizon.py --set ETTm1 AEP bike exchange

Standardised by the training rows, every window of the test rows at stride 1, contexts reaching back across the border,
nothing dropped; choices on the validation rows only. `frozen`: weights from the training rows. `online`: training and
validation rows, and each test row once its targets are known, solved again every 256 rows. Closed form has no seeds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from titans_seq.config.train_series import SeriesSection
from titans_seq.tasks.series_baselines import BASELINES
from titans_seq.tasks.series_ridge import SeriesModel
from titans_seq.tasks.series_tracks import Track, lay_out
from titans_seq.timeseries import Clock, Panel, Series, TableOptions, read_table
from titans_seq.timeseries.calendar import season_lengths
from titans_seq.timeseries.table import read_frame
from titans_seq.training.series_choice import Choice, choose
from titans_seq.training.series_fit import build_model, lines_of, state_at, widest_recipe

DATA = Path("../shared/data/timeseries")
HORIZONS = {"ETTh1": (96, 192, 336, 720), "ETTm1": (96, 192, 336, 720), "exchange": (96, 192, 336, 720)}
LOOKBACKS = {
    "ETTh1": (96, 336, 512), "ETTm1": (96, 384, 672, 1344, 2016), "AEP": (96, 336, 512), "bike": (168, 336, 512, 840),
    "exchange": (8, 32, 96),
}  # fmt: skip


def load(name: str) -> tuple[Panel, tuple[int, int, int]]:
    """Read a data set; gives it with the row numbers behind training, validation and test."""
    if name.startswith("ETT"):
        panel = read_table(DATA / f"{name}.csv.gz")
        scale = 4 if name == "ETTm1" else 1
        borders = (8640 * scale, 11520 * scale, 14400 * scale)
        return panel.replace([panel.series[0].rows(0, borders[2])]), borders
    if name == "exchange":
        values = pl.read_csv(DATA / "exchange_rate.txt.gz", has_header=False).to_numpy()
        clock = Clock("business day", 1, int(np.datetime64("1990-01-01", "us").astype(np.int64)))
        ticks = clock.ticks(np.arange(len(values)))
        series = Series("", 0, ticks, values, np.empty((len(values), 0)))
        panel = Panel((series,), clock, tuple(f"c{i}" for i in range(values.shape[1])))
    elif name == "AEP":
        panel = read_table(DATA / "PJM_AEP_hourly.csv.gz", TableOptions(duplicates="mean"))
    else:
        frame = pl.read_csv(DATA / "bike_sharing_hour.csv.gz")
        stamps = pl.col("dteday").str.to_datetime("%Y-%m-%d") + pl.duration(hours=pl.col("hr"))
        panel = read_frame(frame.select(stamps.alias("ds"), pl.col("cnt").alias("y")))
    rows_count = len(panel.series[0])
    return panel, (int(0.7 * rows_count), rows_count - int(0.2 * rows_count), rows_count)


def test_error(
    model: SeriesModel, panel: Panel, tracks: Sequence[Track], borders: tuple[int, int, int], horizon: int
) -> tuple[float, float, int]:
    """Mean squared and absolute error over every test window, and how many windows there were."""
    first = borders[1] - horizon  # so that block borders, and with them refits, fall where a stream would have them
    state = state_at(model, panel, tracks, [first] * len(tracks))
    squares = absolute = 0.0
    count = windows = 0

    def realised(members: np.ndarray, positions: np.ndarray, errors: np.ndarray, scales: np.ndarray) -> None:
        nonlocal squares, absolute, count, windows
        held = errors[positions - panel.series[0].start - horizon >= borders[1] - 1]
        known = np.isfinite(held)
        squares += float((held[known] ** 2).sum())
        absolute += float(np.abs(held[known]).sum())
        count += int(known.sum())
        windows += len(held)

    model.read(state, lines_of(panel, model.recipe, tracks, [first] * len(tracks)), realised=realised)
    return squares / count, absolute / count, windows // len(tracks)


def settle(
    panel: Panel, borders: tuple[int, int, int], horizon: int, lookbacks: Sequence[int], **also: object
) -> tuple[Choice, np.ndarray, np.ndarray]:
    """Choose on the validation rows; ``also`` are further fields of `SeriesSection`."""
    values = panel.series[0].values[: borders[0]]
    mean, deviation = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
    known = panel.replace([panel.series[0].rows(0, borders[1])])
    settings = SeriesSection(horizon=horizon, lookbacks=tuple(lookbacks), **also)  # type: ignore[arg-type]
    seasons = settings.seasons or season_lengths(panel.clock)
    widest, lengths = widest_recipe(known, settings, seasons=seasons, train_rows=borders[0])
    tracks = lay_out(known, widest, mean=mean, deviation=deviation)
    return choose(tracks, widest, lookbacks=lengths, valid_rows=borders[1] - borders[0]), mean, deviation


def rows_of(name: str, horizon: int, lookbacks: Sequence[int], *, online: bool) -> dict[str, tuple[float, float]]:
    """Print and give test errors of every row of the table for one horizon."""
    panel, borders = load(name)
    start = time.process_time()
    choice, mean, deviation = settle(panel, borders, horizon, lookbacks)
    found = {}
    plain = choice.ridge.recipe
    best = choice.best.recipe
    widest = replace(plain, parts=(), lookback=max(choice.widest_lookback, *plain.seasons))
    seasonal = replace(widest, lookback=max(plain.seasons))
    plans = [(label, widest if label == "drift" else seasonal, label, 0, 0) for label in BASELINES]
    plans += [("ridge, frozen", plain, "ridge", 0, 0), ("ridge, online", plain, "ridge", 256, 1)]
    plans += [("structured, frozen", best, "ridge", 0, 0), ("structured, online", best, "ridge", 256, 1)]
    plans = [plan for plan in plans if online or not plan[3]]
    for label, recipe, method, every, part in plans:
        tracks = lay_out(panel, recipe, mean=mean, deviation=deviation)
        stops = [borders[part]] * len(tracks)
        scales = {"mean": mean, "deviation": deviation}
        model = build_model(panel, recipe, tracks, stops, method=method, every=every, **scales)
        mse, mae, windows = test_error(model, panel, tracks, borders, horizon)
        found[label] = (mse, mae)
        what = "" if method != "ridge" else f"lookback {recipe.lookback}, {' + '.join(recipe.parts) or 'no parts'}"
        print(f"{name:9s} {horizon:4d} {windows:6d} windows  {label:20s} {mse:.4f} {mae:.4f}  {what}", flush=True)
    ships = {"ridge": "ridge, frozen", "structured ridge": "structured, frozen"}.get(choice.method, choice.method)
    found["ships (chosen on validation)"] = found[ships]
    print(f"{name:9s} {horizon:4d} ships: {choice.method}; {time.process_time() - start:.0f} s of processor time")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", nargs="+", default=["ETTh1"], choices=sorted(LOOKBACKS), dest="sets")
    parser.add_argument("--lookback", type=int, nargs="+", help="lookbacks to choose from")
    parser.add_argument("--horizon", type=int, nargs="+")
    parser.add_argument("--frozen", action="store_true", help="leave out the rows that are refitted online")
    options = parser.parse_args()
    for name in options.sets:
        horizons = options.horizon or HORIZONS.get(name, (96, 336))
        tables = [
            rows_of(name, horizon, options.lookback or LOOKBACKS[name], online=not options.frozen)
            for horizon in horizons
        ]
        print(f"\n{name}, lookback from {options.lookback or LOOKBACKS[name]}: MSE at {horizons} and mean")
        for label in tables[0]:
            errors = [table[label][0] for table in tables]
            print(f"  {label:30s} {'  '.join(f'{e:.4f}' for e in errors)}   {np.mean(errors):.4f}", flush=True)


if __name__ == "__main__":
    main()
