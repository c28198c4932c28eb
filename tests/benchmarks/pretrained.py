"""A memory pretrained on many series, meeting a series it has never seen: is it worth anything below the ridge?

    python -m tests.benchmarks.pretrained --seeds 0 1 2

The 414 hourly series of M4, split by series: 230 to train on, 46 to stop and gate on, 138 never seen. The pooled ridge
is that of the training series; on its residuals (horizon 48, a token every 12 rows) nets of equal layers and steps are
trained: two with a memory beside attention over the last 8 tokens, a twin with that attention alone, and one whose
attention reaches over everything (no state of fixed size). Scored on the unseen series, at the M4 test part (MASE) and
at every token's origin within their histories (mean absolute error in seasonal differences): the memory carried from
the series' first row, afresh every 16 tokens, its reads zero, the twins, the ridge. The gate is the share of the
correction that the validation series like best; a correction ships where it saves more than two standard errors
there. Spread: seeds, and the standard error over series.
"""

from __future__ import annotations

import argparse
import copy
import json
import tempfile
import time
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import smooth_l1_loss

from tests.benchmarks.m4_hourly import HORIZON, SEASON, read
from titans_seq.config.sections import OptimiserSection, RunSection
from titans_seq.config.train_series import SeriesSection
from titans_seq.metrics.forecast import seasonal_scale
from titans_seq.models import Encoder
from titans_seq.tasks.encoder_state import EncoderOnly
from titans_seq.tasks.series_residual import SeriesResidual
from titans_seq.tasks.series_tracks import lay_out
from titans_seq.tasks.trainable import Cost
from titans_seq.timeseries import Clock, Panel, Series
from titans_seq.training.budget import Budget
from titans_seq.training.checkpoint import Progress
from titans_seq.training.loop import Fitting, fit
from titans_seq.training.residual_streams import ResidualRows, ResidualStreams, cut, residual_rows
from titans_seq.training.runtime import choose_runtime
from titans_seq.training.series_fit import build_model, fit_series

PATCH, LENGTH, WINDOW, AFRESH = 12, 80, 8, 16
RESULTS = Path(__file__).parent / "results"
TWINS = {"none": "twin without memory", "wide": "twin, attends to everything"}
LABELS = ("titans_lmm", "gated_deltanet", *TWINS)
GATES = np.linspace(0, 1, 11)


@dataclass(frozen=True)
class Setup:
    """Residuals of every series, the last origin of each, and who is trained on, chosen on, never seen."""

    rows: list[ResidualRows]
    last: np.ndarray
    train: np.ndarray
    valid: np.ndarray
    unseen: np.ndarray


class AbsoluteResidual(SeriesResidual):
    """Trained on a cost that is absolute beyond one scale, as MASE is."""

    def cost(self, segment: Any, *, state: EncoderOnly | None, device: torch.device) -> Cost:
        found = [torch.as_tensor(a).to(device) for a in (segment.features, segment.targets, segment.mask)]
        correction, after = self(found[0], found[2], state)
        known = torch.isfinite(found[1]) & found[2][..., None]
        error = smooth_l1_loss(correction[known], found[1][known], reduction="sum")
        return Cost(error, int(known.sum()), after)


