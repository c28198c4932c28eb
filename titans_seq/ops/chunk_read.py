"""The read pass of the dual form: every token's read, for all chunks at once.

With A, S the state at the start of a chunk, a_j and d_j the inputs and errors of a layer for the chunk's keys, and
h_t the queries that enter it:

    z_t = beta_t A h_t + f_t S h_t - sum_{j<=t} G[t,j] <a_j, h_t> d_j

Non-linear gates read ``W_t = W_a + slope (A_t - A_a)`` inside the chunk, which has the same form with A, S and d
scaled by the slope, and ``link(A_C)`` at its last token.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from titans_seq.ops.chunk_adjoint import ReadAdjoints
from titans_seq.ops.chunk_write import KeyPath, Trace
from titans_seq.ops.coefficients import Coefficients
from titans_seq.ops.rule import MemoryRule
from titans_seq.ops.structures import layer_norm, layer_norm_back


@dataclass
class Reader:
    """The state, a constant part and the errors as the reads see them, per layer."""

    state: list[Tensor]
    constant: list[Tensor]
    deltas: list[Tensor]


def read_forward(
    rule: MemoryRule, q: Tensor, c: Coefficients, trace: Trace, path: KeyPath, *, closes: bool
) -> tuple[Tensor, list[Tensor], list[Tensor | None]]:
    """Reads y (n, N, C, D_v), the layers' outputs for the queries, and what their adjoints want kept."""
    st, depth = rule.structure, len(rule.structure.shapes)
    reader, minus = _reader(rule, trace, path), -c.g
    h, pre, kept = q, [], []
    for j, layer in enumerate(st.layers):
        z, keep = layer.read(h, c.fade, reader.state[j])
        if reader.constant:
            z.add_(layer.forward(h, reader.constant[j]))
        z.add_(layer.recall(h, path.inputs[j], reader.deltas[j], minus))
        pre.append(z)
        kept.append(keep)
        h = st.act(z) if j + 1 < depth else z
    y = layer_norm(h)[0] if st.normalised else h.clone()
    if st.residual:
        y.add_(q)
    for rows, weights in _closing(rule, trace, closes):
        y[rows, :, -1:] = st.apply(st.join(weights), q[rows, :, -1:])
    return y, pre, kept


def read_backward(
    rule: MemoryRule,
    q: Tensor,
    c: Coefficients,
    trace: Trace,
    path: KeyPath,
    pre: list[Tensor],
    kept: list[Tensor | None],
    ybar: Tensor,
    *,
    closes: bool,
) -> tuple[Tensor, ReadAdjoints, Tensor, Tensor]:
    """Adjoints of q, of what the write pass left, of ``g`` and of ``fade``."""
    st, depth = rule.structure, len(rule.structure.shapes)
    act, reader, minus = st.act, _reader(rule, trace, path), -c.g
    qbar, groups = torch.zeros_like(q), _closing(rule, trace, closes)
    closing = [] if rule.retention.linear else [torch.zeros_like(w) for w in trace.weights]
    if groups:
        ybar = ybar.clone()
    for rows, weights in groups:
        with torch.enable_grad():
            leaves = [w.detach().requires_grad_() for w in weights]
            x = q[rows, :, -1:].detach().requires_grad_()
            *bars, qbar[rows, :, -1:] = torch.autograd.grad(
                st.apply(st.join(leaves), x), [*leaves, x], ybar[rows, :, -1:]
            )
        for total, bar in zip(closing, bars, strict=True):
            total[rows] = bar
        ybar[rows, :, -1:] = 0
    zbar = ybar.contiguous()
    if st.normalised:
        _, mean, rstd = layer_norm(pre[-1])
        zbar = layer_norm_back(zbar, pre[-1], mean, rstd)
    fade_bar, g_bar = torch.zeros_like(c.fade), torch.zeros_like(c.g)
    states_bar, constants_bar, inputs_bar, deltas_bar = ([torch.empty(0)] * depth for _ in range(4))
    for j in reversed(range(depth)):
        layer, h = st.layers[j], act(pre[j - 1]) if j else q
        hbar, inputs_bar[j], deltas_bar[j], gb = layer.recall_vjp(zbar, h, path.inputs[j], reader.deltas[j], minus)
        g_bar -= gb
        direct, fb, states_bar[j] = layer.read_vjp(zbar, h, c.fade, reader.state[j], kept[j])
        fade_bar += fb
        hbar += direct
        if reader.constant:
            hbar += layer.back(zbar, reader.constant[j])
            constants_bar[j] = layer.outer(zbar, h)
        zbar = act.scaled_slope(hbar, pre[j - 1]) if j else hbar
    qbar += zbar
    if st.residual:
        qbar += ybar
    if rule.retention.linear:
        adj = ReadAdjoints(states_bar, inputs_bar, deltas_bar, [], [], [], [])
    else:
        adj = _unscale(rule, trace, path, states_bar, constants_bar, deltas_bar, inputs_bar, closing)
    return qbar, adj, g_bar, fade_bar


