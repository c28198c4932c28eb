"""The kernels as one differentiable operation: launches, what is kept for the backward pass, and the public calls."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
import triton.language as tl
from torch import Tensor

from titans_seq.errors import ShapeError
from titans_seq.ops.checks import check_inputs
from titans_seq.ops.chunkwise import _stretches
from titans_seq.ops.first_order import first_order
from titans_seq.ops.rule import Gates, MemoryRule, MemoryState
from titans_seq.ops.triton.gates import gates_backward, gates_forward
from titans_seq.ops.triton.layout import Layout, equal_rows, logarithms, packed_rows, pair
from titans_seq.ops.triton.limits import bias_name, capability_of, tiles
from titans_seq.ops.triton.read import read_forward
from titans_seq.ops.triton.read_adjoint import read_backward_first, read_backward_last
from titans_seq.ops.triton.write import write_forward
from titans_seq.ops.triton.write_adjoint import write_backward

# Bytes of border states held at a time. Longer calls are worked through in stretches, whose backward passes compute
# the states again from the stretch's first.
_STATES = 2**31
_TYPES = {torch.float32: tl.float32, torch.bfloat16: tl.bfloat16, torch.float16: tl.float16}


def blank(like: Tensor, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Uninitialised numbers for a kernel to fill (the tests put NaN there first)."""
    return torch.empty(*shape, dtype=dtype, device=like.device)


def constants_of(rule: MemoryRule, chunk: int, products: torch.dtype, aligned: bool) -> dict[str, Any]:
    """Everything that is fixed when a kernel is compiled, except its tiles."""
    st, bias = rule.structure, rule.bias
    exact = "tf32x3" if torch.get_float32_matmul_precision() == "highest" else "tf32"
    return {
        "D": st.key_width, "V": st.value_width, "E": st.hidden if len(st.shapes) == 2 else st.key_width, "C": chunk,
        "DEPTH": len(st.shapes), "MOMENTUM": rule.momentum, "ALIGNED": aligned, "NORMALISED": st.normalised,
        "RESIDUAL": st.residual, "THRESHOLD": bias.uses_threshold, "ACT": st.activation, "BIAS": bias_name(bias),
        "OPTION": float(getattr(bias, "p", getattr(bias, "shift", 0.0))),
        "SHARPNESS": float(getattr(bias, "sharpness", 0.0)), "MAX_ERROR": float(rule.max_error or 0.0),
        "DOT": _TYPES[products], "PRECISION": exact,
        # G is made of float32 numbers whatever the products' type (design 3.7)
        "FINE": exact if products == torch.float32 else "tf32",
    }  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """One call: the memory's choices, where its rows lie, and what to keep.

    ``remember`` keeps the state of every border for the backward pass, instead of computing them again.
    """

    rule: MemoryRule
    layout: Layout
    products: torch.dtype
    aligned: bool
    remember: bool

    def launch(self, kernel: Any, programs: int, **tensors: Tensor | None) -> None:
        """Run ``kernel``, its arguments taken by name; what a choice leaves out gets a stand-in that is never read."""
        rows, chunk = self.layout, self.layout.chunk
        tile = tiles(kernel.__name__, self.rule, chunk, self.products, capability_of(rows.base.device))
        given = {
            "base": rows.base, "length": rows.length, "first": rows.first, "row_of": rows.row_of, **tensors,
            **constants_of(self.rule, chunk, self.products, self.aligned),
        }  # fmt: skip
        given["BE"] = min(tile.block, given["E"])
        stand_in = tensors["theta"] if "theta" in tensors else tensors["k"]
        assert stand_in is not None
        arguments = {n: stand_in if given[n] is None else given[n] for n in kernel.arg_names}
        with torch.cuda.device(stand_in.device) if stand_in.is_cuda else nullcontext():
            kernel[(programs,)](**arguments, num_warps=tile.warps, num_stages=tile.stages)


