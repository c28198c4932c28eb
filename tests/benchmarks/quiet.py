"""False alarms on quiet data beside the rate asked for: Daphnet channels without an anomaly, and two made series.

    python -m tests.benchmarks.quiet

Rows are counted from the first one that could be flagged. A fixed level is shown beside the default, which follows the
flags.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np

from titans_seq.timeseries.anomaly_scores import DEFAULT, ScoreSettings, build_score
from titans_seq.timeseries.conformal import ConformalP, ConformalSettings

DATA = Path("../shared/data/anomaly")
ROWS = 200_000


def main() -> None:
    print_false_alarms(DATA, quick=False)


def print_false_alarms(data: Path, *, quick: bool) -> None:
    print("\n| quiet data | alpha asked | rows flagged, level follows | rows flagged, level fixed | judged rows |")
    print("|---|---|---|---|---|")
    made = {name: [made_series(name, 20_000 if quick else ROWS)] for name in ("independent", "autocorrelated 0.95")}
    for name, tracks in {"Daphnet S06R02E0, 9 channels": daphnet(data), **made}.items():
        scores = [build_score(DEFAULT, ScoreSettings()).update(track) for track in tracks]
        for alpha in (0.01, 0.001):
            shares = {}
            for adaptive in (True, False):
                settings = ConformalSettings(alpha=alpha, calibration=int(10 / alpha), skip=256, adaptive=adaptive)
                flags = [ConformalP(settings).update(one)[1][settings.first_alarm :] for one in scores]
                shares[adaptive] = np.concatenate(flags)
            cells = [f"{alpha}", *(f"{shares[kind].mean():.4f}" for kind in (True, False)), f"{shares[True].size}"]
            print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def made_series(kind: str, rows: int) -> np.ndarray:
    noise = np.random.default_rng(11).normal(size=rows)
    if kind == "independent":
        return noise
    values, level = np.empty(rows), 0.0
    for t, shock in enumerate(noise.tolist()):
        level = 0.95 * level + shock
        values[t] = level
    return values


def daphnet(data: Path) -> list[np.ndarray]:
    """Nine channels of a walk in which nothing is labelled."""
    with gzip.open(data / "daphnet_S06R02E0.csv.gz", "rt") as file:
        header, *lines = (line.strip().split(",") for line in file)
    table = np.array([[float(cell) for cell in line[1:]] for line in lines])
    assert header[-1] == "is_anomaly"
    assert not table[:, -1].any()
    return list(table[:, :-1].T)


if __name__ == "__main__":
    main()
