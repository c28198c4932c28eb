"""The dual form: the recurrence of `recurrent`, a chunk at a time, with an own backward pass.

Matrix products only; nothing of the size (tokens x fast weights) exists. Forward and backward follow design 3.2; the
gates become coefficients under autograd (`coefficients`), the rest is one `torch.autograd.Function` per stretch of
chunks: a write pass from border to border, then a read pass over all chunks of the stretch at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from titans_seq.ops.checks import check_inputs
from titans_seq.ops.chunk_adjoint import write_backward
from titans_seq.ops.chunk_read import read_backward, read_forward
from titans_seq.ops.chunk_write import KeyPath, Trace, write_forward
from titans_seq.ops.coefficients import Coefficients, coefficients
from titans_seq.ops.rule import Gates, MemoryRule, MemoryState

# Row-tokens whose reads are made together on a CPU: long enough to fill the matrix products, short enough for the
# cache. Accelerators want as many as there are.
_STRETCH = 2048


def chunkwise(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    gates: Gates,
    state: MemoryState,
    *,
    rule: MemoryRule,
    chunk_size: int,
) -> tuple[Tensor, MemoryState]:
    """Same arguments, results and gradients as `titans_seq.ops.recurrent`, hundreds of times faster.

    Returns
    -------
    y : (B, H, T, D_v), and the state after the last token.
    """
    y, _, after = chunkwise_with_surprise(q, k, v, gates, state, rule=rule, chunk_size=chunk_size)
    return y, after


def chunkwise_with_surprise(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    gates: Gates,
    state: MemoryState,
    *,
    rule: MemoryRule,
    chunk_size: int,
) -> tuple[Tensor, Tensor, MemoryState]:
    """`chunkwise`, and the length ``||u_t||`` of every token's surprise, (B, H, T), outside the graph."""
    check_inputs(q, k, v, gates, state, rule, chunk_size)
    tokens = q.shape[2]
    reads, surprises = [q.new_empty(*q.shape[:2], 0, v.shape[-1])], [q.new_empty(*q.shape[:2], 0)]
    with torch.autocast(q.device.type, enabled=False):
        for start, stop, width in _stretches(state.position, tokens, chunk_size, _longest(q)):
            cut = slice(start, stop)
            y, surprise, state = _stretch(
                q[:, :, cut], k[:, :, cut], v[:, :, cut], gates.slice(start, stop), state, rule, width, chunk_size
            )
            reads.append(y)
            surprises.append(surprise)
    return torch.cat(reads, 2), torch.cat(surprises, 2), state


def _longest(q: Tensor) -> int:
    """Most tokens in one stretch."""
    return _STRETCH // (q.shape[0] * q.shape[1]) if q.device.type == "cpu" else 16 * _STRETCH


