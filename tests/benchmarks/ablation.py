"""Depth, width and kind of the memory on one budget: bits per base on E. coli after equally many training bases.

    python -m tests.benchmarks.ablation                    # about an hour on one quiet core
    python -m tests.benchmarks.ablation --steps 40 --only "depth 1" deltanet

Every row is `dna-small` with the table and the look-up of long k-mers off, so that the memory has something to do,
from the same seed, over the same bases. Scored: the first `--held` bases of the last 20 %, carried over `--carry`
bases before them. Needs ``../shared/data/genomes``; rows that are in the result file of today are not run again.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from titans_seq.memory import memory_names

REPO = Path(__file__).resolve().parents[2]
GENOME = REPO.parent / "shared" / "data" / "genomes" / "ecoli_k12_mg1655.fa.gz"
RESULTS = Path(__file__).parent / "results"


def rows() -> dict[str, dict[str, Any]]:
    """What is compared, by name."""
    depths = {f"depth {depth}": {"name": "titans_lmm", "depth": depth} for depth in (1, 2, 3)}
    widths = {f"expansion {times}": {"name": "titans_lmm", "expansion": times} for times in (1, 2, 8)}
    named = {name: {"name": name} for name in memory_names() if name != "titans_lmm"}
    return {**depths, **widths, **named}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--held", type=int, default=60_000)
    parser.add_argument("--carry", type=int, default=100_000)
    parser.add_argument("--only", nargs="*", help="names of rows")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    path = RESULTS / f"ablation-{datetime.now(UTC):%Y-%m-%d}.json"
    budget = {"steps": options.steps, "held": options.held, "carry": options.carry, "set": options.set}
    before = json.loads(path.read_text()) if path.exists() else {}
    found: dict[str, Any] = before["rows"] if before.get("budget") == budget else {}
    for name, memory in rows().items():
        if name in found or (options.only and name not in options.only):
            continue
        found[name] = measure(name, memory, options)
        path.write_text(json.dumps({"budget": budget, "rows": found}, indent=1) + "\n")
    print("\n".join(table(found)))


def measure(name: str, memory: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """Train and score one row in a fresh run folder."""
    pipeline = import_module("titans_seq.pipelines.train_dna")
    out = REPO / "runs" / f"ablation-{name.replace(' ', '-')}-{datetime.now(UTC):%H%M%S}"
    settings = {
        "model.memory": memory, "input.kmers": [3], "evaluation.markov_orders": [],
        "evaluation.max_bases": options.held, "evaluation.carry_bases": options.carry,
        "budget": {"steps": options.steps},
    }  # fmt: skip
    overrides = [f"{key}={json.dumps(value)}" for key, value in settings.items()]
    began = time.process_time()
    job = pipeline.prepare(genomes=[str(GENOME)], preset="dna-small", out=out, overrides=[*overrides, *options.set])
    report = pipeline.run(job)
    bits = {row["name"]: row["all"] for row in report["evaluation"]["rows"]}
    row = {
        "parameters": report["model"]["parameters"],
        "bits": bits,
        "against": report["evaluation"]["memory"],
        "cpu_seconds": round(time.process_time() - began, 1),
    }
    print(name, json.dumps(row), flush=True)
    return row


def table(found: dict[str, Any]) -> list[str]:
    """Markdown, best first."""
    lines = ["| memory | carried | reset | off | parameters | CPU s |", "|---|---|---|---|---|---|"]
    for name, row in sorted(found.items(), key=lambda item: min(item[1]["bits"].values())):
        bits = row["bits"]
        cells = [f"{bits[arm]:.4f}" if arm in bits else "" for arm in ("carried", "reset", "off")]
        if "no memory" in bits:
            cells[0] = f"{bits['no memory']:.4f}"
        lines.append(f"| {name} | {' | '.join(cells)} | {row['parameters']:,} | {row['cpu_seconds']:.0f} |")
    return lines


if __name__ == "__main__":
    main()
