"""One call of the kernels: what is fixed when they are compiled, where its rows lie, and how a kernel is started."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
import triton.language as tl
from torch import Tensor

from titans_seq.ops.rule import MemoryRule
from titans_seq.ops.triton.layout import Layout
from titans_seq.ops.triton.limits import bias_name, capability_of, centred, gate_name, tiles
from titans_seq.ops.triton.split import Split, columns_of

_TYPES = {torch.float32: tl.float32, torch.bfloat16: tl.bfloat16, torch.float16: tl.float16}


def blank(like: Tensor, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Uninitialised numbers for a kernel to fill (the tests put NaN there first)."""
    return torch.empty(*shape, dtype=dtype, device=like.device)


def constants_of(rule: MemoryRule, chunk: int, products: torch.dtype, aligned: bool) -> dict[str, Any]:
    """Everything that is fixed when a kernel is compiled, except its tiles."""
    st, bias, gate = rule.structure, rule.bias, rule.retention
    exact = "tf32x3" if torch.get_float32_matmul_precision() == "highest" else "tf32"
    return {
        "D": st.key_width, "V": st.value_width, "E": st.hidden if len(st.shapes) == 2 else st.key_width, "C": chunk,
        "DEPTH": len(st.shapes), "MOMENTUM": rule.momentum, "ALIGNED": aligned, "NORMALISED": st.normalised,
        "RESIDUAL": st.residual, "THRESHOLD": bias.uses_threshold, "ACT": st.activation, "BIAS": bias_name(bias),
        "OPTION": float(getattr(bias, "p", getattr(bias, "shift", 0.0))),
        "SHARPNESS": float(getattr(bias, "sharpness", 0.0)), "MAX_ERROR": float(rule.max_error or 0.0),
        "RETENTION": gate_name(gate), "LINKED": not gate.linear,
        "AMOUNT": float(getattr(gate, "q", getattr(gate, "scale", getattr(gate, "gamma", 0.0)))),
        "FLOOR": float(getattr(gate, "floor", 0.0)), "CENTRED": centred(rule),
        "DOT": _TYPES[products], "PRECISION": exact,
        # G is made of float32 numbers whatever the products' type (design 3.7)
        "FINE": exact if products == torch.float32 else "tf32",
    }  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """One call: the memory's choices, where its rows lie, and what to keep.

    ``offset`` is the first token's place in its chunk. ``remember`` keeps the state of every border for the backward
    pass, instead of computing them again. ``split`` shares every row's writes between several programs.
    """

    rule: MemoryRule
    layout: Layout
    products: torch.dtype
    offset: int
    remember: bool
    split: Split | None = None

    @property
    def aligned(self) -> bool:
        return self.offset == 0

    @cached_property
    def closing(self) -> Tensor | None:
        """How many chunks of every row close, which only a non-linear gate has to know."""
        return None if self.rule.retention.linear else self.layout.closing(self.offset)

    def launch(self, kernel: Any, programs: int, **tensors: Tensor | None) -> None:
        """Run ``kernel``, its arguments taken by name; what a choice leaves out gets a stand-in that is never read."""
        arguments, options = self._arguments(kernel, tensors)
        with _on(self.layout.base.device):
            kernel[(programs,)](**arguments, **options)

    def launch_split(self, kernel: Any, spans: Iterable[tuple[int, int]], **tensors: Tensor | None) -> None:
        """Run ``kernel``, several programs to a row, once for each ``begin, stop`` of ``spans``."""
        assert self.split is not None
        rows, (arguments, options) = self.layout, self._arguments(kernel, tensors)
        named = {"SLICE": columns_of(self.rule) // self.split.slices, "WAITS": self.split.waits, "total": rows.tokens}
        named["BE"] = min(arguments.get("BE", named["SLICE"]), named["SLICE"])
        arguments |= {name: x for name, x in named.items() if name in kernel.arg_names}
        if self.split.waits:
            options["launch_cooperative_grid"] = True
        with _on(rows.base.device):
            for begin, stop in spans:
                kernel[(rows.rows * self.split.slices,)](**arguments, begin=begin, stop=stop, **options)

    def _arguments(self, kernel: Any, tensors: dict[str, Tensor | None]) -> tuple[dict[str, Any], dict[str, Any]]:
        rows, chunk = self.layout, self.layout.chunk
        card = capability_of(rows.base.device)
        tile = tiles(kernel.__name__, self.rule, chunk, self.products, card, aligned=self.aligned)
        given = {
            "base": rows.base, "length": rows.length, "first": rows.first, "row_of": rows.row_of,
            "closing": self.closing, **tensors,
            **constants_of(self.rule, chunk, self.products, self.aligned), "NUMBERS": tile.numbers,
        }  # fmt: skip
        given["BE"] = min(tile.block, given["E"])
        stand_in = next(t for t in tensors.values() if t is not None)
        named = {n: stand_in if given[n] is None else given[n] for n in kernel.arg_names if n in given}
        return named, {"num_warps": tile.warps, "num_stages": tile.stages}


def _on(device: torch.device) -> AbstractContextManager[Any]:
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
