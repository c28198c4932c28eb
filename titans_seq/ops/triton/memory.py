"""The kernels behind the public calls: what comes in is cut into pieces and laid out, and a non-linear gate's start
is linked, all in differentiable torch; the pieces run in `operation`."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from titans_seq.errors import ShapeError
from titans_seq.ops.checks import check_inputs
from titans_seq.ops.chunkwise import _stretches
from titans_seq.ops.rule import Gates, MemoryRule, MemoryState
from titans_seq.ops.triton.launch import Plan
from titans_seq.ops.triton.layout import equal_rows, logarithms, packed_rows
from titans_seq.ops.triton.limits import centred
from titans_seq.ops.triton.operation import Memory, Start
from titans_seq.ops.triton.split import Split, check_split

# Bytes of border states held at a time. Longer calls are worked through in stretches, whose backward passes compute
# the states again from the stretch's first.
_STATES = 2**31


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
    split: Split | None = None,
) -> tuple[Tensor, Tensor, MemoryState]:
    """Same arguments and results as `chunkwise_with_surprise`, for what `limits.refusal` lets pass.

    ``products`` is the type of the operands of matrix products; sums, states and coefficients are float32. A state in
    float64, which gates that ask for precision begin with, comes back in float64 but is worked on in float32.
    ``split`` shares the writes of every row between several programs; ConfigError says where it cannot be.
    """
    check_inputs(q, k, v, gates, state, rule, chunk_size)
    check_split(rule, split, rows=q.shape[0] * q.shape[1], device=q.device)
    if state.weights.dtype != torch.float32:
        given = state.weights.dtype
        single = {n: x if x is None or x.dtype == torch.bool else x.float() for n, x in vars(gates).items()}
        y, surprise, state = memory(
            q.float(), k.float(), v.float(), Gates(**single), state.map(Tensor.float), rule=rule, chunk_size=chunk_size,
            products=products, split=split,
        )  # fmt: skip
        return y.to(given), surprise.to(given), state.map(lambda x: x.to(given))
    reads, surprises = [q.new_empty(*q.shape[:2], 0, v.shape[-1])], [q.new_empty(*q.shape[:2], 0)]
    parts = 1 + rule.momentum + (not rule.retention.linear)
    longest = max(1, _STATES // (4 * parts * rule.structure.size * q.shape[0] * q.shape[1])) * chunk_size
    pieces = list(_stretches(state.position, q.shape[2], chunk_size, longest))
    remember = sum(width == chunk_size for *_, width in pieces) == 1
    for start, stop, _ in pieces:
        cut = slice(start, stop)
        y, surprise, state = _piece(
            q[:, :, cut], k[:, :, cut], v[:, :, cut], gates.slice(start, stop), state, rule, chunk_size, products,
            remember, split,
        )  # fmt: skip
        reads.append(y)
        surprises.append(surprise)
    return torch.cat(reads, 2), torch.cat(surprises, 2), state


def _piece(q: Tensor, k: Tensor, v: Tensor, gates: Gates, state: MemoryState, rule: MemoryRule, chunk: int,
           products: torch.dtype, remember: bool,
           split: Split | None) -> tuple[Tensor, Tensor, MemoryState]:  # fmt: skip
    """Whole chunks, or a part of one."""
    batch, heads, tokens, _ = q.shape
    rows, offset = batch * heads, state.position % chunk
    closes = (state.position + tokens) % chunk == 0
    plan = Plan(rule, equal_rows(rows, tokens, chunk, q.device), products, offset, remember, split)
    mask = None if gates.mask is None else gates.mask.unsqueeze(1).expand(batch, heads, tokens)
    ran = _run(plan, q, k, v, gates, mask, state.weights, state.momentum, state.anchor, state.written)
    weights = ran.end[:, 0].view_as(state.weights)
    after = replace(
        state,
        weights=weights,
        momentum=None if state.momentum is None else ran.end[:, 1].view_as(state.momentum),
        anchor=weights if closes else (state.weights if offset == 0 else state.anchor),
        written=torch.zeros_like(state.written) if closes else ran.written[-rows:].view_as(state.written),
        position=state.position + tokens,
    )
    return ran.y, ran.surprise, after


class _Ran(NamedTuple):
    """Reads and surprise in v's shape, the state of every row (rows, R, size), theta summed up to chunks' ends."""

    y: Tensor
    surprise: Tensor
    end: Tensor
    written: Tensor


def _run(plan: Plan, q: Tensor, k: Tensor, v: Tensor, gates: Gates, mask: Tensor | None, weights: Tensor,
         momentum: Tensor | None, anchor: Tensor, pending: Tensor | None) -> _Ran:  # fmt: skip
    """Run one plan. ``anchor`` and ``pending`` (theta since the last border) matter inside a chunk alone."""
    rows = plan.layout
    theta, log_keep, log_eta, live = logarithms(gates, mask, rows)
    written = theta.sum(-1)
    if pending is not None:
        written = written.index_add(0, rows.first, pending.reshape(-1))
    parts = [weights] if momentum is None else [weights, momentum]
    state = torch.stack([x.reshape(rows.rows, -1) for x in parts], 1)
    start = Start(state, None if plan.aligned else anchor.reshape(rows.rows, -1).contiguous())
    if not plan.rule.retention.linear:
        start = _linked(plan, start, written)
    threshold = None if gates.threshold is None else gates.threshold.reshape(-1).contiguous()
    flat = (x.reshape(-1, x.shape[-1]).contiguous() for x in (q, k, v))
    y, surprise, end = Memory.apply(plan, *flat, threshold, theta, log_keep, log_eta, live, *start.tensors())
    return _Ran(y.view(v.shape), surprise.view(v.shape[:-1]), end, written)


def _linked(plan: Plan, start: Start, written: Tensor) -> Start:
    """The start under a non-linear gate: link and slopes of the last border, and the weights that are now read."""
    st, gate, dual = plan.rule.structure, plan.rule.retention, start.state[:, 0]
    border = st.split(dual if start.anchor is None else start.anchor)
    weights, slopes = [gate.link(a) for a in border], [gate.slope(a) for a in border]
    now = None
    if start.anchor is not None:
        steps = zip(weights, slopes, st.split(dual), border, strict=True)
        now = _joined(plan, [w + s * (a - b) for w, s, a, b in steps])
    rows = torch.cat([s.expand(*a.shape[:-1], 1).flatten(-2) for s, a in zip(slopes, border, strict=True)], -1)
    return replace(start, anchor=_joined(plan, weights), now=now, slopes=rows.contiguous(), written=written)


def _joined(plan: Plan, weights: list[Tensor]) -> Tensor:
    """Weights, flat, as the kernels want them (see `borders`)."""
    if centred(plan.rule):
        weights = [*weights[:-1], weights[-1] - weights[-1].mean(-2, keepdim=True)]
    return plan.rule.structure.join(weights)


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
    split: Split | None = None,
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
    check_split(rule, split, rows=(len(edges) - 1) * heads, device=q.device)
    plan = Plan(rule, packed_rows(cu_seqlens.to(q.device), heads, chunk_size), products, 0, True, split)
    mask = None if gates.mask is None else gates.mask.unsqueeze(1).expand(1, heads, tokens)
    ran = _run(plan, q, k, v, gates, mask, start, momentum, start, None)
    return ran.y, ran.end.unflatten(0, (len(edges) - 1, heads))
