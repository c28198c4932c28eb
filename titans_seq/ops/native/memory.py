"""The chunk form by the compiled kernels: the recurrence of `recurrent`, with its gradients, on a CPU.

The same arithmetic as `chunkwise`, for linear gates and every bias but lp: per row and head one thread
walks over the chunks with the state in its cache, and the coefficients come from the gates by their own recurrences.
What a chunk leaves for the backward pass is its first state and the layers' outputs; the rest is computed again.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from titans_seq.ops.biases import L2, AttentionalBias, DotProduct, Huber, HuberMixture, HuberNorm, Robust
from titans_seq.ops.checks import check_inputs
from titans_seq.ops.first_order import first_order
from titans_seq.ops.native import level, library
from titans_seq.ops.native.arguments import LAYERS, ChunkCall
from titans_seq.ops.native.room import Room
from titans_seq.ops.rule import Gates, MemoryRule, MemoryState

_BIASES = {L2: 0, DotProduct: 1, Huber: 2, HuberNorm: 3, HuberMixture: 4, Robust: 5}
_ACTIVATIONS = {"gelu": 0, "silu": 1}
_PANEL = 32  # widest panel of any instruction set: what a record is measured with


def refusal(rule: MemoryRule, device: torch.device) -> str | None:
    """Why the compiled kernels cannot run this memory here, or None where they can."""
    if device.type != "cpu":
        return f"the tensors are on {device.type}, and the compiled kernels are for CPUs"
    if library() is None:
        return "the compiled kernels are not built, or are switched off"
    if rule.structure.name == "vector":
        return "a vector memory has no matrix products"
    if not rule.retention.linear:
        return f"the gate {type(rule.retention).__name__} is not linear"
    if type(rule.bias) not in _BIASES:
        return f"the bias {type(rule.bias).__name__} has no compiled form"
    if len(rule.structure.shapes) > LAYERS:
        return f"the memory has {len(rule.structure.shapes)} layers, and the kernels take {LAYERS}"
    return None


def memory(
    q: Tensor, k: Tensor, v: Tensor, gates: Gates, state: MemoryState, *, rule: MemoryRule, chunk_size: int
) -> tuple[Tensor, Tensor, MemoryState]:
    """`titans_seq.ops.chunkwise.chunkwise_with_surprise` by compiled kernels: same arguments, results and gradients.

    Only where `refusal` has nothing to say. Deterministic, whatever the number of threads: rows and heads do not meet.
    """
    check_inputs(q, k, v, gates, state, rule, chunk_size)
    batch, heads, tokens, _ = q.shape
    if tokens == 0:
        return v.new_empty(v.shape), q.new_empty(q.shape[:3]), state
    rows, offset = batch * heads, state.position % chunk_size
    parts = [state.weights] if state.momentum is None else [state.weights, state.momentum]
    start = torch.stack([x.reshape(rows, -1) for x in parts], 1)
    anchor = state.anchor.reshape(rows, -1).contiguous() if offset else None
    shape = _Shape(rule, chunk_size, offset, heads)
    y, surprise, end, border = _Chunks.apply(
        shape, torch.is_grad_enabled(), gates.mask, *(_dense(x) for x in (q, k, v)), gates.learning_rate, gates.forget,
        gates.momentum, gates.threshold, start, anchor,
    )  # fmt: skip
    weights = end[:, 0].view_as(state.weights)
    after = (offset + tokens) % chunk_size
    if after == 0:
        last = weights
    elif border is not None:
        last = border.view_as(state.weights)
    else:
        last = state.anchor if offset else state.weights
    return (
        y,
        surprise,
        replace(
            state,
            weights=weights,
            momentum=None if state.momentum is None else end[:, 1].view_as(state.weights),
            anchor=last,
            written=_written(state.written, gates, tokens, after),
            position=state.position + tokens,
        ),
    )


def _dense(x: Tensor) -> Tensor:
    """``x``, or a copy where a vector has gaps."""
    return x if x.stride(-1) == 1 else x.contiguous()


def _like(x: Tensor) -> Tensor:
    """Room for (B, H, T, ...) in the order in which a layer reads it next: heads side by side."""
    return x.new_empty(x.shape[0], x.shape[2], x.shape[1], *x.shape[3:]).transpose(1, 2)


def _written(before: Tensor, gates: Gates, tokens: int, pending: int) -> Tensor:
    """Sum of theta since the last border, which lies ``pending`` tokens back."""
    if pending == 0:
        return torch.zeros_like(before)
    rate = gates.learning_rate[..., max(tokens - pending, 0) :]
    if gates.mask is not None:
        rate = rate.masked_fill(~gates.mask[:, None, -rate.shape[-1] :], 0)
    total = rate.sum(-1)
    return before + total if pending > tokens else total


def _option(bias: AttentionalBias) -> float:
    """The number that a bias carries."""
    if isinstance(bias, HuberMixture):
        return bias.sharpness
    return bias.shift if isinstance(bias, Robust) else 0.0


@dataclass(frozen=True)
class _Shape:
    """What a call is, beside its tensors."""

    rule: MemoryRule
    chunk: int
    offset: int
    heads: int

    def call(self, q: Tensor) -> ChunkCall:
        structure, rows, tokens = self.rule.structure, q.shape[0] * q.shape[1], q.shape[2]
        widths = [structure.shapes[0][1], *(out for out, _ in structure.shapes)]
        return ChunkCall(
            rows=rows, heads=self.heads, tokens=tokens, chunk=self.chunk, offset=self.offset,
            threads=torch.get_num_threads(), layers=len(structure.shapes),
            widths=(ctypes.c_int64 * (LAYERS + 1))(*widths), bias=_BIASES[type(self.rule.bias)],
            activation=_ACTIVATIONS[structure.activation], normalised=structure.normalised, residual=structure.residual,
            max_error=self.rule.max_error or 0.0, option=_option(self.rule.bias),
        )  # fmt: skip

    def record(self, q: Tensor, momentum: bool) -> tuple[int, int]:
        """Chunks of a call, and at most how many numbers one leaves for the backward pass."""
        tokens = q.shape[2]
        chunks, length = -(-(self.offset + tokens) // self.chunk), min(self.chunk, tokens)
        padded = [-(-out // _PANEL) * _PANEL for out, _ in self.rule.structure.shapes]
        state = sum(p * inner for p, (_, inner) in zip(padded, self.rule.structure.shapes, strict=True))
        return chunks, (2 if momentum else 1) * state + 2 * length * sum(padded)

    def crosses(self, tokens: int) -> bool:
        """Whether a border lies inside the call, behind its first token and before its end."""
        return self.offset + tokens > self.chunk and (self.offset + tokens) % self.chunk != 0


class _Chunks(torch.autograd.Function):
    """(q, k, v, gates, state) -> (reads, length of the surprise, state, A at the last border inside)."""

    @staticmethod
    def forward(ctx: Any, shape: _Shape, keep: bool, mask: Tensor | None, q: Tensor, k: Tensor, v: Tensor, rate: Tensor,
                forget: Tensor | None, momentum: Tensor | None, threshold: Tensor | None, start: Tensor,
                anchor: Tensor | None
                ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:  # fmt: skip
        mask = None if mask is None else mask.contiguous()
        y, surprise, end = _like(v), rate.new_empty(rate.shape), torch.empty_like(start)
        border = start.new_empty(start.shape[0], start.shape[2]) if shape.crosses(q.shape[2]) else None
        chunks, size = shape.record(q, momentum is not None)
        record = Room(start.shape[0] * chunks * size, q.dtype) if keep else None
        _run(shape, 0, q, k=k, v=v, rate=rate, forget=forget, momentum=momentum, threshold=threshold, mask=mask,
             start=start, anchor=anchor,
             saved=record, y=y, surprise=surprise, end=end, last_anchor=border)  # fmt: skip
        ctx.shape, ctx.record = shape, record
        ctx.save_for_backward(mask, q, k, v, rate, forget, momentum, threshold, start, anchor)
        ctx.mark_non_differentiable(surprise)
        ctx.set_materialize_grads(False)
        return y, surprise, end, border

    @staticmethod
    @first_order
    def backward(ctx: Any, *bars: Tensor | None) -> tuple[Tensor | None, ...]:
        y_bar = None if bars[0] is None else _dense(bars[0])
        end_bar, border_bar = (None if x is None else x.contiguous() for x in bars[2:])
        mask, q, k, v, rate, forget, momentum, threshold, start, anchor = ctx.saved_tensors
        inputs = {"q": q, "k": k, "v": v, "rate": rate, "forget": forget, "momentum": momentum,
                  "threshold": threshold, "start": start,
                  "anchor": anchor}  # fmt: skip
        grads = {
            name: None if x is None else torch.empty_like(x) if x.ndim < 3 or name == "start" else _like(x)
            for name, x in inputs.items()
        }
        bars_of = {f"{name}_bar": x for name, x in grads.items()}
        _run(ctx.shape, 1, q, k=k, v=v, rate=rate, forget=forget, momentum=momentum, threshold=threshold, mask=mask,
             start=start, anchor=anchor, saved=ctx.record, y_bar=y_bar, end_bar=end_bar, last_anchor_bar=border_bar,
             **bars_of)  # fmt: skip
        return None, None, None, *grads.values()


def _run(shape: _Shape, backward: int, q: Tensor, **tensors: Tensor | Room | None) -> None:
    call = shape.call(q)
    for name, x in {"q": q, **tensors}.items():
        call.put(name, x)
    compiled = library()
    assert compiled is not None
    if compiled.titans_chunk(ctypes.byref(call), backward, int(q.dtype == torch.float64), level()):
        raise MemoryError("no memory for the compiled kernels' working room")
