"""Where the kernels' time goes, and with which tiles they take least: what `limits.tiles` is to be filled from."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from tests.benchmarks.gpu_kernels import Case, steps
from titans_seq.ops import MemoryRule
from titans_seq.ops.triton.limits import Tiles, capability_of


@contextmanager
def watched(device: str) -> Iterator[Callable[[], dict[str, float]]]:
    """Milliseconds of every kernel launched inside, by name; on a GPU between events around each launch."""
    from titans_seq.ops.triton.launch import Plan  # not at the top: the interpreter is chosen before triton is imported

    marks: list[tuple[str, Any, Any]] = []
    plain, shared = Plan.launch, Plan.launch_split

    def mark() -> Any:
        if device != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def launch(self: Plan, kernel: Any, programs: int, **tensors: Tensor | None) -> None:
        begin = mark()
        plain(self, kernel, programs, **tensors)
        marks.append((kernel.__name__, begin, mark()))

    def launch_split(self: Plan, kernel: Any, spans: Any, **tensors: Tensor | None) -> None:
        begin = mark()
        shared(self, kernel, spans, **tensors)
        marks.append((kernel.__name__, begin, mark()))

    def spent() -> dict[str, float]:
        if device == "cuda":
            torch.cuda.synchronize()
        total: dict[str, float] = {}
        for name, begin, end in marks:
            took = begin.elapsed_time(end) if device == "cuda" else (end - begin) * 1e3
            total[name] = total.get(name, 0.0) + took
        return total

    Plan.launch, Plan.launch_split = launch, launch_split  # type: ignore[method-assign]
    try:
        yield spent
    finally:
        Plan.launch, Plan.launch_split = plain, shared  # type: ignore[method-assign]


def passes(case: Case, device: str) -> dict[str, object]:
    """Where the time of a forward and backward pass goes: what is in sequence per row (writes), what is parallel."""
    _, both = steps(case, "triton", device)
    both()
    with watched(device) as spent:
        both()
        found = spent()
    total = sum(found.values())
    sequence = sum(took for name, took in found.items() if name.startswith("write_"))
    return {**case.named(), "programs in sequence": case.batch * case.heads, "kernels_ms": total,
            "share in sequence": sequence / total, **{f"{name}_ms": took for name, took in found.items()}}  # fmt: skip


def alternatives(tiny: bool) -> list[tuple[str, Tiles]]:
    """Tiles to try in place of `limits.tiles`, one kernel at a time."""
    names = ["write_forward", "read_forward", "read_backward_last", "read_backward_first", "write_backward"]
    every = [Tiles(block, warps, 1) for block, warps in ((16, 8), (32, 8), (64, 8), (32, 4), (32, 16))]
    return [(name, t) for name in names[: 1 if tiny else None] for t in every[: 2 if tiny else None]]


def time_tiles(case: Case, kernel: str, tile: Tiles, device: str) -> dict[str, object]:
    """One kernel's milliseconds with ``tile``, the others as they are: a row to fill `limits.tiles` from."""
    from titans_seq.ops.triton import launch as module

    usual = module.tiles

    def chosen(name: str, rule: MemoryRule, *more: Any, **named: Any) -> Tiles:
        found = usual(name, rule, *more, **named)
        return replace(tile, numbers=found.numbers) if name == kernel else found

    module.tiles = chosen  # type: ignore[assignment]
    try:
        row = passes(case, device)
        here = usual(kernel, case.rule(), case.chunk, case.products, capability_of(torch.device(device)), aligned=True)
    finally:
        module.tiles = usual
    return {"kernel": kernel, "block": tile.block, "warps": tile.warps, "ms": row[f"{kernel}_ms"],
            "in the table": (tile.block, tile.warps) == (here.block, here.warps)}  # fmt: skip
