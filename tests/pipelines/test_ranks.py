"""Two processes under torchrun learn what one learns; a lost one ends the job, and any number of them goes on.

Without `table.drop`, whose random numbers are drawn row by row and so differ with the number of processes.
"""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.pipelines.small_run import command, lines, numbers, started


def many(words: list[str], *, world: int) -> list[str]:
    """The same command in ``world`` processes."""
    assert words[0] == sys.executable
    return [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={world}", *words[1:]]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(genome: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    """Also with the model shared out; its checkpoint, half-way, is gone on with by one process that holds it whole."""
    # Contigs so short that rows begin anew, in different steps, and the memories' first weights are learned in some.
    letters = genome.read_text().split("\n")[1]
    genome.write_text("".join(f">c{at}\n{letters[at : at + 350]}\n" for at in range(0, 3000, 350)))

    def trained(name: str, *, world: int, **more: str) -> Path:
        words = started(genome, tmp_path / name, steps=24, table__drop="0", **more)
        run_it(many(words, world=world) if world > 1 else words, environment)
        return tmp_path / name

    alone = losses(trained("one", world=1))
    together, shared = trained("two", world=2), trained("shared", world=2, run__sharding="full")
    for run in (together, shared):
        assert losses(run) == pytest.approx(alone, abs=1e-5)
        assert norms(run) == pytest.approx(norms(tmp_path / "one"), rel=1e-4)  # AdamW would hide a wrong scale
        assert (run / "report.json").exists()
    weights = [load_file(run / "model.safetensors") for run in (together, shared)]
    assert weights[0].keys() == weights[1].keys()
    for name, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][name], atol=1e-5, rtol=1e-4)

    half = tmp_path / "half"
    words = many(started(genome, half, steps=24, table__drop="0", run__sharding="full"), world=2)
    job = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    wait_for(lambda: lines(half / "metrics.csv") > 9)
    os.kill(job.pid, signal.SIGTERM)
    job.wait(timeout=120)
    kept = [next((tmp_path / name / "checkpoint").glob("*.safetensors")) for name in ("half", "one")]
    assert load_file(kept[0]).keys() == load_file(kept[1]).keys()
    run_it(command("--resume", "--out", half, "--set", "run.sharding=none"), environment)
    assert losses(half) == pytest.approx(alone, abs=1e-5)


@pytest.mark.slow
def test_a_classifier_in_two_processes(tmp_path: Path, environment: dict[str, str]) -> None:
    """Its statistics over the batch are those of all rows. Without drop-out, whose numbers are drawn row by row."""
    random = np.random.default_rng(5)
    rows = ["".join(random.choice(list("ACGT"), random.integers(20, 31))) for _ in range(150)]
    sheet = tmp_path / "sheet.csv"
    sheet.write_text("sequence,label\n" + "".join(f"{row},{'ab'[row.count('G') > 6]}\n" for row in rows))
    settings = {
        "model.d_model": "16", "model.chunk_size": "4", "classifier.stride": "2", "classifier.dropout": "0",
        "classifier.mask_bases": "0", "classifier.members": "1", "batches.size": "16", "budget.epochs": "3",
        "evaluation.window": "4", "evaluation.cnn_epochs": "1", "run.device": "cpu", "run.log_steps": "1",
        "evaluation.baselines": "[majority]",
    }  # fmt: skip
    words = [sys.executable, "-m", "titans_seq", "-q", "train-classifier", str(sheet), "--preset", "classifier-tiny"]
    words += [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    one, two = tmp_path / "one", tmp_path / "two"
    run_it([*words, "--out", str(one)], environment)
    run_it(many([*words, "--out", str(two)], world=2), environment)
    found = [losses(run / "member-0") for run in (one, two)]
    assert len(found[0]) > 10
    assert found[1] == pytest.approx(found[0], abs=1e-5)
    assert {path.name for path in one.iterdir()} == {path.name for path in two.iterdir()}


@pytest.mark.slow
def test_a_lost_process_ends_the_job_and_one_goes_on(genome: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    whole, run = tmp_path / "whole", tmp_path / "run"
    run_it(started(genome, whole, table__drop="0"), environment)
    words = many(started(genome, run, table__drop="0"), world=2)
    job = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    wait_for(lambda: lines(run / "metrics.csv") >= 12)
    os.kill(second_rank(job.pid), signal.SIGKILL)
    _, err = job.communicate(timeout=120)
    assert job.returncode != 0
    said = [line for line in err.splitlines() if line.startswith("titans-seq:")]
    assert any("--resume" in line for line in said), err
    assert (run / "checkpoint" / "checkpoint.json").exists()

    run_it(command("--resume", "--out", run), environment)
    assert losses(run) == pytest.approx(losses(whole), abs=1e-5)


def run_it(words: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(words, check=False, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr


def losses(run: Path) -> list[float]:
    """The score of every step; that there is a row for each, in order, is checked too."""
    rows = numbers(run)
    assert [int(row[0]) for row in rows] == list(range(1, len(rows) + 1))
    return [float(row[3]) for row in rows]


def norms(run: Path) -> list[float]:
    with (run / "metrics.csv").open() as file:
        return [float(row["gradient_norm"]) for row in csv.DictReader(file)]


def wait_for(found: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 180
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def second_rank(parent: int) -> int:
    """Process id of rank 1 among the children of torchrun."""
    for folder in Path("/proc").iterdir():
        with suppress(OSError):  # others come and go meanwhile
            if folder.name.isdigit() and f"\nPPid:\t{parent}\n" in (folder / "status").read_text():
                words = (folder / "environ").read_bytes().split(b"\0")
                if b"RANK=1" in words:
                    return int(folder.name)
    raise AssertionError("torchrun has no second process")
