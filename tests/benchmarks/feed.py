"""How fast the training data comes beside how fast it is learned from, and RAM over a run, for `train-dna` presets.

    python -m tests.benchmarks.feed                                     # dna-tiny and dna-small on E. coli
    python -m tests.benchmarks.feed --presets dna-tiny --steps 400 --segments 4000

For each preset: bases a second of the streams alone (tokens, masks, targets, both strands, from the mapped store),
bases a second of training on the same streams, their ratio, and resident memory (RSS) at steps on the way. The goals:
a ratio of at least 10, and RSS that stays where it was once the first steps are done. Both speeds are given by the
clock and by processor time, which other jobs on the machine disturb less.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from titans_seq.pipelines.train_dna import build_streams, prepare

from titans_seq.tasks.build import build_next_base
from titans_seq.training.budget import plan_budget
from titans_seq.training.loop import Fitting, fit
from titans_seq.training.run_folder import begin_run
from titans_seq.training.runtime import choose_runtime

ECOLI = Path("../shared/data/genomes/ecoli_k12_mg1655.fa.gz")
MARKS = (0.05, 0.25, 0.5, 0.75, 1.0)


def rss_mb() -> float:
    """Resident memory of this process now, in MB."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024 / 1e6


def measure(preset: str, options: argparse.Namespace, folder: Path) -> None:
    """Print one block for a preset."""
    overrides = [f'budget={{"steps": {options.steps}}}', "run.log_steps=1", *options.set]
    job = prepare(genomes=[str(options.genome)], preset=preset, out=folder / preset, overrides=overrides)
    runtime = choose_runtime(job.config.run)
    task = build_next_base(job.config)
    streams = build_streams(job, border=task.encoder.border)
    task.expect(streams.longest)
    start, cpu, bases = time.perf_counter(), time.process_time(), 0
    for _ in range(options.segments):
        bases += int(next(streams).target_mask.sum())
    fed = bases / (time.perf_counter() - start), bases / (time.process_time() - cpu)

    rss: list[float] = []
    streams = build_streams(job, border=task.encoder.border)
    begin_run(job.out, job.config, job.inputs)
    budget = plan_budget(job.config.budget, segments_per_epoch=streams.segments_per_epoch, accumulate=1)
    fitting = Fitting(
        folder=job.out,
        budget=budget,
        optimiser=job.config.optimiser,
        run=job.config.run,
        watch=lambda stage, done, total, note: rss.append(rss_mb()),
    )
    cpu = time.process_time()
    progress = fit(task, streams, fitting=fitting, runtime=runtime)
    cpu = time.process_time() - cpu
    learned = progress.targets / progress.seconds, progress.targets / cpu
    for name, feed, training, step in zip(
        ("clock", "processor"), fed, learned, (progress.seconds / progress.step, cpu / progress.step), strict=True
    ):
        print(
            f"{preset} by {name}: feed {feed:,.0f} bases/s, training {training:,.0f} bases/s "
            f"({step:.2f} s a step), ratio {feed / training:,.0f}"
        )
    at = [max(1, round(mark * len(rss))) for mark in MARKS]
    print(f"{preset}: RSS " + ", ".join(f"step {step} {rss[step - 1]:,.0f} MB" for step in at))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--genome", type=Path, default=ECOLI)
    parser.add_argument("--presets", nargs="+", default=["dna-tiny", "dna-small"])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--segments", type=int, default=1000)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as for train-dna")
    options = parser.parse_args()
    for preset in options.presets:
        with tempfile.TemporaryDirectory() as name:
            measure(preset, options, Path(name))


if __name__ == "__main__":
    main()
