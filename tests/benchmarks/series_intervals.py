"""Do the intervals cover? 90 % intervals on test rows, over all and by month of 720 rows.

    python tests/benchmarks/series_intervals.py --set AEP bike ETTh1 --horizon 96

The model is fitted on training and validation rows (the borders of `long_horizon.py`), then reads the test rows and is
refitted on them; each interval uses only what was known at its origin.
"""

from __future__ import annotations

import argparse

import numpy as np

from tests.benchmarks.long_horizon import LOOKBACKS, load
from titans_seq.config.train_series import SeriesSection
from titans_seq.training.series_fit import fit_series

MONTH = 720


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", nargs="+", default=["AEP", "bike", "ETTh1"], dest="sets")
    parser.add_argument("--horizon", type=int, default=96)
    parser.add_argument("--level", type=float, default=90)
    options = parser.parse_args()
    for name in options.sets:
        measure(name, options.horizon, options.level)


def measure(name: str, horizon: int, level: float) -> None:
    """Print the coverage on one set."""
    low, high = (0.5 + side * level / 200 for side in (-1, 1))
    panel, borders = load(name)
    series = panel.series[0]
    settings = SeriesSection(horizon=horizon, lookbacks=LOOKBACKS[name])
    known = panel.replace([series.rows(0, borders[1])])
    fitted = fit_series(known, settings, valid_rows=borders[1] - borders[0])
    model, state = fitted.model, fitted.state
    ends = [np.array([np.interp(q, model.levels, c) for c in model.quantiles.T]) for q in (low, high)]
    scale_at = {
        track: {borders[1] - 1: state.past_scales[track, -1] * state.stretch[track]}
        for track in range(len(state.tracks))
    }
    inside: list[tuple[int, float, float]] = []

    def realised(tracks: np.ndarray, rows: np.ndarray, errors: np.ndarray, scales: np.ndarray) -> None:
        for track, positions, error, scale in zip(tracks, rows, errors, scales, strict=True):
            known_scales = scale_at[track]
            for position, line, size in zip(positions, error, scale, strict=True):
                known_scales[int(position)] = float(size)
                origin = int(position) - horizon
                if origin in known_scales:
                    edge = known_scales[origin]
                    found = np.isfinite(line)
                    hit = (line >= edge * ends[0]) & (line <= edge * ends[1])
                    width = edge * float((ends[1] - ends[0]).mean())
                    inside.append((origin, float(hit[found].mean()) if found.any() else np.nan, width))

    model.advance(state, panel.replace([series.rows(borders[1], borders[2])]), realised=realised)
    table = np.array(inside)
    months = (table[:, 0] - borders[1] + 1) // MONTH
    counts = np.array([(months == m).sum() for m in np.unique(months)])
    by_month = np.array([np.nanmean(table[months == m, 1]) for m in np.unique(months)])[counts >= counts.max() / 2]
    print(
        f"{name:8s} horizon {horizon}: {level:g} % interval covers {np.nanmean(table[:, 1]):.3f}; by month "
        f"{by_month.min():.3f} to {by_month.max():.3f} ({len(by_month)} months); mean width "
        f"{table[:, 2].mean():.3f} deviations; {model.method}",
        flush=True,
    )


if __name__ == "__main__":
    main()
