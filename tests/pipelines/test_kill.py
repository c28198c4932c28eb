"""Killed with SIGKILL at a random moment and resumed: the same numbers as a run that nobody disturbed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.pipelines.small_run import STEPS, command, lines, numbers, started


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
