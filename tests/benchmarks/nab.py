"""Causal anomaly scores on NAB by VUS-PR, and false alarms on quiet data beside the rate asked for.

    python -m tests.benchmarks.nab                     # all series of ../shared/data/anomaly/nab.tar.gz
    python -m tests.benchmarks.nab --quick             # six series, two settings: does it run?

Each method is a small grid of settings. "left out" is the honest figure: a family of series is scored with the setting
whose mean VUS-PR is best on the *other* families. "best" is the setting that is best on all series, which has seen what
it is scored on. Labels are NAB's windows; buffers 0 to 100 rows; series without an anomaly count for false alarms only.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import tarfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
import torch

from tests.benchmarks.quiet import print_false_alarms
from titans_seq.metrics.vus import auprc, auroc, label_runs, vus_pr
from titans_seq.tasks.series_surprise import MemorySurprise, build_anomaly_score
from titans_seq.timeseries.anomaly_scores import DEFAULT, Level, Part, ScoreSettings
from titans_seq.timeseries.conformal import ConformalP, ConformalSettings
from titans_seq.timeseries.lag_pca import LagPca
from titans_seq.timeseries.standardise import Standardiser
from titans_seq.timeseries.whitened import Whitened

DATA = Path("../shared/data/anomaly")
RESULTS = Path(__file__).parent / "results"
SPAN = ScoreSettings().span


@dataclass(frozen=True)
class LabelledSeries:
    name: str
    family: str
    values: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Setting:
    """One point of a method's grid: weights of parts (by name), and rows of smoothing."""

    method: str
    weights: tuple[tuple[str, float], ...]
    smooth: int

    def __str__(self) -> str:
        return " + ".join(f"{w:g} {n}" for n, w in self.weights) + f", smooth {self.smooth}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    started = time.process_time()
    series = read_nab(DATA / "nab.tar.gz")
    if options.quick:
        series = series[::5]
    labelled = [one for one in series if one.labels.any()]
    settings = [one for one in grid() if not options.quick or one.smooth == 50][: 8 if options.quick else None]
    print(f"{len(series)} series, {len(labelled)} with anomalies, {len(settings)} settings", flush=True)
    found = score_grid(labelled, settings)
    rows = print_table(labelled, settings, found)
    print_default(labelled)
    print_windows(labelled)
    print_false_alarms(DATA, quick=options.quick)
    seconds = time.process_time() - started
    print(f"\n{seconds:.0f} s of CPU")
    if not options.quick:
        record = {"rows": rows, "settings": [str(one) for one in settings], "vus_pr": found.tolist(),
                  "series": [one.name for one in labelled], "cpu_seconds": seconds}  # fmt: skip
        (RESULTS / f"nab-{date.today()}.json").write_text(json.dumps(record, indent=1) + "\n")


def read_nab(path: Path) -> list[LabelledSeries]:
    """Every series of the archive with True inside its anomaly windows."""
    found = []
    with tarfile.open(path) as archive:
        read: Callable[[str], str] = lambda name: archive.extractfile(name).read().decode()  # type: ignore[union-attr]  # noqa: E731
        windows = json.loads(read("nab/windows.json"))
        for member in sorted(archive.getnames()):
            if not member.endswith(".csv"):
                continue
            name = member.removeprefix("nab/")
            rows = list(csv.reader(io.StringIO(read(member))))[1:]
            spans = [(first[:19], last[:19]) for first, last in windows.get(name, [])]
            labels = np.array([any(first <= row[0] <= last for first, last in spans) for row in rows])
            family, short = name.removesuffix(".csv").split("/")
            found.append(LabelledSeries(short, family, np.array([float(row[1]) for row in rows]), labels))
    return found


def grid() -> list[Setting]:
    smooths = (25, 50, 100)
    settings = [Setting("random", (("random", 1.0),), 1)]
    for smooth in smooths:
        settings += [Setting(name, ((name, 1.0),), smooth) for name in ("zscore", "whitened")]
        settings += [Setting("surprise", ((f"surprise {name}", 1.0),), smooth) for name in MEMORIES]
    for window, kept, smooth in product((32, 64, 100), (1, 3), smooths):
        part = f"pca {window} {kept}"
        settings.append(Setting("pca", ((part, 1.0),), smooth))
        settings += [Setting("pca+level", ((part, 1.0), ("level", w)), smooth) for w in (0.1, 0.2, 0.5)]
        settings.append(Setting("all", ((part, 1.0), ("level", 0.2), (f"surprise {MEMORIES[-1]}", 0.1)), smooth))
    return settings


MEMORIES = ("titans_lmm", "deltanet")


