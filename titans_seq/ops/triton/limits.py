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


def tiles(kernel: str, rule: MemoryRule, chunk: int, products: torch.dtype) -> Tiles:
    """The tiles of ``kernel`` (by its name) for a memory that `refusal` lets pass."""
    return Tiles(64, 8, 1)


def refusal(
    rule: MemoryRule, chunk_size: int, *, capability: tuple[int, int], products: torch.dtype, state: torch.dtype
) -> str | None:
    """Why the kernels cannot run this memory on a device of compute ``capability``, or None."""
    st = rule.structure
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


def bias_name(bias: AttentionalBias) -> str | None:
    """The name under which the kernels know ``bias``."""
    return next((name for name, kind in BIASES.items() if type(bias) is kind), None)


def _list(values: tuple[int, ...]) -> str:
    return ", ".join(map(str, values))
