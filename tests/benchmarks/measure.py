"""One measurement in one process of its own: time per pass, and memory above what importing costs.

    python -m tests.benchmarks.measure '{"who": "ours", "width": 128, "heads": 2, "tokens": 1024, "mode": "train"}'

prints one line of JSON. `measure(case)` starts such a process and reads the line. A process per measurement, because
the peak of resident memory of a process never falls.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
MIB = 2**20


@dataclass(frozen=True)
class Case:
    """What to run. `mode`: `infer` (forward, no graph), `train` (forward and backward), `stream` (infer in pieces)."""

    who: str
    width: int
    heads: int
    tokens: int
    mode: str
    budget: float = 20.0
    most: int = 9
    threads: int = os.cpu_count() or 1
    piece: int = 4096
    dtype: str = "float32"
    keep: bool = False


@dataclass(frozen=True)
class Result:
    """Medians over `runs` timed passes after one that warms up; `mib` is the peak above the imports."""

    seconds: float
    cpu_seconds: float
    runs: int
    mib: float
    finite: bool


class PassError(RuntimeError):
    """The measured process did not end well; the message is the last thing it said."""


def measure(case: Case, timeout: float = 1800.0) -> Result:
    """Run `case` in a fresh process."""
    environment = os.environ | {"OMP_NUM_THREADS": str(case.threads), "MKL_NUM_THREADS": str(case.threads)}
    command = [sys.executable, "-m", "tests.benchmarks.measure", json.dumps(asdict(case))]
    try:
        done = subprocess.run(command, cwd=REPO, env=environment, capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired as error:
        raise PassError(f"cut off after {timeout:.0f} s") from error
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode} (killed for memory?)"]
        raise PassError(lines[-1])
    return Result(**json.loads(done.stdout.splitlines()[-1]))


def peak_mib() -> float:
    """The most memory this process has held. On Linux VmHWM: `ru_maxrss` would still remember the parent's."""
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024 / MIB
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MIB


def timed(run: Callable[[], bool], budget: float, most: int) -> tuple[list[float], list[float], bool]:
    """Wall and processor seconds of up to `most` runs, stopping once `budget` seconds are spent; at least one."""
    start = time.perf_counter()
    finite = run()
    if time.perf_counter() - start > budget:  # too slow to repeat: the first pass is the measurement
        budget, most = 0.0, 1
    wall: list[float] = []
    cpu: list[float] = []
    while not wall or (len(wall) < most and sum(wall) < budget):
        before, before_cpu = time.perf_counter(), time.process_time()
        finite &= run()
        wall.append(time.perf_counter() - before)
        cpu.append(time.process_time() - before_cpu)
    return wall, cpu, finite


def main() -> None:
    """Run the case given as JSON and print its result as JSON."""
    import torch

    from tests.benchmarks.passes import build
    from titans_seq.ops.native.room import keep_freed_memory

    case = Case(**json.loads(sys.argv[1]))
    if case.keep:  # as our commands do; a peer would gain from it too
        keep_freed_memory()
    torch.set_num_threads(case.threads)
    torch.manual_seed(0)
    run_with = build(case)
    floor = peak_mib()
    wall, cpu, finite = timed(run_with(), case.budget, case.most)
    result = Result(
        seconds=statistics.median(wall),
        cpu_seconds=statistics.median(cpu),
        runs=len(wall),
        mib=peak_mib() - floor,
        finite=finite,
    )
    print(json.dumps(asdict(result)))


if __name__ == "__main__":
    main()
