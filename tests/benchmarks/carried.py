"""Is state carried from the first row worth anything, and on which kind of series? Arms of one model, and a twin.

    python -m tests.benchmarks.carried                       # all of them, some minutes of CPU
    python -m tests.benchmarks.carried --set AEP M4

The rows of the table, per data set and horizon, on the test rows (70/10/20, ETT's own borders, M4's own test part):

* ``carried``: the ridge with profiles, levels and last year's rows carried from the first row. Parts and lookback were
  chosen on the validation rows, in favour of carrying nothing where that is as good; the weights of every arm are then
  those of training and validation rows.
* ``reset``: the same weights; profiles and levels begin at the first row of the lookback. ``off``: without them.
  ``shuffled``: the same numbers in another order (`titans_seq.tasks.series_arms`).
* ``twin``: a ridge trained without any of it: lookback, penalty and calendar chosen on the same validation rows.
* ``carried, online`` and ``twin, online``: the second memory, the sums that are solved again every 256 rows;
  ``carried`` and ``twin`` are without it (a reset of that memory is what it held when the test rows began).

All closed form, so there are no seeds: the spread is that of a block bootstrap over time (blocks of two horizons, at
least 200 rows), for M4 over series.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np

from tests.benchmarks.long_horizon import DATA, LOOKBACKS, load, settle
from tests.benchmarks.m4_hourly import HORIZON, SEASON, read
from titans_seq.config.train_series import SeriesSection
from titans_seq.metrics.forecast import seasonal_scale
from titans_seq.tasks.series_arms import carried_columns, path_off, path_reset, path_shuffled
from titans_seq.tasks.series_layout import empty_state
from titans_seq.tasks.series_recipe import Recipe
from titans_seq.tasks.series_ridge import SeriesModel
from titans_seq.tasks.series_state import SeriesState
from titans_seq.tasks.series_tracks import Track, lay_out
from titans_seq.timeseries import Clock, Panel, Series
from titans_seq.timeseries.calendar import find_season
from titans_seq.training.series_fit import build_model, fit_series, lines_of, state_at

PLANS = {"AEP": (96, 336), "bike": (96, 336), "ETTh1": (96, 336), "ECG": (90, 360), "M4": (HORIZON,)}
STRIDE = {"AEP": 5, "bike": 1, "ETTh1": 5, "ECG": 37}
"""Rows between two origins, prime to a day of hours, so that every hour of the day comes up."""
RESULTS = Path(__file__).parent / "results"
PAIRS = (
    ("carried", "reset"), ("carried", "off"), ("carried", "shuffled"), ("carried", "twin"),
    ("carried, online", "carried"), ("carried, online", "twin, online"), ("twin, online", "twin"),
)  # fmt: skip
Errors = dict[str, np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", nargs="+", default=list(PLANS), choices=list(PLANS), dest="sets")
    options = parser.parse_args()
    record = {}
    for name in options.sets:
        for horizon in PLANS[name]:
            start = time.process_time()
            what, errors, block = m4() if name == "M4" else arms(name, horizon)
            seconds = time.process_time() - start
            print(f"\n{name} {horizon}: {what}; {seconds:.0f} s of CPU")
            record[f"{name} {horizon}"] = {"what": what, "cpu_seconds": seconds, "rows": show(errors, block)}
    path = RESULTS / f"carried-{'-'.join(options.sets)}-{date.today()}.json"
    path.write_text(json.dumps(record, indent=1) + "\n")


def show(errors: Errors, block: int) -> dict[str, object]:
    """Print each arm's error, and what one saves against another with its spread."""
    means = {name: float(error.mean()) for name, error in errors.items()}
    print("  " + ", ".join(f"{name} {mean:.4f}" for name, mean in means.items()))
    saved = {}
    for name, other in PAIRS:
        if name in errors and other in errors:
            worth, low, high = saved[f"{name} / {other}"] = bootstrap(errors[other], errors[name], block)
            verdict = "better" if low > 0 else "worse" if high < 0 else "no difference shown"
            print(f"  {name:16s} against {other:14s} {worth:+6.1%}  (95 %: {low:+.1%} to {high:+.1%})  {verdict}")
    return {"errors": means, "saved": saved}