def _reader(rule: MemoryRule, trace: Trace, path: KeyPath) -> Reader:
    n = trace.delta.shape[0]
    state = [s[:n] for s in trace.state]
    if rule.retention.linear:
        return Reader(state, [], path.deltas)
    slopes = [rule.retention.slope(a) for a in trace.anchors]
    return _scaled(rule, state, trace.weights, trace.anchors, slopes, path.deltas)


def _scaled(
    rule: MemoryRule,
    state: list[Tensor],
    weights: list[Tensor],
    anchors: list[Tensor],
    slopes: list[Tensor],
    deltas: list[Tensor],
) -> Reader:
    """``W_a + slope (A_t - A_a)`` in the shape of a linear read."""
    stacks = []
    for layer, slope, stack, part in zip(rule.structure.layers, slopes, state, anchors, strict=True):
        count = stack.numel() // part.numel()
        stacks.append(layer.stack([slope * layer.part(stack, r) for r in range(count)]))
    return Reader(
        stacks,
        [w - s * a for s, w, a in zip(slopes, weights, anchors, strict=True)],
        [d * s[..., 0].unsqueeze(-2) for s, d in zip(slopes, deltas, strict=True)],
    )


def _unscale(
    rule: MemoryRule,
    trace: Trace,
    path: KeyPath,
    states_bar: list[Tensor],
    constants_bar: list[Tensor],
    deltas_bar: list[Tensor],
    inputs_bar: list[Tensor],
    closing: list[Tensor],
) -> ReadAdjoints:
    """Undo `_scaled`: adjoints of state, weights, anchors, slopes and errors from those of the reader."""
    n, depth = trace.delta.shape[0], len(trace.state)
    groups = [
        [s[:n] for s in trace.state], trace.weights, trace.anchors,
        [rule.retention.slope(a) for a in trace.anchors], path.deltas,
    ]  # fmt: skip
    with torch.enable_grad():
        leaves = [[x.detach().requires_grad_() for x in group] for group in groups]
        r = _scaled(rule, *leaves)
        bars = [*states_bar, *constants_bar, *deltas_bar]
        flat = torch.autograd.grad([*r.state, *r.constant, *r.deltas], [x for g in leaves for x in g], bars)
    state, weights, anchors, slopes, deltas = (list(flat[i : i + depth]) for i in range(0, 5 * depth, depth))
    return ReadAdjoints(state, inputs_bar, deltas, weights, slopes, anchors, closing)


def _closing(rule: MemoryRule, trace: Trace, closes: bool) -> list[tuple[slice, list[Tensor]]]:
    """Chunks, and the weights that their last token reads; none for linear gates, which need no such care."""
    if rule.retention.linear:
        return []
    n = trace.delta.shape[0]
    groups = []
    if n > 1:
        groups.append((slice(0, n - 1), [w[1:] for w in trace.weights]))
    if closes:
        groups.append(
            (
                slice(n - 1, n),
                [
                    rule.retention.link(layer.part(s[n:], 0))
                    for layer, s in zip(rule.structure.layers, trace.state, strict=True)
                ],
            )
        )
    return groups
