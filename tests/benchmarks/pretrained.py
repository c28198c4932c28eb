"""A memory pretrained on many series, meeting series it has never seen: what `train-series` ships, against its twins.

    python -m tests.benchmarks.pretrained --seeds 0 1 2

The 414 hourly series of M4, split by series: 276 given to the code of `titans-seq train-series` (230 learned from, 46
to stop and gate on), 138 never seen. Nets of equal layers and steps: two with a memory beside attention over the last
8 tokens, the twin with that attention alone, and one whose attention reaches over everything (no state of fixed size).
Scored on the unseen series, read from their first row: at every token's origin with a whole lookback within their
histories (mean absolute error in seasonal differences) and at the M4 test part (MASE). Arms: the memory carried from
the series' first row, begun anew every 16 tokens, its reads zero. Spread: seeds; and the standard error over series.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np
import torch

from tests.benchmarks.m4_hourly import HORIZON, SEASON, read
from titans_seq.config.correction import CorrectionSection
from titans_seq.config.encoder import EncoderSection
from titans_seq.config.train_series import SeriesSection
from titans_seq.metrics.forecast import seasonal_scale
from titans_seq.models import Encoder
from titans_seq.tasks.series_correction import SeriesCorrection
from titans_seq.tasks.series_residual import SeriesResidual
from titans_seq.tasks.series_ridge import SeriesModel
from titans_seq.tasks.series_tokens import token_width
from titans_seq.tasks.series_tracks import lay_out
from titans_seq.timeseries import Clock, Panel, Series
from titans_seq.training.residual_streams import residual_rows
from titans_seq.training.series_correction import Data, train_net
from titans_seq.training.series_fit import build_model, fit_series

PATCH = HORIZON // 4
RESULTS = Path(__file__).parent / "results"
ENCODER = {"variant": "mag", "d_model": 64, "n_layers": 2, "n_heads": 2, "chunk_size": 8}
WINDOW, EVERYTHING = 8, 88
NETS = {
    "titans_lmm": ("titans_lmm", WINDOW),
    "titans_lmm of depth 1": ({"name": "titans_lmm", "depth": 1}, WINDOW),
    "gated_deltanet": ("gated_deltanet", WINDOW),
    "twin without memory": ("none", WINDOW),
    "twin, attends to everything": ("none", EVERYTHING),
}


@dataclass(frozen=True)
class Setup:
    """The forecaster beneath, series laid out for learning and judging, and the unseen ones with their test part."""

    beneath: SeriesModel
    chosen: Data
    unseen: Data
    histories: Panel
    actual: np.ndarray
    scales: np.ndarray


def prepare(settings: CorrectionSection) -> Setup:
    train, test = read("M4_Hourly_train.csv.gz"), read("M4_Hourly_test.csv.gz")
    names = list(train)
    number = np.arange(len(names))
    unseen = number % 3 == 0

    def panel_of(which: np.ndarray) -> Panel:
        lines = {names[i]: train[names[i]] for i in np.flatnonzero(which)}
        return Panel(tuple(
            Series(n, 0, np.arange(len(v)), v[:, None], np.empty((len(v), 0))) for n, v in lines.items()
        ), Clock("integer", 1, 0), ("y",))  # fmt: skip

    many, new = panel_of(~unseen), panel_of(unseen)
    fitted = fit_series(many, SeriesSection(horizon=HORIZON, seasons=(SEASON, 7 * SEASON)))
    recipe, scales = fitted.model.recipe, {"mean": fitted.model.mean, "deviation": fitted.model.deviation}
    tracks = lay_out(many, recipe, **scales)
    held = [track for track in tracks if track.index % 6 == 3]
    learned = [track for track in tracks if track.index % 6 != 3]
    stops = [len(track) for track in learned]
    beneath = build_model(many, recipe, learned, stops, method=fitted.model.method, every=0, **scales)
    begun = beneath.begin(new)
    fresh = lay_out(new, recipe, mean=begun.mean, deviation=begun.deviation)
    rows = [residual_rows(beneath, p, t, patch=PATCH) for p, t in ((many, learned), (many, held), (new, fresh))]
    words = {"patch": PATCH, "reach": recipe.reach, "settings": settings}
    print(f"{fitted.model.method}: lookback {recipe.lookback}, {recipe.parts}", flush=True)
    left = [series.id for series in new]
    return Setup(
        beneath, Data(rows[0], rows[1], **words), Data(rows[0], rows[2], **words), new,
        np.array([test[name][:HORIZON] for name in left]),
        np.array([seasonal_scale(train[name], SEASON) for name in left]),
    )  # fmt: skip


def mase(setup: Setup, net: SeriesCorrection | None) -> np.ndarray:
    """Error of the forecast behind each unseen series' history, in its seasonal differences."""
    model = replace(setup.beneath, correction=net)
    path = model.path(model.advance(model.begin(setup.histories), setup.histories))
    return np.abs(path - setup.actual).mean(axis=1) / setup.scales


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", nargs="+", default=list(NETS), choices=list(NETS))
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--series", type=int, nargs="+", help="Learn from so many of the 230 as well as from all.")
    options = parser.parse_args()
    torch.set_num_threads(1)
    started = time.process_time()
    setup = prepare(CorrectionSection(steps=options.steps))
    base = setup.unseen.errors(empty_net(setup), np.zeros(1))[0]
    found = {"beneath": [np.array([base, mase(setup, None)])]}
    print("  beneath", found["beneath"][0].mean(axis=1).round(4), flush=True)
    for count in options.series or [len(setup.chosen.learned)]:
        for seed in options.seeds:
            for label in options.nets:
                name = f"{label}, {count} series" if options.series else label
                for arm, errors in one_net(setup, label, count=count, seed=seed).items():
                    full = name if NETS[label][0] == "none" else f"{name}, {arm}"
                    found.setdefault(full, []).append(errors)
                    inner, final = errors.mean(axis=1)
                    print(f"  seed {seed} {full:44s} histories {inner:.4f}  MASE {final:.4f}", flush=True)
                print(f"    {time.process_time() - started:.0f} s of CPU", flush=True)
    report(found, options, time.process_time() - started)


