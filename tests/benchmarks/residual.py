"""Is a memory carried over the whole history worth anything on what the ridge leaves over? Three seeds, a twin, a gate.

    python -m tests.benchmarks.residual --set AEP --horizon 336
    python -m tests.benchmarks.residual --parts --cut 960

Per seed two nets of equal layers, tokens and steps are trained on the training rows: one with a memory, its twin with
none (sliding-window attention in both). The step with the best validation error is kept, the gate is fitted on the
validation rows. Printed for the test rows, every window at stride 1: the ridge alone, the memory carried from the first
row, afresh every 64 tokens, off, and the twin.

``--cut ROWS`` takes the history before the test rows as many series of so many rows, as `titans-seq train-series` takes
many: the encoder's state begins anew in each, three of four are learned from, and every fourth chooses step and gate
and decides. On the test rows the state then begins anew as often, or is carried on.
"""

from __future__ import annotations

import argparse
import copy
import json
import tempfile
import time
from dataclasses import dataclass, fields
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.benchmarks.long_horizon import LOOKBACKS, load, settle
from titans_seq.config.sections import OptimiserSection, RunSection
from titans_seq.models import Encoder
from titans_seq.tasks.series_residual import SeriesResidual
from titans_seq.tasks.series_tracks import lay_out
from titans_seq.training.budget import Budget
from titans_seq.training.checkpoint import Progress
from titans_seq.training.loop import Fitting, fit
from titans_seq.training.residual_evaluate import Judged, judge
from titans_seq.training.residual_streams import ResidualRows, ResidualStreams, residual_rows
from titans_seq.training.runtime import choose_runtime
from titans_seq.training.series_fit import build_model

PATCH = 24
LENGTH = 336
"""Tokens of a segment: 8,064 rows."""
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Setup:
    rows: ResidualRows
    train: int
    valid: tuple[int, int]
    test: tuple[int, int]
    horizon: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", default="AEP")
    parser.add_argument("--horizon", type=int, default=336)
    parser.add_argument(
        "--parts", action="store_true", help="on the ridge with its structured parts, not the plain one"
    )
    parser.add_argument("--cut", type=int, help="learn from the history cut into series of so many rows")
    parser.add_argument("--memory", default="gated_deltanet")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    torch.set_num_threads(1)
    setup = prepare(options.set, options.horizon, structured=options.parts)
    found: dict[str, list[float]] = {}
    started = time.process_time()
    for seed in options.seeds:
        one = one_seed_cut if options.cut else one_seed
        for name, value in one(setup, options, seed=seed).items():
            found.setdefault(name, []).append(value)
    base = judge_base(setup)
    print(f"\n{options.set} {options.horizon}, {'structured' if options.parts else 'plain'} ridge, test MSE {base:.4f}")
    for name, values in found.items():
        spread = np.std(values, ddof=1) if len(values) > 1 else float("nan")
        print(f"  {name:32s} {np.mean(values):.4f} +- {spread:.4f}   {' '.join(f'{v:.4f}' for v in values)}")
    seconds = time.process_time() - started
    print(f"{seconds:.0f} s of CPU")
    kind = "structured" if options.parts else "plain"
    seeds = "".join(map(str, options.seeds))
    cut = f"-cut{options.cut}" if options.cut else ""
    name = f"residual-{options.set}-{options.horizon}-{kind}{cut}-{options.memory}-seeds{seeds}-{date.today()}.json"
    record = {"base": base, "found": found, "options": vars(options), "cpu_seconds": seconds}
    (RESULTS / name).write_text(json.dumps(record, indent=1) + "\n")


def prepare(name: str, horizon: int, *, structured: bool) -> Setup:
    """Fit the ridge on the training rows and lay everything else out."""
    panel, borders = load(name)
    choice, mean, deviation = settle(panel, borders, horizon, LOOKBACKS[name])
    recipe = (choice.best if structured else choice.ridge).recipe
    tracks = lay_out(panel, recipe, mean=mean, deviation=deviation)
    scales = {"mean": mean, "deviation": deviation}
    model = build_model(panel, recipe, tracks, [borders[0]] * len(tracks), method="ridge", every=0, **scales)
    (whole,) = residual_rows(model, panel, tracks, patch=PATCH)
    first = recipe.reach - 1  # before it the rows of a year ago are not there
    rows = part(whole, first, len(whole))
    setup = Setup(
        rows, train=borders[0] - horizon - first, horizon=horizon,
        valid=(borders[0] - 1 - first, borders[1] - horizon - first),
        test=(borders[1] - 1 - first, borders[2] - horizon - first),
    )  # fmt: skip
    print(f"{name}: {recipe.lookback} rows, {recipe.parts}; {rows.features.shape[1]} numbers in a token; "
          f"{setup.test[1] - setup.test[0]} test windows; ridge {judge_base(setup):.4f}", flush=True)  # fmt: skip
    return setup


def judge_base(setup: Setup) -> float:
    """Test error of the ridge alone."""
    part = setup.rows.residuals[slice(*setup.test)].astype(np.float64)
    return float(np.nanmean(part**2))


def one_seed(setup: Setup, options: argparse.Namespace, *, seed: int) -> dict[str, float]:
    results = {}
    for kind in (options.memory, "none"):
        task, valid = train(setup, kind, seed=seed, steps=options.steps)
        gate = valid.gate()
        saved, error = valid.gain(gate)
        arms = ("carried", "reset", "off") if kind != "none" else ("carried",)
        for arm in arms:
            name = f"memory, {arm}" if kind != "none" else "twin without memory"
            results[name] = judge(task, setup.rows, *setup.test, patch=PATCH, arm=arm).mse(gate)
        verdict = "ships" if saved > 2 * error else "stays out"
        tested = ", ".join(f"{name} {results[name]:.4f}" for name in list(results)[-len(arms) :])
        gain = f"validation saves {saved:.4f} +- {error:.4f} (gate {gate:.2f}): {verdict}"
        print(f"  seed {seed} {kind}: {gain}; test {tested}", flush=True)
    return results