def _stretches(position: int, tokens: int, chunk: int, longest: int) -> Iterator[tuple[int, int, int]]:
    """(start, stop, chunk length) of pieces that are whole chunks, or part of one chunk at either end."""
    at = 0
    while at < tokens:
        room = chunk - (position + at) % chunk
        whole = (tokens - at) // chunk * chunk
        if room < chunk or whole == 0:
            width = min(room, tokens - at)
            yield at, at + width, width
            at += width
        else:
            step = min(whole, max(longest // chunk, 1) * chunk)
            yield at, at + step, chunk
            at += step


def _stretch(
    q: Tensor, k: Tensor, v: Tensor, gates: Gates, state: MemoryState, rule: MemoryRule, width: int, chunk: int
) -> tuple[Tensor, Tensor, MemoryState]:
    """Read and write ``n`` chunks of ``width`` tokens (n = 1 where width < chunk)."""
    batch, heads, tokens, _ = q.shape
    n, rows = tokens // width, batch * heads

    def lay(x: Tensor) -> Tensor:  # (B, H, T, ...) -> (n, B H, width, ...)
        return x.reshape(rows, n, width, *x.shape[3:]).transpose(0, 1).contiguous()

    def unlay(x: Tensor) -> Tensor:
        return x.transpose(0, 1).reshape(batch, heads, tokens, *x.shape[3:])

    mask = gates.mask
    if mask is not None:
        mask = lay(mask.unsqueeze(1).expand(batch, heads, tokens))
    c = coefficients(
        Gates(
            lay(gates.learning_rate),
            None if gates.forget is None else lay(gates.forget),
            None if gates.momentum is None else lay(gates.momentum),
            None,
            mask,
        )
    )
    threshold = None if gates.threshold is None else lay(gates.threshold).unsqueeze(-1)
    closes = (state.position + tokens) % chunk == 0
    pending = state.written.reshape(rows)
    written = torch.cat([(pending + c.written[0]).unsqueeze(0), c.written[1:]])
    rows_of_state = [state.weights] if state.momentum is None else [state.weights, state.momentum]
    start = torch.stack([x.reshape(rows, -1) for x in rows_of_state], 1)
    aligned = state.position % chunk == 0
    anchor = None if aligned else state.anchor.reshape(rows, -1)
    y, surprise, end = _Stretch.apply(
        rule, closes, lay(q), lay(k), lay(v), threshold, c.g, c.fade, c.share, c.keep, c.push, written, start, anchor
    )
    weights = end[:, 0].view_as(state.weights)
    after = replace(
        state,
        weights=weights,
        momentum=None if state.momentum is None else end[:, 1].view_as(state.momentum),
        anchor=weights if closes else (state.weights if aligned else state.anchor),
        written=torch.zeros_like(state.written) if closes else written[-1].view_as(state.written),
        position=state.position + tokens,
    )
    return unlay(y), unlay(surprise), after


class _Stretch(torch.autograd.Function):
    """n chunks: (q, k, v, coefficients, state) -> (reads, length of the surprise, state)."""

    @staticmethod
    def forward(ctx: Any, rule: MemoryRule, closes: bool, q: Tensor, k: Tensor, v: Tensor, threshold: Tensor | None,
                g: Tensor, fade: Tensor, share: Tensor, keep: Tensor, push: Tensor | None, written: Tensor,
                start: Tensor, anchor: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        c, st = Coefficients(g, fade, share, keep, push, written), rule.structure
        anchors = None if anchor is None else st.split(anchor)
        trace, path = write_forward(rule, k, v, threshold, c, _stacks(rule, start), anchors, closes=closes)
        y, pre, kept = read_forward(rule, q, c, trace, path, closes=closes)
        squares = [la.squared_length(d, a) for la, d, a in zip(st.layers, path.deltas, path.inputs, strict=True)]
        surprise = torch.stack(squares).sum(0).sqrt_()
        arguments = [q, k, v, threshold, g, fade, share, keep, push, written, trace.delta]
        groups: list[list[Any]] = [arguments, trace.state, trace.unclosed, trace.pre, trace.carried, pre, kept]
        # Anchors and weights are views of the state unless the gate is non-linear or the call starts inside a chunk.
        groups += [[] if anchor is None else trace.anchors, [] if rule.retention.linear else trace.weights]
        ctx.rule, ctx.closes, ctx.sizes = rule, closes, [len(group) for group in groups]
        ctx.save_for_backward(*(x for group in groups for x in group))
        ctx.mark_non_differentiable(surprise)
        ctx.set_materialize_grads(False)
        return y, surprise, _unstack(rule, [s[-1] for s in trace.state])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        ybar, _, end_bar = grads
        saved, groups = iter(ctx.saved_tensors), []
        for size in ctx.sizes:
            groups.append([next(saved) for _ in range(size)])
        q, k, v, threshold, g, fade, share, keep, push, written, delta = groups[0]
        _, state, unclosed, pre_k, carried, pre_q, kept, anchors, weights = groups
        rule, st, closes, aligned = ctx.rule, ctx.rule.structure, ctx.closes, not anchors
        c = Coefficients(g, fade, share, keep, push, written)
        anchors = anchors or [layer.part(s[:-1], 0) for layer, s in zip(st.layers, state, strict=True)]
        trace = Trace(state, anchors, weights or anchors, unclosed, pre_k, carried, delta)
        inputs, slopes, bends = [k], [], []
        for z, t in zip(pre_k, carried, strict=False):
            value, slope, bend = st.act.expansion(z)
            inputs.append(value)
            slopes.append(slope)
            bends.append(bend.mul_(t))
        path = KeyPath(inputs, [*(t * s for t, s in zip(carried, slopes, strict=True)), delta])
        ybar = torch.zeros_like(v) if ybar is None else ybar
        if end_bar is None:
            end = [torch.zeros_like(s[-1]) for s in state]
        else:
            end = [e.clone() for e in _stacks(rule, end_bar)]
        qbar, adj, g_bar, fade_bar = read_backward(rule, q, c, trace, path, pre_q, kept, ybar, closes=closes)
        w = write_backward(rule, v, threshold, c, trace, path, slopes, bends, adj, end, closes=closes, aligned=aligned)
        return (
            None, None, qbar, w.k, w.v, w.threshold, g_bar, fade_bar, w.share, w.keep, w.push, w.written,
            _unstack(rule, w.start), None if aligned else st.join(w.anchor),
        )  # fmt: skip


def _stacks(rule: MemoryRule, flat: Tensor) -> list[Tensor]:
    """Flat states (N, R, size) as one stack per layer."""
    parts = rule.structure.split(flat)
    return [layer.stack(list(p.unbind(1))) for layer, p in zip(rule.structure.layers, parts, strict=True)]


def _unstack(rule: MemoryRule, stacks: list[Tensor]) -> Tensor:
    """The inverse of `_stacks`."""
    st = rule.structure
    count = stacks[0].numel() // (stacks[0].shape[0] * st.shapes[0][0] * st.shapes[0][1])
    rows = [[layer.part(s, r) for layer, s in zip(st.layers, stacks, strict=True)] for r in range(count)]
    return torch.stack([st.join(row) for row in rows], 1)