@dataclass
class Pass:
    """What the write pass leaves: coefficients, states (borders, size), errors and outputs of the keys (tokens, V)."""

    g: Tensor
    fade: Tensor
    share: Tensor
    keep: Tensor
    states: Tensor
    delta: Tensor
    out: Tensor


def _write(plan: Plan, k: Tensor, v: Tensor, gates: dict[str, Tensor | None], start: Tensor,
           anchor: Tensor | None, threshold: Tensor | None) -> Pass:  # fmt: skip
    rows, chunk = plan.layout, plan.layout.chunk
    g, keep = blank(k, rows.chunks, chunk, chunk), blank(k, rows.chunks, 4)
    fade, share = (blank(k, rows.chunks, 2, chunk) for _ in range(2))
    plan.launch(gates_forward, rows.chunks, g=g, fade=fade, share=share, keep=keep, **gates)
    states = blank(k, rows.chunks + rows.rows, start[0].numel())
    states[rows.borders[0]] = start.flatten(1)
    delta, out = (blank(k, *v.shape) for _ in range(2))
    plan.launch(
        write_forward, rows.rows, k=k, v=v, threshold=threshold, share=share, keep=keep, anchor=anchor, states=states,
        delta=delta, out_k=out,
    )  # fmt: skip
    return Pass(g, fade, share, keep, states, delta, out)


