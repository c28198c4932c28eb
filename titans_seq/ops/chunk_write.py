"""The write pass of the dual form: the state at every chunk border, one chunk after another.

This is the only sequential part of the chunk form, so it computes no more than the next border needs: keys
through the anchor's network, errors back through it, and one product per layer that adds the weighted surprises to
A and S. Its backward pass is in `chunk_adjoint`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from titans_seq.ops.coefficients import Coefficients
from titans_seq.ops.rule import MemoryRule
from titans_seq.ops.structures import layer_norm, layer_norm_back


@dataclass
class Trace:
    """What the write pass leaves, one entry per layer.

    ``state``: the stacks of A, and S where there is momentum, at the n + 1 borders. ``anchors`` and ``weights``
    (n, N, out, in): A_a and link(A_a) of every chunk. ``unclosed`` (n, N, out, in): A just before a border, empty for
    linear gates. ``pre`` (n, N, C, out): outputs for the keys. ``carried`` (hidden layers only): errors before the
    activation's slope. ``delta`` (n, N, C, D_v): errors at the last layer.
    """

    state: list[Tensor]
    anchors: list[Tensor]
    weights: list[Tensor]
    unclosed: list[Tensor]
    pre: list[Tensor]
    carried: list[Tensor]
    delta: Tensor


@dataclass
class KeyPath:
    """Inputs of every layer and errors at every layer's output, for the keys of all chunks."""

    inputs: list[Tensor]
    deltas: list[Tensor]


def residue(rule: MemoryRule, out: Tensor, target: Tensor) -> Tensor:
    """r = M(k) - v, from the last layer's output and ``target`` = v, less k where the structure adds it."""
    return (layer_norm(out)[0] if rule.structure.normalised else out) - target


def target_of(rule: MemoryRule, k: Tensor, v: Tensor) -> Tensor:
    """What the last layer's output is compared with: v, less the key where the structure adds it."""
    return v - k if rule.structure.residual else v


def write_forward(
    rule: MemoryRule,
    k: Tensor,
    v: Tensor,
    threshold: Tensor | None,
    c: Coefficients,
    start: list[Tensor],
    anchor: list[Tensor] | None,
    *,
    closes: bool,
) -> tuple[Trace, KeyPath]:
    """Write ``n`` chunks.

    Parameters
    ----------
    k, v : (n, N, C, D) and (n, N, C, D_v). threshold : (n, N, C, 1).
    start : per layer the stack of A and S.
    anchor : per layer (N, out, in) where the call starts inside a chunk (then n = 1), else None.
    closes : whether the last chunk is complete.
    """
    st, gate = rule.structure, rule.retention
    layers, act, depth = st.layers, st.act, len(st.shapes)
    n, rows, size, _ = k.shape
    states = [k.new_empty(n + 1, *s.shape) for s in start]
    for state, s in zip(states, start, strict=True):
        state[0] = s
    duals = [layer.part(s[:n], 0) for layer, s in zip(layers, states, strict=True)]
    anchors = duals if anchor is None else [a.unsqueeze(0) for a in anchor]
    weights = anchors if gate.linear else [torch.empty_like(a, memory_format=torch.contiguous_format) for a in anchors]
    unclosed = [] if gate.linear else [torch.empty_like(a, memory_format=torch.contiguous_format) for a in duals]
    pre = [k.new_empty(n, rows, *st.output_shape(j, size)) for j in range(depth)]
    hidden = [torch.empty_like(z) for z in pre[:-1]]
    carried = [torch.empty_like(z) for z in pre[:-1]]
    deltas = [torch.empty_like(z) for z in pre]
    target = target_of(rule, k, v)
    keep = [layer.per_part(c.keep) for layer in layers]
    push = None if c.push is None else c.push[..., None, None]
    for i in range(n):
        if not gate.linear:
            for j in range(depth):
                weights[j][i] = gate.link(anchors[j][i])
        inputs = [k[i]]
        for j in range(depth):
            layers[j].forward(inputs[-1], weights[j][i], out=pre[j][i])
            if j + 1 < depth:
                inputs.append(act(pre[j][i], out=hidden[j][i]))
        out, at = pre[-1][i], None if threshold is None else threshold[i]
        if st.normalised:
            normal, mean, rstd = layer_norm(out)
            deltas[-1][i] = layer_norm_back(rule.error(normal - target[i], v[i], at), out, mean, rstd)
        else:
            deltas[-1][i] = rule.error(out - target[i], v[i], at)
        for j in reversed(range(depth)):
            old, new = states[j][i], states[j][i + 1]
            torch.mul(old, keep[j][i], out=new)
            if push is not None:
                layers[j].part(new, 0).addcmul_(layers[j].part(old, 1), push[i])
            layers[j].write_(new, deltas[j][i], inputs[j], c.share[i])
            if j:
                layers[j].back(deltas[j][i], weights[j][i], out=carried[j - 1][i])
                act.scaled_slope(carried[j - 1][i], pre[j - 1][i], out=deltas[j - 1][i])
            if not gate.linear and (closes or i + 1 < n):
                dual = layers[j].part(new, 0)
                unclosed[j][i] = dual
                dual.copy_(gate.border(dual, c.written[i, :, None, None]))
    trace = Trace(states, anchors, weights, unclosed, pre, carried, deltas[-1])
    return trace, KeyPath([k, *hidden], deltas)
