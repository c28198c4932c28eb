"""Check and time a write pass whose rows are shared by several programs: what dispatch needs to know (`ops.Split`).

Runs in a process of its own, a line of JSON per row: programs that wait for each other inside one launch could wait for
ever if anything is wrong with them, and that must not cost the rest of the report.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from tests.benchmarks.gpu_kernels import Case, check, seconds, steps
from tests.benchmarks.gpu_passes import watched
from titans_seq.ops import Split
from titans_seq.ops.triton.split import processors_of, split_refusal

Row = dict[str, Any]
Trial = tuple[str, Case, Split | None]


def trials(tiny: bool) -> list[Trial]:
    """Checks first, small and at an odd length; then shapes from one stream to one that fills the chip by its rows."""
    if tiny:
        case = Case(width=16, hidden=32, chunk=16, batch=1, heads=1, tokens=20, products=torch.float32)
        return [("check", case, Split(2, "steps")), ("check", case, Split(1)), ("time", case, Split(2, "steps"))]
    small = Case(batch=1, heads=2, tokens=331, products=torch.float32)
    checked = [
        ("check", replace(small, **c), Split(s, exchange))  # type: ignore[arg-type]
        for exchange in ("steps", "barrier")
        for c, s in (({}, 4), ({"hidden": 256}, 8), ({"depth": 0, "momentum": False}, 2), ({"position": 5}, 8),
                     ({"hidden": 256, "tokens": 4000, "products": torch.bfloat16}, 16))
    ]  # fmt: skip
    base = Case(hidden=256, batch=1, heads=2, tokens=65536)
    one: list[Split | None] = [None, *(Split(s, e) for s in (4, 8, 16) for e in ("barrier", "steps"))]
    timed = [("time", base, split) for split in one]
    shapes = [({"hidden": 128}, (2, 4, 8)), ({"heads": 8}, (8, 16)), ({"heads": 32}, (4,)),
              ({"batch": 16, "heads": 4, "hidden": 128, "tokens": 8192}, (2,))]  # fmt: skip
    for changes, slices in shapes:
        case = replace(base, **changes)  # type: ignore[arg-type]
        timed += [("time", case, None), *(("time", case, Split(s)) for s in slices)]
    return [*checked, *timed]  # type: ignore[list-item]


def kinds() -> list[tuple[Case, Split]]:
    """What there is to compile: shapes of rows and lengths do not count."""
    small = ((replace(case, batch=1, heads=1, tokens=2 * case.chunk), split) for _, case, split in trials(False))
    return list(dict.fromkeys((case, split) for case, split in small if split is not None))


def warm(case: Case, split: Split, device: str) -> None:
    """Compile what a trial launches, launching nothing: nobody waits here for programs that never come."""
    from triton.runtime import JITFunction  # the interpreter is chosen before triton is imported

    plain = JITFunction.run
    JITFunction.run = lambda self, *args, warmup, **named: plain(self, *args, warmup=True, **named)
    try:
        check(case, device, split)
    finally:
        JITFunction.run = plain


def describe(trial: Trial) -> Row:
    what, case, split = trial
    slices, exchange = (1, "-") if split is None else (split.slices, split.exchange)
    programs = case.batch * case.heads * slices
    return {"what": what, **case.named(), "slices": slices, "exchange": exchange, "programs": programs}


def run(trial: Trial, device: str) -> Row:
    """Worst error against float64; or milliseconds forward and with gradients, of the writes alone, and replayed."""
    what, case, split = trial
    row, rows = describe(trial), case.batch * case.heads
    if split is not None:
        reason = split_refusal(case.rule(), split, rows=rows, processors=processors_of(torch.device(device)))
        if reason is not None:
            return {**row, "skipped": reason}
    if what == "check":
        return {**row, **check(case, device, split)}
    forward, both = steps(case, "triton", device, split)
    row |= {"forward_ms": seconds(forward, device, 3) * 1e3, "both_ms": seconds(both, device, 3) * 1e3}
    with watched(device) as spent:
        both()
        row |= {f"{name}_ms": took for name, took in spent().items() if name.startswith("write_")}
    if device == "cuda":
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            forward()
        row["forward_graph_ms"] = seconds(graph.replay, device, 3) * 1e3
        row["us_per_chunk"] = row["forward_graph_ms"] * 1e3 / -(-case.tokens // case.chunk)
    return row


def main(device: str, tiny: bool) -> None:
    """Print a row per line; after a check that failed, its exchange is not timed."""
    wrong: set[str] = set()
    for trial in trials(tiny):
        if trial[2] is not None and trial[2].exchange in wrong:
            row = {**describe(trial), "skipped": "a check of this exchange failed"}
        else:
            try:
                row = run(trial, device)
            except Exception as error:  # one broken case must not cost the others
                row = {**describe(trial), "failed": f"{type(error).__name__}: {error}"[:500]}
        if trial[2] is not None and trial[0] == "check" and ("failed" in row or row.get("right") is False):
            wrong.add(trial[2].exchange)
        print(json.dumps(row, default=str), flush=True)


def rows_aside(script: str, tiny: bool, limit: float) -> Iterator[Row]:
    """The rows of `main`, run by ``script --split`` in a process that is ended after ``limit`` seconds."""
    command = [sys.executable, script, "--split", *(["--dry-run"] if tiny else [])]
    with tempfile.TemporaryFile("w+") as said:
        try:
            code: object = subprocess.run(command, stdout=said, timeout=limit).returncode
        except subprocess.TimeoutExpired:
            code = f"not done after {limit:.0f} s"
        said.seek(0)
        found = [json.loads(line) for line in said if line.startswith("{")]
    yield from found
    left = trials(tiny)[len(found) :]
    if left:
        yield {**describe(left[0]), "failed": f"the process ended here ({code}), {len(left)} rows short"}


def barrier_holds(rows: list[Row]) -> bool:
    """Whether every check of the barrier came out right."""
    checks = [r for r in rows if r["what"] == "check" and r["exchange"] == "barrier"]
    return bool(checks) and all(r.get("right") is True for r in checks)