class Memory(torch.autograd.Function):
    """(q, k (tokens, D), v (tokens, V), threshold (tokens,), theta, sums of logarithms, live (chunks, C), start
    (rows, R, size), anchor (rows, size) or None) -> (reads (tokens, V), surprise (tokens,), state (rows, R, size)).
    """

    @staticmethod
    def forward(ctx: Any, plan: Plan, q: Tensor, k: Tensor, v: Tensor, threshold: Tensor | None, theta: Tensor,
                log_keep: Tensor, log_eta: Tensor | None, live: Tensor, start: Tensor,
                anchor: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        rows = plan.layout
        gates = {
            "theta": theta.contiguous(), "logs": pair(log_keep), "live": live,
            "log_eta": None if log_eta is None else pair(log_eta),
        }  # fmt: skip
        write = _write(plan, k, v, gates, start, anchor, threshold)
        y, out_q, surprise = blank(v, *v.shape, dtype=v.dtype), blank(v, *v.shape), blank(v, rows.tokens)
        plan.launch(
            read_forward, rows.chunks, q=q, k=k, g=write.g, fade=write.fade, anchor=anchor, states=write.states,
            delta=write.delta, y=y, out_q=out_q, surprise=surprise,
        )  # fmt: skip
        end = write.states[rows.borders[1]].view_as(start)
        kept = tuple(vars(write).values()) if plan.remember else ()
        ctx.plan = plan
        ctx.save_for_backward(q, k, v, threshold, *gates.values(), start, anchor, out_q, *kept)
        ctx.mark_non_differentiable(surprise)
        ctx.set_materialize_grads(False)
        return y, surprise, end

    @staticmethod
    @first_order
    def backward(ctx: Any, *bars: Tensor | None) -> tuple[Tensor | None, ...]:
        plan, (ybar, _, end_bar) = ctx.plan, bars
        rows, chunk = plan.layout, plan.layout.chunk
        q, k, v, threshold, theta, logs, live, log_eta, start, anchor, out_q, *kept = ctx.saved_tensors
        gates = {"theta": theta, "logs": logs, "live": live, "log_eta": log_eta}
        w = Pass(*kept) if kept else _write(plan, k, v, gates, start, anchor, threshold)
        st, size = plan.rule.structure, start[0].numel()
        wide = st.hidden if len(st.shapes) == 2 else st.key_width
        ybar = torch.zeros_like(v) if ybar is None else ybar.contiguous()
        carry = torch.zeros_like(start) if end_bar is None else end_bar.clone(memory_format=torch.contiguous_format)
        qbar, kbar, delta_bar = blank(k, *q.shape, dtype=q.dtype), blank(k, *k.shape), blank(k, *v.shape)
        # as wide as the memory is deep: in the products' type, whose rounding they are about to meet
        hidden = [blank(k, rows.tokens, wide, dtype=plan.products) for _ in st.shapes]
        state_bar = blank(k, rows.chunks, size)
        theta_bar, log_bar = blank(k, rows.chunks, chunk), blank(k, rows.chunks, chunk)
        eta_bar = None if log_eta is None else blank(k, rows.chunks, chunk)
        common = {
            "k": k, "anchor": anchor, "states": w.states, "delta": w.delta, "deltabar": delta_bar, "kbar": kbar,
            "inputbar": hidden[0], "hiddenbar": hidden[-1], "statebar": state_bar,
        }  # fmt: skip
        g_bar, fade_bar = blank(k, *w.g.shape), blank(k, *w.fade.shape)
        reads = {"q": q, "g": w.g, "fade": w.fade, "ybar": ybar, "qbar": qbar, "g_bar": g_bar}
        plan.launch(read_backward_last, rows.chunks, **reads, **common, out_q=out_q, fade_bar=fade_bar)
        if len(st.shapes) == 2:
            plan.launch(read_backward_first, rows.chunks, **reads, **common)
        vbar, share_bar, keep_bar = blank(v, *v.shape, dtype=v.dtype), blank(k, *w.share.shape), blank(k, *w.keep.shape)
        threshold_bar = None if threshold is None else blank(k, *threshold.shape)
        anchor_bar = None if anchor is None else blank(k, *anchor.shape)
        plan.launch(
            write_backward, rows.rows, v=v, threshold=threshold, share=w.share, keep=w.keep, out_k=w.out, carry=carry,
            vbar=vbar, threshold_bar=threshold_bar, share_bar=share_bar, keep_bar=keep_bar, anchor_bar=anchor_bar,
            **common,
        )  # fmt: skip
        plan.launch(
            gates_backward, rows.chunks, **gates, g_bar=g_bar, fade_bar=fade_bar, share_bar=share_bar,
            keep_bar=keep_bar, theta_bar=theta_bar, log_bar=log_bar, eta_bar=eta_bar,
        )  # fmt: skip
        eta = None if eta_bar is None else eta_bar.double()
        return (
            None, qbar, kbar.to(k.dtype), vbar, threshold_bar, theta_bar, log_bar.double(), eta, None, carry, anchor_bar
        )  # fmt: skip


def memory(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    gates: Gates,
    state: MemoryState,
    *,
    rule: MemoryRule,
    chunk_size: int,
    products: torch.dtype = torch.float32,
) -> tuple[Tensor, Tensor, MemoryState]:
    """Same arguments and results as `chunkwise_with_surprise`, for what `limits.refusal` lets pass.

    ``products`` is the type of the operands of matrix products; sums, states and coefficients are float32.
    """
    check_inputs(q, k, v, gates, state, rule, chunk_size)
    reads, surprises = [q.new_empty(*q.shape[:2], 0, v.shape[-1])], [q.new_empty(*q.shape[:2], 0)]
    size = state.weights[0, 0].numel() * (2 if rule.momentum else 1)
    longest = max(1, _STATES // (4 * size * q.shape[0] * q.shape[1])) * chunk_size
    pieces = list(_stretches(state.position, q.shape[2], chunk_size, longest))
    remember = sum(width == chunk_size for *_, width in pieces) == 1
    for start, stop, _ in pieces:
        cut = slice(start, stop)
        y, surprise, state = _piece(
            q[:, :, cut], k[:, :, cut], v[:, :, cut], gates.slice(start, stop), state, rule, chunk_size, products,
            remember,
        )  # fmt: skip
        reads.append(y)
        surprises.append(surprise)
    return torch.cat(reads, 2), torch.cat(surprises, 2), state


def _piece(q: Tensor, k: Tensor, v: Tensor, gates: Gates, state: MemoryState, rule: MemoryRule, chunk: int,
           products: torch.dtype, remember: bool) -> tuple[Tensor, Tensor, MemoryState]:  # fmt: skip
    """Whole chunks, or a part of one."""
    batch, heads, tokens, _ = q.shape
    rows = batch * heads
    aligned = state.position % chunk == 0
    closes = (state.position + tokens) % chunk == 0
    plan = Plan(rule, equal_rows(rows, tokens, chunk, q.device), products, aligned, remember)
    mask = None if gates.mask is None else gates.mask.unsqueeze(1).expand(batch, heads, tokens)
    anchor = None if aligned else state.anchor.reshape(rows, -1).contiguous()
    y, surprise, end, written = _run(plan, q, k, v, gates, mask, state.weights, state.momentum, anchor)
    weights = end[:, 0].view_as(state.weights)
    after = replace(
        state,
        weights=weights,
        momentum=None if state.momentum is None else end[:, 1].view_as(state.momentum),
        anchor=weights if closes else (state.weights if aligned else state.anchor),
        written=torch.zeros_like(state.written) if closes else state.written + written.view_as(state.written),
        position=state.position + tokens,
    )
    return y, surprise, after


def _run(plan: Plan, q: Tensor, k: Tensor, v: Tensor, gates: Gates, mask: Tensor | None, weights: Tensor,
         momentum: Tensor | None, anchor: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Reads and surprise in v's shape, the state of every row, and theta summed per row."""
    theta, log_keep, log_eta, live = logarithms(gates, mask, plan.layout)
    parts = [weights] if momentum is None else [weights, momentum]
    start = torch.stack([x.reshape(plan.layout.rows, -1) for x in parts], 1)
    threshold = None if gates.threshold is None else gates.threshold.reshape(-1).contiguous()
    flat = (x.reshape(-1, x.shape[-1]).contiguous() for x in (q, k, v))
    y, surprise, end = Memory.apply(plan, *flat, threshold, theta, log_keep, log_eta, live, start, anchor)
    return y.view(v.shape), surprise.view(v.shape[:-1]), end, theta[-plan.layout.rows :].sum(-1)


def packed_memory(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    gates: Gates,
    start: Tensor,
    momentum: Tensor | None,
    *,
    cu_seqlens: Tensor,
    rule: MemoryRule,
    chunk_size: int,
    products: torch.dtype = torch.float32,
) -> tuple[Tensor, Tensor]:
    """Sequences of any length behind each other on one token axis, a memory of its own for each and head.

    Parameters
    ----------
    q, k, v : (1, H, T, D) and (1, H, T, D_v). gates : (1, H, T); mask (1, T).
    start, momentum : state at every sequence's first token, (sequences, H, size).
    cu_seqlens : (sequences + 1,) int, rising from 0 to T.

    Returns
    -------
    y : (1, H, T, D_v), and the state after every sequence, (sequences, H, R, size).
    """
    heads, tokens = q.shape[1:3]
    edges = cu_seqlens.tolist()
    if q.shape[0] != 1 or edges[0] != 0 or edges[-1] != tokens or sorted(set(edges)) != edges:
        raise ShapeError(
            f"packed sequences want batch 1 and cu_seqlens rising from 0 to {tokens} tokens, found batch {q.shape[0]} "
            f"and {edges}"
        )
    if start.shape != (len(edges) - 1, heads, rule.structure.size):
        raise ShapeError(
            f"start must be {(len(edges) - 1, heads, rule.structure.size)} (sequences, heads, fast weights), "
            f"found {tuple(start.shape)}"
        )
    plan = Plan(rule, packed_rows(cu_seqlens.to(q.device), heads, chunk_size), products, True, True)
    mask = None if gates.mask is None else gates.mask.unsqueeze(1).expand(1, heads, tokens)
    y, _, end, _ = _run(plan, q, k, v, gates, mask, start, momentum, None)
    return y, end.unflatten(0, (len(edges) - 1, heads))