def prepare() -> Setup:
    train, test = read("M4_Hourly_train.csv.gz"), read("M4_Hourly_test.csv.gz")
    clock, names = Clock("integer", 1, 0), list(train)
    number = np.arange(len(names))
    unseen = number % 3 == 0
    valid = ~unseen & (number % 9 == 1)

    def panel_of(which: np.ndarray, values: dict[str, np.ndarray]) -> Panel:
        chosen = [names[i] for i in np.flatnonzero(which)]
        return Panel(tuple(
            Series(n, 0, np.arange(len(values[n])), values[n][:, None], np.empty((len(values[n]), 0))) for n in chosen
        ), clock, ("y",))  # fmt: skip

    settings = SeriesSection(horizon=HORIZON, seasons=(SEASON, 7 * SEASON))
    fitted = fit_series(panel_of(~unseen & ~valid, train), settings)
    recipe = fitted.model.recipe
    mean = np.array([train[n].mean() for n in names])
    deviation = np.array([seasonal_scale(train[n], SEASON) for n in names])
    whole = panel_of(np.ones(len(names), bool), {n: np.concatenate([train[n], test[n]]) for n in names})
    tracks = lay_out(whole, recipe, mean=mean, deviation=deviation)
    learned = [track for track in tracks if (~unseen & ~valid)[track.index]]
    model = build_model(
        whole, recipe, learned, [len(track) - 2 * HORIZON for track in learned], method="ridge", every=0, mean=mean,
        deviation=deviation,
    )  # fmt: skip
    rows = [
        residual_rows(model, t, patch=PATCH, waves=_waves(len(t))) for t in tracks
    ]  # fmt: skip
    last = np.array([len(r) - HORIZON - 1 for r in rows])
    print(f"ridge: lookback {recipe.lookback}, {recipe.parts}, penalty {recipe.penalty:g}", flush=True)
    return Setup(rows, last, np.flatnonzero(~unseen & ~valid), np.flatnonzero(valid), np.flatnonzero(unseen))


def _waves(rows: int) -> np.ndarray:
    phase = 2 * np.pi * np.arange(rows)[:, None] / np.array([SEASON, 7 * SEASON])
    return np.concatenate([np.sin(phase), np.cos(phase)], axis=1)


