"""Which implementation runs: `backend` = auto, recurrent or chunkwise."""

from __future__ import annotations

import torch
from torch import Tensor

from titans_seq.errors import unknown_name
from titans_seq.ops.chunkwise import chunkwise_with_surprise
from titans_seq.ops.recurrent import recurrent
from titans_seq.ops.rule import Gates, MemoryRule, MemoryState

BACKENDS = ("auto", "recurrent", "chunkwise")


def check_backend(backend: str) -> None:
    """Raise unless ``backend`` is one of `BACKENDS`."""
    if backend not in BACKENDS:
        raise unknown_name("memory backend", backend, BACKENDS)


def run_memory(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    gates: Gates,
    state: MemoryState,
    *,
    rule: MemoryRule,
    chunk_size: int,
    backend: str = "auto",
) -> tuple[Tensor, Tensor | None, MemoryState]:
    """Reads (B, H, T, D_v), length of the surprise (B, H, T) where the backend gives it, and the state after.

    ``auto`` takes the chunk form, which is right on every device. `torch.compile` leaves this call alone: the chunk
    form is already a few large products, and tracing its loop would unroll it.
    """
    check_backend(backend)
    # `disable` pulls in the whole compiler (3 s, 150 MB), so it is asked for only where one is at work.
    run = torch.compiler.disable(_run) if torch.compiler.is_compiling() else _run
    return run(q, k, v, gates, state, rule, chunk_size, backend)


def _run(
    q: Tensor, k: Tensor, v: Tensor, gates: Gates, state: MemoryState, rule: MemoryRule, chunk_size: int, backend: str
) -> tuple[Tensor, Tensor | None, MemoryState]:
    if backend == "recurrent":
        y, after = recurrent(q, k, v, gates, state, rule=rule, chunk_size=chunk_size)
        return y, None, after
    return chunkwise_with_surprise(q, k, v, gates, state, rule=rule, chunk_size=chunk_size)
