"""What the kernels take, and with which tiles: the choice table. Imports no triton."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from titans_seq.ops.biases import BIASES, AttentionalBias
from titans_seq.ops.rule import MemoryRule

WIDTHS = (16, 32, 64, 128)
HIDDEN = (32, 64, 128, 256)
CHUNKS = (16, 32, 64, 128)
PRODUCTS = (torch.float32, torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class Tiles:
    """Of one kernel: hidden columns per block, warps per program, stages of prefetching."""

    block: int
    warps: int
    stages: int


def capability_of(device: torch.device) -> tuple[int, int]:
    """Compute capability of a device; off CUDA, where only the interpreter runs, that of the usual card."""
    return torch.cuda.get_device_capability(device) if device.type == "cuda" else (9, 0)


def tiles(kernel: str, rule: MemoryRule, chunk: int, products: torch.dtype, capability: tuple[int, int]) -> Tiles:
    """The tiles of ``kernel`` (by its name) for a memory that `refusal` lets pass.

    Compiled for compute capability 9.0 at 64 x 128, chunk 64, bfloat16, momentum: blocks of 64 columns spill in every
    kernel but `write_forward`, blocks of 32 in none but `write_backward` (24 bytes per thread, and as many with blocks
    of 16); 4 warps spill more than 8, and 16 have too few registers each. On 8.x operands of products lie in
    registers rather than in shared memory, so the read pass's adjoints take blocks of 16; so
    does `write_backward` on 8.0, but on 8.9 it spills 8 bytes with them and none with 32. Not yet chosen by time, which
    takes a GPU.
    """
    narrow = ("read_backward_last", "read_backward_first", *(("write_backward",) if capability == (8, 0) else ()))
    return Tiles(16 if capability < (9, 0) and kernel in narrow else 32, 8, 1)


def refusal(
    rule: MemoryRule, chunk_size: int, *, capability: tuple[int, int], products: torch.dtype, state: torch.dtype
) -> str | None:
    """Why the kernels cannot run this memory on a device of compute ``capability``, or None."""
    st = rule.structure
    if capability < (8, 0):
        return f"compute capability {capability[0]}.{capability[1]} is below 8.0"
    if not rule.retention.linear:
        name = type(rule.retention).__name__
        return f"{name} changes the weights at chunk borders, and the kernels hold the linear gates none and l2"
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
    if state != torch.float32:
        return f"the kernels keep the state in float32, found {state}"
    return None


def unproven(rule: MemoryRule, chunk_size: int, *, capability: tuple[int, int], products: torch.dtype) -> str | None:
    """Why ``auto`` leaves alone what could run by name: compile tests have not shown that it stays in registers."""
    st = rule.structure
    longest = 32 if st.name == "matrix" else 16
    if capability < (9, 0) and chunk_size > longest:
        return (
            f"compiled for compute capability 8.x, the kernels of a {st.name} memory spill registers in chunks above "
            f"{longest}; ask for 'triton' to try"
        )
    if products == torch.float32:
        return "float32 products have not been shown to stay in registers; ask for 'triton', or compute in bfloat16"
    if max(st.key_width, st.value_width, chunk_size) > 64:
        return "widths and chunks of 128 have not been shown to stay in registers; ask for 'triton' to try"
    return None


def bias_name(bias: AttentionalBias) -> str | None:
    """The name under which the kernels know ``bias``."""
    return next((name for name, kind in BIASES.items() if type(bias) is kind), None)


def _list(values: tuple[int, ...]) -> str:
    return ", ".join(map(str, values))
