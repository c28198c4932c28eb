"""What the kernels take, and with which tiles: the choice table. Imports no triton."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from titans_seq.ops.biases import BIASES, AttentionalBias
from titans_seq.ops.retention import GATES, Bregman, KLRetention, LqRetention, RetentionGate
from titans_seq.ops.rule import MemoryRule

WIDTHS = (16, 32, 64, 128)
HIDDEN = (32, 64, 128, 256)
CHUNKS = (16, 32, 64, 128)
RETENTIONS = ("none", "l2", "lq", "kl", "elastic_net", "bregman")
LARGEST_Q = 8  # of lq: its norms are made of q-th powers
PRODUCTS = (torch.float32, torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class Tiles:
    """Of one kernel: hidden columns per block, warps per program, stages of prefetching; ``numbers`` of a matrix worked
    on together where a non-linear gate closes a chunk."""

    block: int
    warps: int
    stages: int
    numbers: int = 4096


def capability_of(device: torch.device) -> tuple[int, int]:
    """Compute capability of a device; off CUDA, where only the interpreter runs, that of the usual card."""
    return torch.cuda.get_device_capability(device) if device.type == "cuda" else (9, 0)


def tiles(
    kernel: str, rule: MemoryRule, chunk: int, products: torch.dtype, capability: tuple[int, int], *, aligned: bool
) -> Tiles:
    """The tiles of ``kernel`` (by its name) for a memory that `refusal` lets pass.

    =====================================  =====  ====================================================================
    kernel, where                          block  why (bytes that spill; 64 x 256, chunk 64, bfloat16, 8 warps, 9.0)
    =====================================  =====  ====================================================================
    any, linear gates                      32     blocks of 64 spill in every kernel but `write_forward`, of 32 in none
    read_forward, starts inside a chunk    16     8 with 32 (the anchor is one more matrix)
    read passes, non-linear gates          16     16 to 96 with 32: link(A) is one more matrix, the slopes one more tile
    read passes' adjoints, 8.x             16     operands of products lie in registers there, not in shared memory
    write_backward, 8.0                    16     but on 8.9 it spills 8 with 16, and none with 32
    read_backward_last, chunk 32           16     32 with 32, matrix 96
    read_backward_first, hidden 64         16     8 with 32
    write_backward, mlp 2, hidden 32       16     352 with 32: one block is no loop, and its parts are held at once
    write_backward, hidden 128, chunk 32   16     8 with 32; but 16 with 16, none with 32, starting inside a chunk
    write_backward, lq, momentum, hidden   16     8 with 32
    128
    =====================================  =====  ====================================================================

    4 warps spill more than 8, and 16 have too few registers each. Where kl closes a chunk, 8192 numbers together spill
    nothing and 4096 spill 8 (Memora). Chosen by compiling, not yet by time, which takes a GPU: `speed` in the report of
    tests/benchmarks/gpu.py times every row, and `--tiles` others in its place.
    """
    if capability < (9, 0):
        adjoint = kernel in ("read_backward_last", "read_backward_first")
        narrow = adjoint or (kernel == "write_backward" and capability == (8, 0))
    else:
        narrow = _tight(kernel, rule, chunk, aligned)
    narrow |= kernel.startswith("read_") and not rule.retention.linear
    narrow |= kernel == "read_forward" and not aligned
    return Tiles(16 if narrow else 32, 8, 1, 8192 if isinstance(rule.retention, KLRetention) else 4096)


def _tight(kernel: str, rule: MemoryRule, chunk: int, aligned: bool) -> bool:
    """Where blocks of 32 spill on 9.0 though the gate is linear, or is lq."""
    st = rule.structure
    if kernel == "read_backward_last":
        return chunk == 32
    if len(st.shapes) < 2:
        return False
    if kernel == "read_backward_first":
        return st.hidden == 64
    lq = isinstance(rule.retention, LqRetention) and rule.momentum
    return kernel == "write_backward" and (st.hidden == 32 or (st.hidden == 128 and (lq or (chunk == 32 and aligned))))


def refusal(
    rule: MemoryRule, chunk_size: int, *, capability: tuple[int, int], products: torch.dtype, state: torch.dtype
) -> str | None:
    """Why the kernels cannot run this memory on a device of compute ``capability``, or None."""
    st = rule.structure
    if capability < (8, 0):
        return f"compute capability {capability[0]}.{capability[1]} is below 8.0"
    if gate_name(rule.retention) is None:
        return f"retention {type(rule.retention).__name__} has no kernel ({', '.join(RETENTIONS)} have)"
    if isinstance(rule.retention, LqRetention) and rule.retention.q > LARGEST_Q:
        return f"lq retention with q = {rule.retention.q} leaves float32's range (q up to {LARGEST_Q} does not)"
    if bias_name(rule.bias) is None:
        return f"bias {type(rule.bias).__name__} has no kernel ({', '.join(BIASES)} have)"
    if st.name not in ("matrix", "mlp"):
        return f"structure {st.name!r} has no kernel (matrix and mlp have)"
    if len(st.shapes) > 2:
        return f"depth {st.depth} has no kernel (1 and 2 have)"
    for what, width in (("key", st.key_width), ("value", st.value_width)):
        if width not in WIDTHS:
            return f"{what} width {width} has no kernel ({_list(WIDTHS)} have)"
    if len(st.shapes) == 2 and st.hidden not in HIDDEN:
        return f"hidden width {st.hidden} has no kernel ({_list(HIDDEN)} have)"
    if chunk_size not in CHUNKS:
        return f"chunk_size {chunk_size} has no kernel ({_list(CHUNKS)} have)"
    if products not in PRODUCTS:
        return f"the kernels multiply in {_list(PRODUCTS)}, found {products}"
    if state != torch.float32 and not rule.retention.precise:
        return f"the kernels keep the state in float32, found {state}"
    return None


def unproven(rule: MemoryRule, chunk_size: int, *, capability: tuple[int, int], products: torch.dtype) -> str | None:
    """Why ``auto`` leaves alone what could run by name: compile tests have not shown that it stays in registers."""
    st = rule.structure
    longest = 32 if st.name == "matrix" else 16
    if capability < (9, 0) and not rule.retention.linear:
        return "non-linear gates have been compiled for compute capability 9.0 alone; ask for 'triton' to try"
    if capability < (9, 0) and chunk_size > longest:
        return (
            f"compiled for compute capability 8.x, the kernels of a {st.name} memory spill registers in chunks above "
            f"{longest}; ask for 'triton' to try"
        )
    if not rule.retention.linear and len(st.shapes) == 2 and st.hidden != 256:
        lq, narrow = isinstance(rule.retention, LqRetention), max(st.key_width, st.value_width) <= 32
        if st.hidden != 128 or rule.momentum == narrow or not (lq or narrow):
            return (
                f"{gate_name(rule.retention)} retention has not been shown to stay in registers at hidden width "
                f"{st.hidden}, key width {st.key_width} (at 256 it has); ask for 'triton' to try"
            )
    if products == torch.float32:
        return "float32 products have not been shown to stay in registers; ask for 'triton', or compute in bfloat16"
    if max(st.key_width, st.value_width, chunk_size) > 64:
        return "widths and chunks of 128 have not been shown to stay in registers; ask for 'triton' to try"
    return None


def centred(rule: MemoryRule) -> bool:
    """Whether the last layer's rows are all positive and a LayerNorm keeps their differences alone (`borders`)."""
    return rule.structure.normalised and isinstance(rule.retention, KLRetention | Bregman)


def bias_name(bias: AttentionalBias) -> str | None:
    """The name under which the kernels know ``bias``."""
    return next((name for name, kind in BIASES.items() if type(bias) is kind), None)


def gate_name(gate: RetentionGate) -> str | None:
    """The name under which the kernels know ``gate``; one name for those that leave W = A throughout."""
    name = next((name for name, kind in GATES.items() if type(gate) is kind), None)
    if name not in RETENTIONS:
        return None
    if gate.linear:
        return "linear"
    return "lq_exact" if isinstance(gate, LqRetention) and gate.exact else name


def _list(values: tuple[object, ...]) -> str:
    return ", ".join(map(str, values))
