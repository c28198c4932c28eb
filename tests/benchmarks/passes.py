"""The passes that are timed: the same recurrence, once in titans-pytorch and once here.

titans-pytorch with `chunk_size=1, batch_size=64` updates its memory at every token, with gradients taken at the weights
of the last 64-border: our recurrence with `chunk_size=64`. Both have a two-layer memory 64 -> 256 -> 64 per head with
momentum, learned gates per token and head, and batch 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from tests.benchmarks.measure import Case

CHUNK = 64
Run = Callable[[], bool]
Step = Callable[[Tensor, Any], tuple[Tensor, Any]]


def build(case: Case) -> Callable[[], Run]:
    """Import what `case` needs now; make the module, its input and the pass when the returned function is called."""
    if case.who == "bmm":
        return lambda: _products(case)
    make = {"ours": _ours, "peer": _peer}[case.who]()

    def ready() -> Run:
        module, step = make(case)
        return {"infer": _infer, "train": _train, "stream": _stream}[case.mode](case, module, step)

    return ready


def _ours() -> Callable[[Case], tuple[nn.Module, Step]]:
    from titans_seq.memory import NeuralMemory

    def make(case: Case) -> tuple[nn.Module, Step]:
        module = NeuralMemory(d_model=case.width, n_heads=case.heads, memory="titans_lmm", chunk_size=CHUNK)
        return module, module

    return make


def _peer() -> Callable[[Case], tuple[nn.Module, Step]]:
    from titans_pytorch import MemoryMLP, NeuralMemory

    def make(case: Case) -> tuple[nn.Module, Step]:
        wide = case.width // case.heads
        model = MemoryMLP(wide, depth=2, expansion_factor=4.0)
        module = NeuralMemory(
            dim=case.width,
            dim_head=wide,
            heads=case.heads,
            chunk_size=1,
            batch_size=CHUNK,
            model=model,
            momentum=True,
        )
        return module, lambda x, state: module(x, state=state)

    return make


def _autocast(case: Case) -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16, enabled=case.dtype == "bfloat16")


def _infer(case: Case, module: nn.Module, step: Step) -> Run:
    x = torch.randn(1, case.tokens, case.width)

    def run() -> bool:
        with torch.no_grad(), _autocast(case):
            y, _ = step(x, None)
        return bool(y.isfinite().all())

    return run


def _train(case: Case, module: nn.Module, step: Step) -> Run:
    x = torch.randn(1, case.tokens, case.width, requires_grad=True)

    def run() -> bool:
        module.zero_grad(set_to_none=True)
        x.grad = None
        with _autocast(case):
            y, _ = step(x, None)
            loss = y.float().square().mean()
        loss.backward()
        return x.grad is not None and bool(x.grad.isfinite().all())

    return run


def _stream(case: Case, module: nn.Module, step: Step) -> Run:
    def run() -> bool:
        state, finite = None, True
        with torch.no_grad(), _autocast(case):
            for start in range(0, case.tokens, case.piece):
                y, state = step(torch.randn(1, min(case.piece, case.tokens - start), case.width), state)
                finite &= bool(y.isfinite().all())
        return finite

    return run


def _products(case: Case) -> Run:
    """The machine's rate at our shapes: per head, a chunk of keys through the first layer of the memory."""
    wide, dtype = case.width // case.heads, getattr(torch, case.dtype)
    a = torch.randn(case.heads, CHUNK, wide).to(dtype)
    b = torch.randn(case.heads, wide, 4 * wide).to(dtype)
    out = torch.empty(case.heads, CHUNK, 4 * wide, dtype=dtype)

    def run() -> bool:
        for _ in range(case.tokens // CHUNK):
            torch.bmm(a, b, out=out)
        return bool(out.isfinite().all())

    return run
