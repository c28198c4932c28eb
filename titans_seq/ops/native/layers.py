"""The layers around a memory by compiled kernels: each one pass over its numbers, forward and backward.

PyTorch takes ten passes for the short convolution's adjoint alone; on a CPU such layers wait for memory, and they cost
as much as the memory itself. Every function here has its plain form beside its caller, which is what the tests
compare it with, and is used where `available` holds.
"""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor

from titans_seq.ops.first_order import first_order
from titans_seq.ops.native import level, library
from titans_seq.ops.native.arguments import LayerCall

_INPUTS, _OUTPUTS, _SWIGLU, _RMS, _LINEAR = range(5)
_PARTS = 16  # LAYER_PARTS


def available(x: Tensor, *others: Tensor) -> bool:
    """Whether the compiled layers take these tensors: on a CPU, of one type, and outside `torch.compile`."""
    return (
        not torch.compiler.is_compiling()
        and x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.float64)
        and all(other.dtype == x.dtype and other.device == x.device for other in others)
        and x.numel() > 0
        and library() is not None
    )


def memory_inputs(x: Tensor, tail: Tensor, weight: Tensor, *, heads: int, key: int) -> tuple[Tensor, Tensor, Tensor]:
    """``h = SiLU(sum_i weight_i x[t - i])``, per head split into q / |q|, k / |k| and v.

    Shapes: x (B, T, H (2 key + value)), tail (B, width - 1, ...) the inputs before it, weight (width, ...); q, k, v
    (B, H, T, key or value), in memory (B, T, H, ...).
    """
    return _Inputs.apply(x.contiguous(), tail.contiguous(), weight.contiguous(), heads, key)


def memory_outputs(reads: Tensor, gate: Tensor, weight: Tensor, *, eps: float) -> Tensor:
    """``reads / rms(reads) * weight * SiLU(gate)``: reads (B, H, T, D), gate (B, T, H D), weight (H, 1, D)."""
    if reads.stride(-1) != 1:
        reads = reads.contiguous()
    return _Outputs.apply(reads, gate.contiguous(), weight.contiguous(), eps)


def swiglu(x: Tensor) -> Tensor:
    """``SiLU(x_1) x_2`` for x = (x_1, x_2) along the last axis."""
    return _SwiGLU.apply(x.contiguous())


