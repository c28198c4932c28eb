"""The smallest run of `train-dna`: what it is told, and what it wrote."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

from titans_seq.training.metrics_log import REPEATABLE

STEPS = 60
SETTINGS = {
    "model.d_model": "16",
    "model.n_layers": "1",
    "model.n_heads": "1",
    "model.chunk_size": "16",
    "streams.rows": "2",
    "streams.length": "64",
    "evaluation.lead_in": "32",
    "evaluation.max_bases": "100",
    "evaluation.markov_orders": "[2]",
    "evaluation.stretch": "128",
    "run.log_steps": "1",
    "run.checkpoint_steps": "7",
    "run.device": "cpu",
    "run.threads": "1",
}


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "titans_seq", "-q", "train-dna", *map(str, arguments)]


def started(genome: Path, out: Path, *, steps: int = STEPS, **more: str) -> list[str]:
    given = SETTINGS | {key.replace("__", "."): value for key, value in more.items()}
    settings = [word for key, value in given.items() for word in ("--set", f"{key}={value}")]
    return command(genome, "--preset", "dna-tiny", "--out", out, "--steps", str(steps), *settings)


def numbers(run: Path) -> list[tuple[str, ...]]:
    with (run / "metrics.csv").open() as file:
        return [tuple(row)[:REPEATABLE] for row in csv.reader(file)][1:]


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0
