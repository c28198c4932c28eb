"""Which implementation runs: `backend` = auto, recurrent, chunkwise, native or triton.

=========  ==============================================  ==========================================================
auto       on a CPU, a linear gate, any bias but lp,       a chunk's work stays in the cache of one core: two to four
           compiled kernels built: native                  times as fast as chunkwise (LOG.md)
           on a CPU, any other: chunkwise                  right on every device
           on CUDA, a memory that `limits` knows to        one launch per pass instead of a dozen per chunk, and no
           fit: triton                                     activation of the hidden layer is kept
           on CUDA, any other: chunkwise, one log line     right on every device
recurrent  the definition, one token at a time             for tests
native     the C kernels, or an error that says why not
triton     the kernels, or an error that says why not      also on a CPU under TRITON_INTERPRET=1, for tests
=========  ==============================================  ==========================================================

The rows for CUDA rest on no speed measured by us yet: `tests/benchmarks/gpu.py` times each against the others.
"""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor

from titans_seq.errors import ConfigError, unknown_name
from titans_seq.ops.checks import check_inputs
from titans_seq.ops.chunkwise import chunkwise_with_surprise
from titans_seq.ops.native import memory as native
from titans_seq.ops.recurrent import recurrent
from titans_seq.ops.rule import Gates, MemoryRule, MemoryState
from titans_seq.ops.triton.limits import capability_of, refusal, unproven
from titans_seq.ops.triton.split import Split

log = logging.getLogger(__name__)
BACKENDS = ("auto", "recurrent", "chunkwise", "native", "triton")


def check_backend(backend: str) -> None:
    """Raise unless ``backend`` is one of `BACKENDS`."""
    if backend not in BACKENDS:
        raise unknown_name("memory backend", backend, BACKENDS)


def why_not_triton(
    rule: MemoryRule, chunk_size: int, device: torch.device, products: torch.dtype, state: torch.dtype
) -> str | None:
    """Why the kernels cannot run here, or None where they can."""
    if device.type != "cuda" and not _interpreted():
        return f"the tensors are on {device.type}, and Triton needs a CUDA device"
    if not _installed():
        return "triton is not installed"
    if _interpreted() and products == torch.bfloat16:
        return "Triton's interpreter computes wrong numbers in bfloat16"
    return refusal(rule, chunk_size, capability=capability_of(device), products=products, state=state)


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
    products: torch.dtype | None = None,
    split: Split | None = None,
) -> tuple[Tensor, Tensor | None, MemoryState]:
    """Reads (B, H, T, D_v), length of the surprise (B, H, T) where the backend gives it, and the state after.

    ``products`` is the type in which the model computes, for the operands of the kernels' matrix products (q's type
    where it is None); the other backends compute in the state's type. ``split`` shares each row's writes between
    several programs of backend triton (`titans_seq.ops.triton.split`). `torch.compile` leaves this call alone: each
    backend already is a few large operations, and tracing a loop would unroll it.

    Raises
    ------
    UnknownNameError, and ConfigError with the reason where a backend asked for by name cannot run.
    """
    check_backend(backend)
    # `disable` pulls in the whole compiler (3 s, 150 MB), so it is asked for only where one is at work.
    run = torch.compiler.disable(_run) if torch.compiler.is_compiling() else _run
    return run(q, k, v, gates, state, rule, chunk_size, backend, products, split)


def _run(
    q: Tensor, k: Tensor, v: Tensor, gates: Gates, state: MemoryState, rule: MemoryRule, chunk_size: int, backend: str,
    products: torch.dtype | None, split: Split | None,
) -> tuple[Tensor, Tensor | None, MemoryState]:  # fmt: skip
    if split is not None and backend != "triton":
        raise ConfigError(f"a split shares the work of the kernels of backend 'triton', found backend {backend!r}")
    if q.shape[0] == 0:  # no rows: nothing to launch, and sizes that cannot be told from what is there
        check_inputs(q, k, v, gates, state, rule, chunk_size)
        return torch.empty_like(v), q.new_empty(q.shape[:3]), replace(state, position=state.position + q.shape[2])
    if backend == "recurrent":
        y, after = recurrent(q, k, v, gates, state, rule=rule, chunk_size=chunk_size)
        return y, None, after
    if backend == "native" or (backend == "auto" and q.device.type == "cpu"):
        reason = native.refusal(rule, q.device)
        if reason is None:
            return native.memory(q, k, v, gates, state, rule=rule, chunk_size=chunk_size)
        if backend == "native":
            raise ConfigError(f"backend 'native' cannot run this memory: {reason}; backend 'auto' runs it otherwise")
        _tell(reason)
    if backend == "triton" or (backend == "auto" and q.is_cuda):
        kind = q.dtype if products is None else products
        reason = why_not_triton(rule, chunk_size, q.device, kind, state.weights.dtype)
        if reason is None and backend == "auto":
            reason = unproven(rule, chunk_size, capability=capability_of(q.device), products=kind)
        if reason is None:
            from titans_seq.ops.triton.memory import memory

            return memory(q, k, v, gates, state, rule=rule, chunk_size=chunk_size, products=kind, split=split)
        if backend == "triton":
            raise ConfigError(f"backend 'triton' cannot run this memory: {reason}; backend 'auto' runs it otherwise")
        _tell(reason)
    return chunkwise_with_surprise(q, k, v, gates, state, rule=rule, chunk_size=chunk_size)


@cache
def _tell(reason: str) -> None:
    """Log a fallback, once per reason."""
    log.info("memory runs chunkwise: %s", reason)


@cache
def _installed() -> bool:
    return find_spec("triton") is not None


def _interpreted() -> bool:
    return os.environ.get("TRITON_INTERPRET") == "1"
