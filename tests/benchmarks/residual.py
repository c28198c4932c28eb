"""Is a memory carried over the whole history worth anything on what the ridge leaves over? Three seeds, a twin, a gate.

    python -m tests.benchmarks.residual --set AEP --horizon 336

Per seed two nets of equal layers, tokens and steps are trained on the training rows: one with a memory, its twin with
none (sliding-window attention in both). The step with the best validation error is kept, the gate is fitted on the
validation rows. Printed for the test rows, every window at stride 1: the ridge alone, the memory carried from the first
row, afresh every 64 tokens, off, and the twin.
"""

from __future__ import annotations

import argparse
import copy
import json
import tempfile
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path

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
    parser.add_argument("--memory", default="gated_deltanet")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    torch.set_num_threads(1)
    setup = prepare(options.set, options.horizon, structured=options.parts)
    found: dict[str, list[float]] = {}
    started = time.process_time()
    for seed in options.seeds:
        for name, value in one_seed(setup, options.memory, seed=seed, steps=options.steps).items():
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
    name = f"residual-{options.set}-{options.horizon}-{kind}-{options.memory}-seeds{seeds}-{date.today()}.json"
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
    (rows,) = residual_rows(model, panel, tracks, patch=PATCH)
    setup = Setup(
        rows, train=borders[0] - horizon, horizon=horizon, valid=(borders[0] - 1, borders[1] - horizon),
        test=(borders[1] - 1, borders[2] - horizon),
    )  # fmt: skip
    print(f"{name}: {recipe.lookback} rows, {recipe.parts}; {rows.features.shape[1]} numbers in a token; "
          f"{setup.test[1] - setup.test[0]} test windows; ridge {judge_base(setup):.4f}", flush=True)  # fmt: skip
    return setup


def judge_base(setup: Setup) -> float:
    """Test error of the ridge alone."""
    part = setup.rows.residuals[slice(*setup.test)].astype(np.float64)
    return float(np.nanmean(part**2))


def one_seed(setup: Setup, memory: str, *, seed: int, steps: int) -> dict[str, float]:
    results = {}
    for kind in (memory, "none"):
        task, valid = train(setup, kind, seed=seed, steps=steps)
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
