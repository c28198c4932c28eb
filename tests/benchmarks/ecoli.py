"""E. coli K-12: a preset's bits per base on the last 20 %, every arm, beside a twin without a memory and the coders.

    python -m tests.benchmarks.ecoli --minutes 30            # on a quiet machine; the twin gets equal steps on top
    python -m tests.benchmarks.ecoli --minutes 30 --no-twin --set model.memory=moneta
    python -m tests.benchmarks.ecoli --minutes 30 --no-twin --genome scerevisiae_chrIV     # or spyogenes_m1gas
    python -m tests.benchmarks.ecoli --twin-of runs/ecoli-small     # the twin of a run that is there, alone
    python -m tests.benchmarks.ecoli --steps 20 --quick      # does it run?

The twin is trained from scratch on equal steps, without the neural memory and with the table (``--bare-twin``: without
either), so what a run saves against it is the neural memory's own share (of both).

Needs ``../shared/data/genomes``. Prints Markdown for LOG.md and writes ``tests/benchmarks/results/ecoli-DATE.json``.
Runs go to ``runs/ecoli-*`` and are resumed if they are there and not finished.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from titans_seq.metrics import difference
from titans_seq.tensor_files import load_tensors
from titans_seq.training.report import read_report

REPO = Path(__file__).resolve().parents[2]
GENOMES = REPO.parent / "shared" / "data" / "genomes"
RESULTS = Path(__file__).parent / "results"
ECOLI = "ecoli_k12_mg1655"
BARS = {
    "bar: best single order (6)": (1.932, 2.03, 1.98),
    "bar: mixture, inverted repeats": (1.873, 0.045, 1.296),
    "bar: GeCo3 level 16": (1.849, 0.022, 1.091),
}
"""Of E. coli, measured before the project began: overall, rRNA, mobile elements."""
QUICK = ["evaluation.max_bases=40000", "evaluation.carry_bases=40000", "evaluation.markov_orders=[2, 12]"]


def main() -> None:
    options = arguments()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    budget = [f"budget.minutes={options.minutes}"]  # within the preset's passes
    if options.steps:
        budget = [f"budget={json.dumps({'steps': options.steps})}"]
    settings = [*budget, *(QUICK if options.quick else []), *options.set]
    name = options.name or options.preset.removeprefix("dna-")
    short = options.genome.partition("_")[0]
    run = options.twin_of or REPO / "runs" / f"{short}-{name}"
    report = read_report(run) if options.twin_of else train(run, options, settings)
    twin = None
    if options.twin_of or not options.no_twin:
        steps = f"budget={json.dumps({'steps': options.steps or report['training']['steps']})}"
        without = ["model.memory=none", "evaluation.markov_orders=[]", *["table.megabytes=0"] * options.bare_twin]
        twin_run = REPO / "runs" / f"{short}-{name}-twin"
        twin = train(twin_run, options, [*settings[len(budget) :], steps, *without])
        report["twin"] = {"training": twin["training"], "against": against(run, twin_run)}
        name += "-twin" if options.twin_of else ""
    lines = table(report, twin, bars=BARS if options.genome == ECOLI else {})
    print("\n".join(lines))
    record = {
        "machine": {"cpu": processor(), "cores": os.cpu_count(), "python": platform.python_version()},
        "preset": options.preset,
        "settings": settings,
        "report": report,
        "twin": twin,
        "table": lines,
    }
    if not options.quick:
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{short}-{name}-{datetime.now(UTC):%Y-%m-%d}.json"
        path.write_text(json.dumps(record, indent=1) + "\n")
        print(f"\nwritten to {path.relative_to(REPO)}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="dna-small")
    parser.add_argument("--genome", default=ECOLI, help="name of a FASTA in shared/data/genomes, without .fa.gz")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--name", help="of the run and of the result; by default the preset's")
    twins = parser.add_mutually_exclusive_group()
    twins.add_argument("--no-twin", action="store_true")
    twins.add_argument("--twin-of", type=Path, metavar="RUN", help="train the twin of this run and nothing else")
    parser.add_argument("--bare-twin", action="store_true", help="without the table too")
    parser.add_argument("--quick", action="store_true", help="score little, write no result")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    return parser.parse_args()


def train(run: Path, options: argparse.Namespace, settings: list[str]) -> dict[str, Any]:
    """Run the pipeline, or go on with it, or read what it found."""
    pipeline = import_module("titans_seq.pipelines.train_dna")
    job = pipeline.prepare(
        genomes=[str(GENOMES / f"{options.genome}.fa.gz")],
        annotation=next(GENOMES.glob(f"{options.genome}.g[tf]f*.gz"), None),
        preset=options.preset,
        out=run,
        overrides=settings,
        resume=(run / "config.yaml").exists(),
    )
    report: dict[str, Any] = pipeline.run(job)
    print(pipeline.report_text(report), end="\n\n")
    return report


def against(run: Path, twin: Path) -> dict[str, dict[str, float]]:
    """What each arm saves against the twin's arm of that name, or its only one, base by base, with an error."""
    mine, other = (load_tensors(folder / "bits_per_base.safetensors") for folder in (run, twin))
    only = next(iter(other.values())) if len(other) == 1 else None
    pairs = {name: (other.get(name, only), bits) for name, bits in mine.items()}
    found = {
        name: difference(alone.float().numpy(), bits.float().numpy())
        for name, (alone, bits) in pairs.items()
        if alone is not None
    }
    return {name: {"gain": mean.mean, "error": mean.error} for name, mean in found.items()}


def table(
    report: dict[str, Any], twin: dict[str, Any] | None, *, bars: dict[str, tuple[float, float, float]]
) -> list[str]:
    """Markdown: overall, rRNA, mobile elements, rest; then what the memory is worth."""
    sizes = report["evaluation"]["classes"]
    lines = ["| | all | rRNA | mobile | rest |", "|---|---|---|---|---|"]
    rows = [("", row) for row in report["evaluation"]["rows"]]
    rows += [("twin: ", row) for row in (twin["evaluation"]["rows"] if twin else [])]
    for prefix, row in rows:
        rest = [name for name in row["classes"] if name not in ("rRNA", "repeat")]
        weight = sum(sizes[name] for name in rest)
        other = sum(row["classes"][name] * sizes[name] for name in rest) / weight if weight else float("nan")
        parts = [row["classes"].get(name, float("nan")) for name in ("rRNA", "repeat")]
        lines.append(f"| {prefix}{row['label']} | {row['all']:.4f} | {parts[0]:.3f} | {parts[1]:.3f} | {other:.4f} |")
    lines += [f"| {name} | {a:.3f} | {b:.3f} | {c:.3f} | |" for name, (a, b, c) in bars.items()]
    training = report["training"]
    lines += [
        "",
        f"{training['bases']:,} bases in {training['steps']:,} steps, {training['seconds'] / 60:.1f} min, "
        f"{training['bases_per_second']:,.0f} bases/s; peak RAM {training['peak_ram_mb']:,.0f} MB.",
        *report["evaluation"]["remarks"],
    ]
    if "twin" in report:
        for name, found in report["twin"]["against"].items():
            lines.append(f"{name} against the twin: {found['gain']:+.4f} +- {found['error']:.4f} bits per base saved.")
    return lines


def processor() -> str:
    """The name of the CPU, where the system says it."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in path.read_text().splitlines() if line.startswith("model name")]
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    main()