def one_net(setup: Setup, label: str, *, count: int, seed: int) -> dict[str, np.ndarray]:
    """Train a net on some of the series; gives its errors on the unseen ones by arm."""
    memory, window = NETS[label]
    encoder = EncoderSection(**ENCODER, memory=memory, window=window)
    settings = setup.chosen.settings.model_copy(update={"seed": seed, "encoder": encoder})
    everyone = setup.chosen.learned
    some = everyone[:: max(1, len(everyone) // count)][:count]
    data = Data(some, setup.chosen.held, patch=PATCH, reach=setup.chosen.reach, settings=settings)
    net, step = train_net(data, width_of(setup), kind="memory", enough=lambda: False, watch=lambda *words: None)
    judged = data.judge(net)
    verdict = "ships" if judged.passes else "stays out"
    print(f"    {label}, {len(some)} series: best at step {step}, gate {judged.gate:.1f}; held-out series save "
          f"{judged.saved:.4f} +- {judged.spread:.4f}: {verdict}", flush=True)  # fmt: skip
    gated = replace(net, gate=judged.gate)
    errors = {}
    for arm in ("carried",) if memory == "none" else ("carried", "reset", "off"):
        less = gated.with_arm(arm)
        errors[arm] = np.array([setup.unseen.errors(less, np.ones(1))[0], mase(setup, less)])
    return errors


def width_of(setup: Setup) -> int:
    return token_width(horizon=HORIZON, patch=PATCH, seasons=setup.beneath.recipe.seasons)


def empty_net(setup: Setup) -> SeriesCorrection:
    """A net that corrects nothing, as every one does before its first step."""
    encoder = Encoder(variant="mag", memory="none", d_model=16, n_layers=1, window=WINDOW)
    task = SeriesResidual(encoder=encoder, features=width_of(setup), horizon=HORIZON)
    return SeriesCorrection(task, patch=PATCH, gate=0.0)


def report(found: dict[str, list[np.ndarray]], options: argparse.Namespace, seconds: float) -> None:
    base = found["beneath"][0]
    print("\nunseen series: error over histories, and MASE at the M4 test part; saved against beneath, over series")
    for label, runs in found.items():
        means = np.array([run.mean(axis=1) for run in runs])
        saved = base - np.mean(runs, axis=0)
        spread = means.std(axis=0, ddof=1) if len(runs) > 1 else np.full(2, np.nan)
        se = saved.std(axis=1) / saved.shape[1] ** 0.5
        print(f"  {label:36s} {means[:, 0].mean():.4f} +- {spread[0]:.4f}   {means[:, 1].mean():.4f} +- {spread[1]:.4f}"
              f"   saves {saved[0].mean():+.4f} +- {se[0]:.4f}, {saved[1].mean():+.4f} +- {se[1]:.4f}")  # fmt: skip
    print(f"{seconds:.0f} s of CPU")
    if len(options.seeds) > 1 or options.series:
        means = {label: [run.mean(axis=1).tolist() for run in runs] for label, runs in found.items()}
        record = {"found": means, "options": vars(options), "cpu_seconds": seconds}
        what = "few" if options.series else "shipped"
        path = RESULTS / f"pretrained-M4-{what}-{date.today()}.json"
        path.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