def make_part(name: str) -> Part:
    kind, *numbers = name.split()
    if kind == "pca":
        return LagPca(window=int(numbers[0]), kept=int(numbers[1]), span=SPAN)
    if kind == "surprise":
        return MemorySurprise(memory=numbers[0], span=SPAN)
    if kind == "whitened":
        return Whitened(order=16, span=SPAN)
    return Level(power=2 if kind == "level" else 1)


def score_grid(series: list[LabelledSeries], settings: list[Setting]) -> np.ndarray:
    """VUS-PR, (series, settings). Parts are computed once per series; weights and smoothing are cheap."""
    found = np.full((len(series), len(settings)), np.nan)
    for i, one in enumerate(series):
        z = Standardiser(span=SPAN).update(one.values)
        parts: dict[str, np.ndarray] = {"random": np.random.default_rng(i).random(z.size)}
        for j, setting in enumerate(settings):
            for name, _ in setting.weights:
                if name not in parts:
                    parts[name] = make_part(name).update(z)
            raw = sum(weight * parts[name] for name, weight in setting.weights)
            found[i, j] = vus_pr(running_mean(np.asarray(raw), setting.smooth), one.labels)
        print(f"  {one.family}/{one.name} {found[i].max():.3f}", flush=True)
    return found


def running_mean(raw: np.ndarray, smooth: int) -> np.ndarray:
    """The smoothing of `AnomalyScore`."""
    mean = pl.Series(raw).ewm_mean(alpha=1 / smooth, adjust=True)
    return mean.to_numpy()


def print_table(series: list[LabelledSeries], settings: list[Setting], found: np.ndarray) -> list[dict[str, object]]:
    families = sorted({one.family for one in series})
    member = np.array([families.index(one.family) for one in series])
    print("\n| method | left out | best | " + " | ".join(families) + " | setting best on all |")
    print("|---" * (len(families) + 4) + "|")
    rows = []
    for method in dict.fromkeys(one.method for one in settings):
        columns = [j for j, one in enumerate(settings) if one.method == method]
        own = found[:, columns]
        honest = np.empty(len(series))
        for family in range(len(families)):
            chosen = int(np.argmax(own[member != family].mean(axis=0)))
            honest[member == family] = own[member == family, chosen]
        best = int(np.argmax(own.mean(axis=0)))
        by_family = [float(honest[member == family].mean()) for family in range(len(families))]
        cells = [f"{honest.mean():.3f}", f"{own[:, best].mean():.3f}", *(f"{value:.3f}" for value in by_family)]
        print(f"| {method} | " + " | ".join(cells) + f" | {settings[columns[best]]} |")
        rows.append({"method": method, "left_out": float(honest.mean()), "best": float(own[:, best].mean()),
                     "by_family": dict(zip(families, by_family, strict=True)),
                     "setting": str(settings[columns[best]])})  # fmt: skip
    return rows


def print_default(series: list[LabelledSeries]) -> None:
    """What ships, through the shipped class: other metrics, other buffers, time."""
    started = time.process_time()
    scores = [build_anomaly_score(DEFAULT, ScoreSettings()).update(one.values) for one in series]
    seconds = time.process_time() - started
    rows = sum(one.values.size for one in series)
    pairs = list(zip(scores, (one.labels for one in series), strict=True))
    buffers = ", ".join(f"{b}: {np.mean([vus_pr(*pair, buffer=b) for pair in pairs]):.3f}" for b in (0, 25, 100, 200))
    by_row = (
        f"AUPRC {np.mean([auprc(*pair) for pair in pairs]):.3f}, AUROC {np.mean([auroc(*pair) for pair in pairs]):.3f}"
    )
    print(f"\n{DEFAULT} as it ships: mean VUS-PR by longest buffer {buffers}; {by_row}; {rows / seconds:,.0f} rows/s")


def print_windows(series: list[LabelledSeries]) -> None:
    """Labelled windows with a flag in them, and flags outside, through p-values."""
    print("\n| alpha | level | windows flagged | judged windows | share of rows outside windows flagged |")
    print("|---|---|---|---|---|")
    score = {one.name: build_anomaly_score(DEFAULT, ScoreSettings()).update(one.values) for one in series}
    for alpha, adaptive in product((0.01, 0.002), (True, False)):
        settings = ConformalSettings(alpha=alpha, calibration=int(10 / alpha), skip=256, adaptive=adaptive)
        hit = judged = flagged = outside = 0
        for one in series:
            p, flags = ConformalP(settings).update(score[one.name])
            possible = np.arange(p.size) >= settings.first_alarm
            for first, last in label_runs(one.labels):
                judged += bool(possible[last])
                hit += bool(flags[first : last + 1].any())
            flagged += int((flags & ~one.labels & possible).sum())
            outside += int((~one.labels & possible).sum())
        level = "follows the flags" if adaptive else "fixed"
        print(f"| {alpha} | {level} | {hit} | {judged} | {flagged / outside:.4f} |")


if __name__ == "__main__":
    main()
