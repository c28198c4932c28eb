"""Killed with SIGKILL at a random moment and resumed: the same numbers as a run that nobody disturbed."""

from __future__ import annotations

import csv
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

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


@pytest.fixture
def genome(tmp_path: Path) -> Path:
    path = tmp_path / "small.fa"
    path.write_text(">one\n" + "".join(np.random.default_rng(3).choice(list("ACGT"), 3000)) + "\n")
    return path


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "titans_seq", "-q", "train-dna", *map(str, arguments)]


def started(genome: Path, out: Path) -> list[str]:
    settings = [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}")]
    return command(genome, "--preset", "dna-tiny", "--out", out, "--steps", str(STEPS), *settings)


def numbers(run: Path) -> list[tuple[str, ...]]:
    with (run / "metrics.csv").open() as file:
        return [tuple(row)[:REPEATABLE] for row in csv.reader(file)][1:]


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.mark.slow
def test_kill_and_resume(genome: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    subprocess.run(started(genome, whole), check=True, capture_output=True, env=environment)

    killed_after = random.Random(os.getpid()).randint(3, STEPS - 10)
    process = subprocess.Popen(started(genome, parts), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    deadline = time.monotonic() + 120
    while lines(parts / "metrics.csv") <= killed_after and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (parts / "model.safetensors").exists()

    subprocess.run(command("--resume", "--out", parts), check=True, capture_output=True, env=environment)
    assert numbers(parts) == numbers(whole), f"killed after step {killed_after}"
    first, second = load_file(whole / "model.safetensors"), load_file(parts / "model.safetensors")
    assert first.keys() == second.keys()
    assert all(first[name].equal(second[name]) for name in first)


@pytest.mark.slow
def test_sigterm_saves_and_says_how_to_go_on(genome: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    run = tmp_path / "run"
    process = subprocess.Popen(
        started(genome, run), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    deadline = time.monotonic() + 120
    while lines(run / "metrics.csv") < 3 and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate()
    assert process.returncode == 130
    assert "stopped by SIGTERM after step" in err
    assert f"titans-seq train-dna --resume --out {run}" in err
    assert "Traceback" not in err
    assert (run / "checkpoint" / "checkpoint.json").exists()