def rms_norm(x: Tensor, weight: Tensor, *, eps: float) -> Tensor:
    """``x / sqrt(mean x^2 + eps) * weight`` over the last axis."""
    return _RMSNorm.apply(x.contiguous(), weight.contiguous(), eps)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``x W' + b`` over the last axis: x (..., in), W (out, in), b (out,).

    A row's bits do not depend on the rows beside it, nor on the number of threads, as they do in a BLAS.
    """
    return _Linear.apply(x.contiguous(), weight.contiguous(), None if bias is None else bias.contiguous())


def _run(what: int, dtype: torch.dtype, numbers: dict[str, int], eps: float = 0.0, **tensors: Tensor) -> None:
    call = LayerCall(what=what, threads=torch.get_num_threads(), eps=eps, **numbers)
    for name, x in tensors.items():
        call.put(name, x)
    compiled = library()
    assert compiled is not None
    if compiled.titans_layer(ctypes.byref(call), int(dtype == torch.float64), level()):
        raise MemoryError("no memory for the compiled layers' working room")


def _given(**tensors: Tensor | None) -> dict[str, Tensor]:
    return {name: x for name, x in tensors.items() if x is not None}


def _rows(x: Tensor, value: int) -> dict[str, int]:
    return {"batch": 1, "tokens": x.numel() // x.shape[-1], "heads": 1, "key": 0, "value": value, "width": 0}


class _Inputs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, tail: Tensor, weight: Tensor, heads: int, key: int) -> tuple[Tensor, ...]:
        batch, tokens, channels = x.shape
        value = channels // heads - 2 * key
        ctx.numbers = {"batch": batch, "tokens": tokens, "heads": heads, "key": key, "value": value,
                       "width": weight.shape[0]}  # fmt: skip
        q, k, v = (x.new_empty(batch, tokens, heads, n).transpose(1, 2) for n in (key, key, value))
        _run(_INPUTS, x.dtype, {**ctx.numbers, "backward": 0}, x=x, tail=tail, weight=weight, q=q, k=k, v=v)
        ctx.save_for_backward(x, tail, weight)
        return q, k, v

    @staticmethod
    @first_order
    def backward(ctx: Any, *bars: Tensor) -> tuple[Tensor | None, ...]:
        x, tail, weight = ctx.saved_tensors
        q, k, v = (bar if bar.stride(-1) == 1 else bar.contiguous() for bar in bars)
        x_bar, tail_bar = torch.empty_like(x), torch.empty_like(tail)
        weight_bar = x.new_empty(x.shape[0], *weight.shape)
        _run(_INPUTS, x.dtype, {**ctx.numbers, "backward": 1}, x=x, tail=tail, weight=weight, q=q, k=k, v=v,
             x_bar=x_bar, tail_bar=tail_bar, weight_bar=weight_bar)  # fmt: skip
        return x_bar, tail_bar, weight_bar.sum(0), None, None


class _Outputs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, reads: Tensor, gate: Tensor, weight: Tensor, eps: float) -> Tensor:
        batch, heads, tokens, value = reads.shape
        ctx.numbers = {"batch": batch, "tokens": tokens, "heads": heads, "key": 0, "value": value, "width": 0}
        ctx.eps = eps
        y = torch.empty_like(gate)
        _run(_OUTPUTS, reads.dtype, {**ctx.numbers, "backward": 0}, eps, weight=weight, gate=gate, q=reads, y=y)
        ctx.save_for_backward(reads, gate, weight)
        return y

    @staticmethod
    @first_order
    def backward(ctx: Any, *bars: Tensor) -> tuple[Tensor | None, ...]:
        reads, gate, weight = ctx.saved_tensors
        batch, heads, tokens, value = reads.shape
        reads_bar = reads.new_empty(batch, tokens, heads, value).transpose(1, 2)
        gate_bar, weight_bar = torch.empty_like(gate), reads.new_empty(batch, *weight.shape)
        _run(_OUTPUTS, reads.dtype, {**ctx.numbers, "backward": 1}, ctx.eps, weight=weight, gate=gate, q=reads,
             k=reads_bar, y_bar=bars[0].contiguous(), gate_bar=gate_bar, weight_bar=weight_bar)  # fmt: skip
        return reads_bar, gate_bar, weight_bar.sum(0), None


class _SwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = x.new_empty(*x.shape[:-1], x.shape[-1] // 2)
        _run(_SWIGLU, x.dtype, {**_rows(x, y.shape[-1]), "backward": 0}, x=x, y=y)
        ctx.save_for_backward(x)
        return y

    @staticmethod
    @first_order
    def backward(ctx: Any, *bars: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        x_bar = torch.empty_like(x)
        _run(_SWIGLU, x.dtype, {**_rows(x, x.shape[-1] // 2), "backward": 1}, x=x, y_bar=bars[0].contiguous(),
             x_bar=x_bar)  # fmt: skip
        return x_bar


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        y = torch.empty_like(x)
        ctx.eps = eps
        _run(_RMS, x.dtype, {**_rows(x, x.shape[-1]), "backward": 0}, eps, x=x, weight=weight, y=y)
        ctx.save_for_backward(x, weight)
        return y

    @staticmethod
    @first_order
    def backward(ctx: Any, *bars: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        x_bar, weight_bar = torch.empty_like(x), x.new_empty(_PARTS, *weight.shape)
        _run(_RMS, x.dtype, {**_rows(x, x.shape[-1]), "backward": 1}, ctx.eps, x=x, weight=weight,
             y_bar=bars[0].contiguous(), x_bar=x_bar, weight_bar=weight_bar)  # fmt: skip
        return x_bar, weight_bar.sum(0), None


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        value, key = weight.shape
        ctx.numbers = {**_rows(x, value), "key": key}
        y = x.new_empty(*x.shape[:-1], value)
        _run(_LINEAR, x.dtype, {**ctx.numbers, "backward": 0}, 0.0, x=x, weight=weight, y=y, **_given(gate=bias))
        ctx.save_for_backward(x, weight)
        return y

    @staticmethod
    @first_order
    def backward(ctx: Any, *bars: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        asked = ctx.needs_input_grad
        x_bar = torch.empty_like(x) if asked[0] else None
        weight_bar = torch.empty_like(weight) if asked[1] or asked[2] else None
        bias_bar = weight.new_empty(weight.shape[0]) if asked[2] else None
        _run(_LINEAR, x.dtype, {**ctx.numbers, "backward": 1}, 0.0, x=x, weight=weight, y_bar=bars[0].contiguous(),
             **_given(x_bar=x_bar, weight_bar=weight_bar, gate_bar=bias_bar))  # fmt: skip
        return x_bar, weight_bar, bias_bar