@torch.no_grad()
def corrections(
    task: SeriesResidual, setup: Setup, which: np.ndarray, arm: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give corrections, residuals and masks of the tokens up to each series' last origin, (series, tokens, H)."""
    task.eval()
    parts, scales = [], []
    for i in which:
        begin = int(setup.last[i] % PATCH)
        parts.append(cut(setup.rows[i], begin, LENGTH, PATCH, stop=int(setup.last[i]) + 1))
        at = np.minimum(begin + PATCH * np.arange(LENGTH), setup.last[i])
        scales.append(setup.rows[i].scale[at, None])
    features, targets, mask = (torch.from_numpy(np.stack(column)) for column in zip(*parts, strict=True))
    step = AFRESH if arm == "afresh" else LENGTH
    with task.encoder.memory_off() if arm == "off" else nullcontext():
        found = [
            task(features[:, at : at + step], mask[:, at : at + step])[0] for at in range(0, LENGTH, step)
        ]  # fmt: skip
    scale = np.stack(scales)
    return torch.cat(found, 1).numpy() * scale, targets.numpy() * scale, mask.numpy()


def scored(
    correction: np.ndarray, residual: np.ndarray, mask: np.ndarray, gate: float
) -> tuple[np.ndarray, np.ndarray]:
    """Mean absolute error of each series over all its tokens, and at its last one."""
    error = np.abs(residual - gate * correction).mean(axis=2)
    final = error[np.arange(len(mask)), mask.sum(axis=1) - 1]
    # The last four tokens' targets reach into the test part; the histories are judged on those before.
    inner = mask & (np.cumsum(mask, axis=1) <= mask.sum(axis=1, keepdims=True) - HORIZON // PATCH)
    return np.where(inner, np.nan_to_num(error), 0).sum(axis=1) / inner.sum(axis=1), final


def gate_of(task: SeriesResidual, setup: Setup) -> tuple[float, float, float, float]:
    """Choose the gate on the validation series; gives it, the error there, what it saves and the standard error."""
    parts = corrections(task, setup, setup.valid, "carried")
    errors = [scored(*parts, float(gate))[0] for gate in GATES]
    best = int(np.argmin([e.mean() for e in errors]))
    saved = errors[0] - errors[best]
    return float(GATES[best]), float(errors[best].mean()), float(saved.mean()), float(saved.std() / len(saved) ** 0.5)


def train(setup: Setup, memory: str, *, seed: int, steps: int) -> SeriesResidual:
    run = RunSection(seed=seed, device="cpu", threads=1, precision="float32")
    name, window = ("none", LENGTH) if memory == "wide" else (memory, WINDOW)
    encoder = Encoder(variant="mag", memory=name, d_model=64, n_layers=2, n_heads=2, window=window, chunk_size=8)
    width = setup.rows[0].features.shape[1]
    torch.manual_seed(seed)
    task = AbsoluteResidual(encoder=encoder, features=width, horizon=HORIZON, dropout=0.1)
    tracks = [setup.rows[i] for i in setup.train]
    stops = [int(setup.last[i]) - HORIZON for i in setup.train]
    streams = ResidualStreams(tracks, stops, patch=PATCH, length=LENGTH, batch=32, seed=seed)
    best: dict[str, Any] = {"error": np.inf, "step": 0}

    def look(progress: Progress) -> bool:
        if progress.step % 50 and progress.step < steps:
            return False
        error = gate_of(task, setup)[1]
        task.train()
        if error < best["error"]:
            best.update(error=error, step=progress.step, weights=copy.deepcopy(task.state_dict()))
        return False

    with tempfile.TemporaryDirectory() as folder:
        optimiser = OptimiserSection(learning_rate=2e-3, warmup=20, weight_decay=0.1)
        fit(
            task, streams,
            fitting=Fitting(Path(folder), Budget(steps=steps, seconds=None), optimiser, run, enough=look),
            runtime=choose_runtime(run),
        )  # fmt: skip
    if "weights" in best:
        task.load_state_dict(best["weights"])
    print(f"    {memory}: best at step {best['step']} of {steps}", flush=True)
    return task


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memories", nargs="+", default=list(LABELS))
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    torch.set_num_threads(1)
    started = time.process_time()
    setup = prepare()
    found: dict[str, list[np.ndarray]] = {}
    for seed in options.seeds:
        for memory in options.memories:
            task = train(setup, memory, seed=seed, steps=options.steps)
            gate, _, saved, error = gate_of(task, setup)
            verdict = "ships" if saved > 2 * error else "stays out"
            for arm in ("carried",) if memory in TWINS else ("carried", "afresh", "off"):
                parts = corrections(task, setup, setup.unseen, arm)
                if "ridge" not in found:
                    found["ridge"] = [np.array(scored(*parts, 0.0))]
                label = TWINS.get(memory, f"{memory}, {arm}")
                found.setdefault(label, []).append(np.array(scored(*parts, gate)))
                inner, final = found[label][-1].mean(axis=1)
                print(f"  seed {seed} {label:28s} histories {inner:.4f}  MASE {final:.4f}", flush=True)
            spent = time.process_time() - started
            gain = f"validation series save {saved:.4f} +- {error:.4f}: {verdict}"
            print(f"    gate {gate:.1f}; {gain}; {spent:.0f} s", flush=True)
    report(found, options, time.process_time() - started)


def report(found: dict[str, list[np.ndarray]], options: argparse.Namespace, seconds: float) -> None:
    base = found["ridge"][0]
    print("\nunseen series: error over histories, and MASE at the M4 test part; saved against the ridge, over series")
    for label, runs in found.items():
        means = np.array([run.mean(axis=1) for run in runs])
        saved = base - np.mean(runs, axis=0)
        spread = means.std(axis=0, ddof=1) if len(runs) > 1 else np.full(2, np.nan)
        se = saved.std(axis=1) / saved.shape[1] ** 0.5
        print(f"  {label:28s} {means[:, 0].mean():.4f} +- {spread[0]:.4f}   {means[:, 1].mean():.4f} +- {spread[1]:.4f}"
              f"   saves {saved[0].mean():+.4f} +- {se[0]:.4f}, {saved[1].mean():+.4f} +- {se[1]:.4f}")  # fmt: skip
    print(f"{seconds:.0f} s of CPU")
    record = {label: [run.mean(axis=1).tolist() for run in runs] for label, runs in found.items()}
    path = RESULTS / f"pretrained-M4-{date.today()}.json"
    path.write_text(json.dumps({"found": record, "options": vars(options), "cpu_seconds": seconds}, indent=1) + "\n")


if __name__ == "__main__":
    main()
