"""The one checker at the door of every memory operation: it names the tensor, the axis and what to do."""

from __future__ import annotations

import torch
from torch import Tensor

from titans_seq.errors import DtypeError, RangeError, ShapeError
from titans_seq.ops.rule import Gates, MemoryRule, MemoryState


def check_inputs(
    q: Tensor, k: Tensor, v: Tensor, gates: Gates, state: MemoryState, rule: MemoryRule, chunk_size: int
) -> None:
    """Raise a readable error unless the tensors fit each other, the rule and the state.

    Raises
    ------
    ShapeError, DtypeError, RangeError
    """
    if chunk_size < 1:
        raise RangeError(f"chunk_size must be at least 1, found {chunk_size}")
    if q.ndim != 4:
        raise ShapeError(f"q must be (batch, heads, tokens, width), found {tuple(q.shape)}")
    batch, heads, tokens, _ = q.shape
    structure = rule.structure
    _shape("q", q, (batch, heads, tokens, structure.key_width), "key width of the structure")
    _shape("k", k, (batch, heads, tokens, structure.key_width), "the shape of q")
    _shape("v", v, (batch, heads, tokens, structure.value_width), "q's shape with the value width")
    dtype = state.weights.dtype
    given = {"q": q, "k": k, "v": v, "learning_rate": gates.learning_rate, "forget": gates.forget,
             "momentum": gates.momentum, "threshold": gates.threshold}  # fmt: skip
    for name, x in given.items():
        if x is not None and x.dtype != dtype:
            raise DtypeError(f"{name} is {x.dtype} but the memory's state is {dtype}; convert {name} first")
    if not dtype.is_floating_point or dtype in (torch.float16, torch.bfloat16):
        raise DtypeError(f"the memory's state must be float32 or float64, found {dtype}")
    _gate("learning_rate", gates.learning_rate, (batch, heads, tokens), 0.0, None)
    if gates.forget is not None:
        if not rule.retention.forgets:
            raise RangeError("a forget gate was given, but retention 'none' forgets nothing; pass forget=None")
        _gate("forget", gates.forget, (batch, heads, tokens), 0.0, 1.0)
    if rule.momentum != (gates.momentum is not None):
        found = "none" if gates.momentum is None else "one"
        raise RangeError(f"the rule has momentum={rule.momentum}, but {found} momentum gate was given")
    if gates.momentum is not None:
        _gate("momentum", gates.momentum, (batch, heads, tokens), 0.0, 1.0)
    if rule.bias.uses_threshold != (gates.threshold is not None):
        verb = "needs" if rule.bias.uses_threshold else "takes no"
        raise RangeError(f"the bias {type(rule.bias).__name__} {verb} threshold gate (delta_t > 0)")
    if gates.threshold is not None:
        _gate("threshold", gates.threshold, (batch, heads, tokens), torch.finfo(dtype).tiny, None)
    if gates.mask is not None:
        _shape("mask", gates.mask, (batch, tokens), "(batch, tokens)")
        if gates.mask.dtype != torch.bool:
            raise DtypeError(f"mask must be bool (True = a real token), found {gates.mask.dtype}")
    _shape("state.weights", state.weights, (batch, heads, structure.size), "(batch, heads, fast weights)")
    _shape("state.anchor", state.anchor, (batch, heads, structure.size), "(batch, heads, fast weights)")
    _shape("state.written", state.written, (batch, heads), "(batch, heads)")
    if state.momentum is not None:
        _shape("state.momentum", state.momentum, (batch, heads, structure.size), "(batch, heads, fast weights)")
    if rule.momentum != (state.momentum is not None):
        raise ShapeError(f"the rule has momentum={rule.momentum}, but the state was made for another rule")


def _shape(name: str, x: Tensor, expected: tuple[int, ...], meaning: str) -> None:
    if tuple(x.shape) != expected:
        raise ShapeError(f"{name} must be {expected} ({meaning}), found {tuple(x.shape)}")


def _gate(name: str, x: Tensor, shape: tuple[int, ...], low: float, high: float | None) -> None:
    _shape(name, x, shape, "(batch, heads, tokens)")
    if x.numel() == 0 or x.device.type != "cpu" or torch.compiler.is_compiling():
        return  # reading values back from an accelerator would stall it
    least, most = (float(m) for m in torch.aminmax(x.detach()))
    if not (least >= low and (high is None or most <= high)):
        span = f"in [{low:g}, {high:g}]" if high is not None else "positive" if low > 0 else f"at least {low:g}"
        raise RangeError(f"{name} must be {span} everywhere, found {least:g} to {most:g}")
