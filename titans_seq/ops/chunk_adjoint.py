"""The write pass, backwards: adjoints from the last border to the first.

Everything that does not depend on the recursion (activations, slopes, errors) is prepared for all chunks at once;
what remains per chunk is about twice the write pass's matrix products.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from titans_seq.ops.chunk_write import KeyPath, Trace, residue, target_of
from titans_seq.ops.coefficients import Coefficients
from titans_seq.ops.rule import MemoryRule
from titans_seq.ops.structures import layer_norm, layer_norm_back


@dataclass
class ReadAdjoints:
    """What the reads send back, per layer: adjoints of ``state`` (stacks) at the start of every chunk, of
    the key path's ``inputs`` and ``deltas``, and, for non-linear gates, of ``weights``, ``slopes``, ``anchors`` and
    ``closing`` (the weights that the last token of every chunk reads)."""

    state: list[Tensor]
    inputs: list[Tensor]
    deltas: list[Tensor]
    weights: list[Tensor]
    slopes: list[Tensor]
    anchors: list[Tensor]
    closing: list[Tensor]


@dataclass
class WriteAdjoints:
    """Adjoints of everything that entered `write_forward`."""

    k: Tensor
    v: Tensor
    threshold: Tensor | None
    share: Tensor
    keep: Tensor
    push: Tensor | None
    written: Tensor
    start: list[Tensor]
    anchor: list[Tensor]


def write_backward(
    rule: MemoryRule,
    v: Tensor,
    threshold: Tensor | None,
    c: Coefficients,
    trace: Trace,
    path: KeyPath,
    slopes: list[Tensor],
    bends: list[Tensor],
    adj: ReadAdjoints,
    end: list[Tensor],
    *,
    closes: bool,
    aligned: bool,
) -> WriteAdjoints:
    """Walk the chunks backwards.

    ``slopes`` and ``bends`` are act'(pre) and act''(pre) * carried per hidden layer; ``end`` the adjoints of the final
    stacks; ``aligned`` tells that the first anchor is the first state itself, so that its adjoint joins ``start``.
    """
    st, gate = rule.structure, rule.retention
    layers, depth = st.layers, len(st.shapes)
    k, out = path.inputs[0], trace.pre[-1]
    n, width = k.shape[0], out.shape[-1]
    gap = residue(rule, out, target_of(rule, k, v))
    if st.normalised:
        normal, mean, rstd = layer_norm(out)
        err = rule.error(gap, v, threshold)
        along = (torch.linalg.vecdot(err, normal) / width).unsqueeze(-1)
        err, along = err * -rstd, along * -rstd
    keep = [layer.per_part(c.keep) for layer in layers]
    push = None if c.push is None else c.push[..., None, None]
    kbar, vbar = torch.empty_like(k), torch.empty_like(v)
    tbar = None if threshold is None else torch.zeros_like(threshold)
    share_bar, keep_bar = torch.zeros_like(c.share), torch.zeros_like(c.keep)
    push_bar = None if c.push is None else torch.zeros_like(c.push)
    written_bar = torch.zeros_like(c.written)
    x = end
    if not gate.linear and closes:
        for j in range(depth):
            dual = layers[j].part(trace.state[j][n], 0)
            layers[j].part(x[j], 0).add_(_vjp(gate.link, [dual], adj.closing[j][n - 1])[0])
    anchor_bar: list[Tensor] = []

    for i in reversed(range(n)):
        if not gate.linear and (closes or i + 1 < n):
            for j in range(depth):
                before, xa = [trace.unclosed[j][i], c.written[i, :, None, None]], layers[j].part(x[j], 0)
                abar, wb = _vjp(gate.border, before, xa)
                xa.copy_(abar)
                written_bar[i] += wb[:, 0, 0]
        # through the weighted sums of surprises
        dbar, ibar = [], []
        for j in range(depth):
            d, a = path.deltas[j][i], path.inputs[j][i]
            db, ib, sb = layers[j].write_vjp(x[j], d, a, c.share[i], adj.deltas[j][i], adj.inputs[j][i])
            share_bar[i] += sb
            dbar.append(db)
            ibar.append(ib)
        # through the errors' way back
        zbar, wbar = [], [torch.empty(0)] * depth
        for j in range(depth - 1):
            t = dbar[j] * slopes[j][i]
            zbar.append(dbar[j].mul_(bends[j][i]))
            layers[j + 1].add_forward_(dbar[j + 1], t, trace.weights[j + 1][i])
            wbar[j + 1] = layers[j + 1].outer(path.deltas[j + 1][i], t)
        top, at = dbar[-1], None if threshold is None else threshold[i]
        if st.normalised:
            ebar = layer_norm_back(top, out[i], mean[i], rstd[i])
            rbar, vb, tb = rule.error_vjp(gap[i], v[i], at, ebar)
            share_n = torch.linalg.vecdot(top, normal[i]).unsqueeze(-1) / width
            inner = (along[i] * top).addcmul_(share_n, err[i])
            inner = inner if rbar is None else inner + rbar
            scale = torch.linalg.vecdot(top, path.deltas[-1][i]).unsqueeze(-1) * (rstd[i] / -width)
            zbar.append(layer_norm_back(inner, out[i], mean[i], rstd[i]).addcmul_(scale, normal[i]))
        else:
            rbar, vb, tb = rule.error_vjp(gap[i], v[i], at, top)
            zbar.append(torch.zeros_like(top) if rbar is None else rbar)
        # through the keys' way forward
        for j in reversed(range(depth)):
            if j == 0:
                wbar[j] = layers[j].outer(zbar[j], path.inputs[j][i])
            else:
                layers[j].add_outer_(wbar[j], zbar[j], path.inputs[j][i])
            layers[j].add_back_(ibar[j], zbar[j], trace.weights[j][i])
            if j:
                zbar[j - 1].addcmul_(ibar[j], slopes[j - 1][i])
        kbar[i] = ibar[0]
        vbar[i] = 0 if vb is None else vb
        if rbar is not None:
            vbar[i] -= rbar
            if st.residual:
                kbar[i] += rbar
        if tbar is not None and tb is not None:
            tbar[i] = tb
        # the recursion itself
        anchor_bar = []
        for j in range(depth):
            old, layer = trace.state[j][i], layers[j]
            keep_bar[i] += layer.inner_products(x[j], old)
            new = torch.addcmul(adj.state[j][i], x[j], keep[j][i])
            if push is not None and push_bar is not None:
                xa = layer.part(x[j], 0)
                push_bar[i] += (xa * layer.part(old, 1)).sum((-2, -1))
                layer.part(new, 1).addcmul_(xa, push[i])
            ab = wbar[j]
            if not gate.linear:
                ab = ab + adj.weights[j][i]
                if i:
                    ab = ab + adj.closing[j][i - 1]
                a = trace.anchors[j][i]
                ab = _vjp(gate.link, [a], ab)[0] + _vjp(gate.slope, [a], adj.slopes[j][i])[0] + adj.anchors[j][i]
            if i or aligned:
                layer.part(new, 0).add_(ab)
            anchor_bar.append(ab)
            x[j] = new
    return WriteAdjoints(kbar, vbar, tbar, share_bar, keep_bar, push_bar, written_bar, x, anchor_bar)


def _vjp(fn: object, args: list[Tensor], bar: Tensor) -> list[Tensor]:
    """Adjoints of a gate's function with respect to its arguments; zero where it does not depend on one."""
    assert callable(fn)
    with torch.enable_grad():
        leaves = [a.detach().requires_grad_() for a in args]
        value = fn(*leaves)
        if not value.requires_grad:
            return [torch.zeros_like(a) for a in args]
        grads = torch.autograd.grad(value, leaves, bar, allow_unused=True)
    return [torch.zeros_like(a) if g is None else g for g, a in zip(grads, args, strict=True)]