def one_seed_cut(setup: Setup, options: argparse.Namespace, *, seed: int) -> dict[str, float]:
    results, last, every = {}, setup.test[0] - setup.horizon, options.cut // PATCH
    starts = range(last % options.cut, last, options.cut)
    pieces = [part(setup.rows, at, at + options.cut) for at in starts]
    pieces = [piece for piece in pieces if np.isfinite(piece.residuals).any()]
    learned, held = [p for i, p in enumerate(pieces) if i % 4 != 2], pieces[2::4]
    for kind in (options.memory, "none"):
        task, valid, step = train_cut(setup, learned, held, kind, options, seed=seed)
        gate = valid.gate()
        saved, error = valid.gain(gate, blocks=len(held))
        name = "memory" if kind != "none" else "twin"
        for arm, words in (("reset", "begun anew"), ("carried", "carried on"), ("off", "off")):
            if (kind, arm) != ("none", "off"):
                found = judge(task, setup.rows, *setup.test, patch=PATCH, arm=arm, every=every, lead=8064)
                results[f"{name}, {words}"] = found.mse(gate)
        verdict = "ships" if saved > 2 * error else "stays out"
        tested = ", ".join(f"{words} {value:.4f}" for words, value in results.items() if words.startswith(name))
        gain = f"{len(held)} held-out pieces save {saved:.4f} +- {error:.4f} of {valid.mse(0):.4f}"
        print(f"  seed {seed} {gain} (gate {gate:.2f}, step {step}): {verdict}; test {tested}", flush=True)
    return results


def part(rows: ResidualRows, first: int, last: int) -> ResidualRows:
    return ResidualRows(*(getattr(rows, field.name)[first:last] for field in fields(ResidualRows)))


def train_cut(
    setup: Setup, learned: list[ResidualRows], held: list[ResidualRows], memory: str, options: argparse.Namespace, *,
    seed: int,
) -> tuple[SeriesResidual, Judged, int]:  # fmt: skip
    """Train on pieces as on series of their own; the best step on the held-out ones stays."""

    def on_held(task: SeriesResidual) -> Judged:
        parts = [judge(task, piece, 0, len(piece), patch=PATCH) for piece in held]
        return Judged(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Judged)))

    length = options.cut // PATCH // 8 * 8
    stops = [len(piece) - setup.horizon for piece in learned]  # targets of a piece stay within it
    streams = ResidualStreams(learned, stops, patch=PATCH, length=length, batch=32, seed=seed)
    run = RunSection(seed=seed, device="cpu", threads=1, precision="float32")
    runtime = choose_runtime(run)
    encoder = Encoder(variant="mag", memory=memory, d_model=64, n_layers=2, n_heads=2, window=8, chunk_size=8)
    width = setup.rows.features.shape[1]
    task = SeriesResidual(encoder=encoder, features=width, horizon=setup.horizon, dropout=0.1)
    best: dict[str, Any] = {"mse": np.inf, "step": 0}

    def look(progress: Progress) -> bool:
        if progress.step % 25 == 0:
            found = on_held(task)
            if found.mse(found.gate()) < best["mse"]:
                best.update(mse=found.mse(found.gate()), step=progress.step, weights=copy.deepcopy(task.state_dict()))
        return False

    with tempfile.TemporaryDirectory() as folder:
        optimiser = OptimiserSection(learning_rate=2e-3, warmup=10, weight_decay=0.1)
        budget = Budget(steps=options.steps, seconds=None)
        fit(task, streams, fitting=Fitting(Path(folder), budget, optimiser, run, enough=look), runtime=runtime)
    task.load_state_dict(best["weights"])
    return task, on_held(task), best["step"]


def train(setup: Setup, memory: str, *, seed: int, steps: int) -> tuple[SeriesResidual, Judged]:
    """Train one net; give it back as it was at its best on the validation rows."""
    run = RunSection(seed=seed, device="cpu", threads=1, precision="float32")
    runtime = choose_runtime(run)
    encoder = Encoder(variant="mag", memory=memory, d_model=64, n_layers=1, n_heads=2, window=21, chunk_size=16)
    features = setup.rows.features.shape[1]
    task = SeriesResidual(encoder=encoder, features=features, horizon=setup.horizon, dropout=0.1)
    streams = ResidualStreams([setup.rows], [setup.train], patch=PATCH, length=LENGTH, batch=8, seed=seed)
    best: dict[str, object] = {"mse": np.inf}

    def look(progress: Progress) -> bool:
        if progress.step % (2 * streams.segments) and progress.step < steps:
            return False
        found = judge(task, setup.rows, *setup.valid, patch=PATCH, lead=8064)
        mse = found.mse(found.gate())
        if mse < float(best["mse"]):  # type: ignore[arg-type]
            best.update(mse=mse, weights=copy.deepcopy(task.state_dict()))
        return False

    with tempfile.TemporaryDirectory() as folder:
        optimiser = OptimiserSection(learning_rate=2e-3, warmup=10, weight_decay=0.1)
        budget = Budget(steps=steps, seconds=None)
        fit(task, streams, fitting=Fitting(Path(folder), budget, optimiser, run, enough=look), runtime=runtime)
    task.load_state_dict(best["weights"])  # type: ignore[arg-type]
    return task, judge(task, setup.rows, *setup.valid, patch=PATCH)


if __name__ == "__main__":
    main()
