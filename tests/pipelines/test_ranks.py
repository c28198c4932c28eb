"""Two processes under torchrun learn what one learns; a lost one ends the job, and any number of them goes on.

Without `table.drop`, whose random numbers are drawn row by row and so differ with the number of processes.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

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
    one, two = tmp_path / "one", tmp_path / "two"
    subprocess.run(started(genome, one, steps=20, table__drop="0"), check=True, capture_output=True, env=environment)
    subprocess.run(
        many(started(genome, two, steps=20, table__drop="0"), world=2), check=True, capture_output=True, env=environment
    )
    alone, together = numbers(one), numbers(two)
    assert [row[:3] for row in alone] == [row[:3] for row in together]
    losses = [[float(row[3]) for row in rows] for rows in (alone, together)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    assert (two / "report.json").exists()


@pytest.mark.slow
def test_a_lost_process_ends_the_job_and_one_goes_on(genome: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    whole, run = tmp_path / "whole", tmp_path / "run"
    subprocess.run(started(genome, whole, table__drop="0"), check=True, capture_output=True, env=environment)
    words = many(started(genome, run, table__drop="0"), world=2)
    job = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    deadline = time.monotonic() + 180
    while lines(run / "metrics.csv") < 12 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(second_rank(job.pid), signal.SIGKILL)
    _, err = job.communicate(timeout=120)
    assert job.returncode != 0
    said = [line for line in err.splitlines() if line.startswith("titans-seq:")]
    assert any("--resume" in line for line in said), err
    assert (run / "checkpoint" / "checkpoint.json").exists()

    subprocess.run(command("--resume", "--out", run), check=True, capture_output=True, env=environment)
    losses = [[float(row[3]) for row in numbers(folder)] for folder in (whole, run)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def second_rank(parent: int) -> int:
    """Process id of rank 1 among the children of torchrun."""
    for folder in Path("/proc").iterdir():
        with suppress(OSError):  # others come and go meanwhile
            if folder.name.isdigit() and f"\nPPid:\t{parent}\n" in (folder / "status").read_text():
                words = (folder / "environ").read_bytes().split(b"\0")
                if b"RANK=1" in words:
                    return int(folder.name)
    raise AssertionError("torchrun has no second process")