def bootstrap(error: np.ndarray, base: np.ndarray, block: int, *, draws: int = 2000) -> tuple[float, float, float]:
    """Give the share of ``error`` that ``base`` saves, and its 95 % range over resampled blocks of origins."""
    random = np.random.default_rng(0)
    count = max(2, len(error) // block)
    parts = [np.array_split(values, count) for values in (error, base)]
    sums = np.array([[part.sum() for part in side] for side in parts])
    drawn = sums[:, random.integers(0, count, (draws, count))].sum(axis=2)
    low, high = np.quantile(1 - drawn[1] / drawn[0], [0.025, 0.975])
    return float(1 - sums[1].sum() / sums[0].sum()), float(low), float(high)


def ecg() -> tuple[Panel, tuple[int, int, int]]:
    """Five minutes of an electrocardiogram at 360 Hz."""
    found = np.load(DATA / "ecg_scipy.npz")
    values = next(found[key] for key in found if found[key].size > 1000).astype(float).reshape(-1, 1)
    rows = len(values)
    series = Series("", 0, np.arange(rows), values, np.empty((rows, 0)))
    return Panel((series,), Clock("integer", 1, 0), ("ecg",)), (int(0.7 * rows), int(0.8 * rows), rows)


def arms(name: str, horizon: int) -> tuple[str, Errors, int]:
    """Give every arm's squared error by origin, over its mean count of known targets."""
    panel, borders = ecg() if name == "ECG" else load(name)
    also: dict[str, object] = {}
    if name == "ECG":
        also["seasons"] = (find_season([panel.series[0].values[: borders[0], 0]]),)
    lookbacks = LOOKBACKS.get(name, (90, 360, 720))
    origins = np.arange(borders[1] - 1, borders[2] - horizon, STRIDE[name])
    errors: Errors = {}
    words = []
    for label, parts in (("carried", ("profile", "level", "calendar", "year")), ("twin", ("calendar",))):
        choice, mean, deviation = settle(panel, borders, horizon, lookbacks, parts=parts, **also)
        recipe = choice.recipe
        tracks = lay_out(panel, recipe, mean=mean, deviation=deviation)
        model = trained(panel, recipe, tracks, borders[1], mean=mean, deviation=deviation, every=0)
        words.append(f"{label}: {choice.method}, lookback {recipe.lookback}, {' + '.join(recipe.parts) or 'no parts'}")
        errors |= at_origins(label, model, tracks, origins)
        online = trained(panel, recipe, tracks, borders[1], mean=mean, deviation=deviation, every=256)
        errors[f"{label}, online"] = along(online, panel, tracks, borders[1] - horizon, origins)
    return "; ".join(words), errors, max(1, max(2 * horizon, 200) // STRIDE[name])


def trained(
    panel: Panel, recipe: Recipe, tracks: Sequence[Track], stop: int, *, mean: np.ndarray, deviation: np.ndarray,
    every: int,
) -> SeriesModel:  # fmt: skip
    stops = [stop] * len(tracks)
    return build_model(panel, recipe, tracks, stops, method="ridge", every=every, mean=mean, deviation=deviation)


def at_origins(label: str, model: SeriesModel, tracks: Sequence[Track], origins: np.ndarray) -> Errors:
    """Forecast from each origin in every arm, through the same code as a backtest."""
    found = {label: model.path}
    if label == "carried" and carried_columns(model.recipe).any():
        for name, arm in (("reset", path_reset), ("off", path_off), ("shuffled", path_shuffled)):
            found[name] = lambda state, arm=arm: arm(model, state)
    errors = {name: np.zeros(len(origins)) for name in found}
    count = 0
    for track in tracks:
        for first in range(0, len(origins), 200):
            part = slice(first, first + 200)
            state = standing(model, track, origins[part])
            steps = origins[part][:, None] + np.arange(1, model.recipe.horizon + 1)
            actual = np.where(track.known[steps], track.numbers[steps, 0], np.nan)
            count += int(np.isfinite(actual).sum())
            for name, path in found.items():
                own = (path(state) - state.mean[:, None]) / state.deviation[:, None]
                errors[name][part] += np.nansum((own - actual) ** 2, axis=1)
    return {name: error * len(origins) / count for name, error in errors.items()}


def standing(model: SeriesModel, track: Track, origins: np.ndarray) -> SeriesState:
    """Lay the states behind several rows of a track side by side."""
    recipe = model.recipe
    scales = (np.full(len(origins), values[track.index]) for values in (model.mean, model.deviation))
    mean, deviation = scales
    state = empty_state(
        recipe, tuple(map(str, origins)), model.weights, mean=mean, deviation=deviation, every=0, gram=model.gram,
        cross=model.cross, learned=np.zeros(len(origins), np.int64),
    )  # fmt: skip
    rows = np.maximum(origins[:, None] + np.arange(1 - recipe.kept, 1), 0)
    state.numbers = track.numbers[rows, : len(recipe.sources)]
    state.known, state.rows = track.known[rows], origins + 1
    state.position = track.start + origins
    return state


def along(
    model: SeriesModel, panel: Panel, tracks: Sequence[Track], first: int, origins: np.ndarray
) -> np.ndarray:  # fmt: skip
    """Read the rows from ``first`` on, and give the squared error by origin."""
    state = state_at(model, panel, tracks, [first] * len(tracks))
    sums, counts = np.zeros((2, len(panel.series[0])))
    start, horizon = panel.series[0].start, model.recipe.horizon

    def realised(members: np.ndarray, positions: np.ndarray, errors: np.ndarray, scales: np.ndarray) -> None:
        at = positions - start - horizon
        known = at >= 0
        np.add.at(sums, at[known], np.nansum(errors**2, axis=2)[known])
        np.add.at(counts, at[known], np.isfinite(errors).sum(axis=2)[known])

    model.read(state, lines_of(panel, model.recipe, tracks, [first] * len(tracks)), realised=realised)
    return np.asarray(sums[origins] * len(origins) / counts[origins].sum())


def m4() -> tuple[str, Errors, int]:
    """Give every arm's MASE by series."""
    train, test = read("M4_Hourly_train.csv.gz"), read("M4_Hourly_test.csv.gz")
    actual = np.array([test[name] for name in train])
    scales = np.array([seasonal_scale(values, SEASON) for values in train.values()])
    series = tuple(
        Series(name, 0, np.arange(len(values)), values[:, None], np.empty((len(values), 0)))
        for name, values in train.items()
    )
    panel = Panel(series, Clock("integer", 1, 0), ("y",))
    paths, words = {}, []
    for label, parts in (("carried", ("profile", "level")), ("twin", ())):
        settings = SeriesSection(horizon=HORIZON, seasons=(SEASON, 7 * SEASON), parts=parts)  # type: ignore[arg-type]
        fitted = fit_series(panel, settings)
        recipe = fitted.model.recipe
        words.append(f"{label}: {fitted.model.method}, lookback {recipe.lookback}, {' + '.join(recipe.parts) or '-'}")
        paths[label] = fitted.model.path(fitted.state)
        if parts:
            for name, arm in (("reset", path_reset), ("off", path_off), ("shuffled", path_shuffled)):
                paths[name] = arm(fitted.model, fitted.state)
    errors = {name: np.abs(actual - path).mean(axis=1) / scales for name, path in paths.items()}
    return "MASE; " + "; ".join(words), errors, 1


if __name__ == "__main__":
    main()
