"""The definition: one token at a time, nothing clever. Everything faster is tested against this file.

For each batch row and head, with weights W (dual variable A), running surprise S and anchor A_a:

    r_t = M(W_a; k_t) - v_t                     error at the anchor, W_a = link(A_a)
    u_t = d loss(r_t) / d W  at W_a             surprise
    S_t = eta_t S_{t-1} - theta_t u_t
    A_t = (1 - alpha_t) A_{t-1} + S_t
    y_t = M(W_t; q_t)                           read after write
    at the last token of a chunk: A_t <- border(A_t), A_a <- A_t

W_t is link(A_t) at the last token of a chunk and ``W_a + slope (A_t - A_a)`` before it; for the linear gates
(none, l2) both are A_t. A masked token changes nothing and reads what is there. Sources: Titans (2501.00663)
Eq. 10-16, MIRAS (2504.13173) Eq. 24-32; they differ in names and in constants absorbed by theta.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from titans_seq.ops.checks import check_inputs
from titans_seq.ops.rule import Gates, MemoryRule, MemoryState
from titans_seq.ops.structures import LN_EPS, Structure


def surprise(rule: MemoryRule, dual: Tensor, k: Tensor, v: Tensor, threshold: Tensor | None) -> Tensor:
    """u: gradient of the inner loss at link(dual), flat (..., size), by hand-written back-propagation.

    ``k`` is (..., D), ``v`` (..., D_v), ``threshold`` (..., 1) or None. Written without autograd so that it also
    works under ``no_grad`` and can itself be differentiated.
    """
    s = rule.structure
    weights = [rule.retention.link(a) for a in s.split(dual)]
    inputs, pre = [k.unsqueeze(-2)], []
    for i, (layer, w) in enumerate(zip(s.layers, weights, strict=True)):
        z = layer.forward(inputs[-1], w)
        pre.append(z)
        inputs.append(s.act(z) if i + 1 < len(weights) else z)
    out = inputs.pop()
    delta = rule.error(_finish(s, out, inputs[0]) - v.unsqueeze(-2), v.unsqueeze(-2), _col(threshold))
    if s.normalised:
        delta = _layer_norm_back(delta, out)
    grads: list[Tensor] = []
    for i in reversed(range(len(weights))):
        grads.insert(0, s.layers[i].outer(delta, inputs[i]))
        if i:
            delta = _act_back(s, s.layers[i].back(delta, weights[i]), pre[i - 1])
    return s.join(grads)


def recurrent(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    gates: Gates,
    state: MemoryState,
    *,
    rule: MemoryRule,
    chunk_size: int,
) -> tuple[Tensor, MemoryState]:
    """Read ``T`` tokens and write them into the memory, one by one.

    Parameters
    ----------
    q, k : (B, H, T, D). v : (B, H, T, D_v).
    gates : learning rate and the rest, (B, H, T).
    state : what earlier tokens left; its position may lie inside a chunk.
    rule, chunk_size : the memory's choices. Borders sit at absolute positions 0, C, 2C, ...

    Returns
    -------
    y : (B, H, T, D_v), and the state after the last token.
    """
    check_inputs(q, k, v, gates, state, rule, chunk_size)
    a, s, anchor, written = state.weights, state.momentum, state.anchor, state.written
    reads = []
    for t in range(q.shape[2]):
        live = True if gates.mask is None else gates.mask[:, None, t, None]
        theta = gates.learning_rate[:, :, t, None]
        delta = None if gates.threshold is None else gates.threshold[:, :, t, None]
        u = surprise(rule, anchor, k[:, :, t], v[:, :, t], delta)
        step = -theta * u
        if gates.momentum is not None and s is not None:
            step = gates.momentum[:, :, t, None] * s + step
            s = _where(live, step, s)
        kept = a if gates.forget is None else (1 - gates.forget[:, :, t, None]) * a
        a = _where(live, kept + step, a)
        written = written + _where(live, theta, torch.zeros_like(theta)).squeeze(-1)
        if (state.position + t + 1) % chunk_size == 0:
            a = _per_layer(rule, rule.retention.border, a, written=written)
            anchor, written = a, torch.zeros_like(written)
            w = _per_layer(rule, rule.retention.link, a)
        else:
            slope = _per_layer(rule, rule.retention.slope, anchor)
            w = _per_layer(rule, rule.retention.link, anchor) + slope * (a - anchor)
        reads.append(rule.structure.apply(w, q[:, :, t, None]))
    y = torch.cat(reads, 2) if reads else torch.zeros_like(v)
    after = replace(state, weights=a, momentum=s, anchor=anchor, written=written, position=state.position + q.shape[2])
    return y, after


def _per_layer(rule: MemoryRule, fn: Callable[..., Tensor], dual: Tensor, *, written: Tensor | None = None) -> Tensor:
    """``fn`` of every layer's matrix, flat again."""
    more = () if written is None else (written[..., None, None],)
    return rule.structure.join([fn(a, *more).expand_as(a) for a in rule.structure.split(dual)])


def _where(live: Tensor | bool, new: Tensor, old: Tensor) -> Tensor:
    return new if live is True else torch.where(torch.as_tensor(live), new, old)


def _col(threshold: Tensor | None) -> Tensor | None:
    return None if threshold is None else threshold.unsqueeze(-2)


def _finish(s: Structure, out: Tensor, key: Tensor) -> Tensor:
    if s.normalised:
        out = torch.nn.functional.layer_norm(out, out.shape[-1:], eps=LN_EPS)
    return out + key if s.residual else out


def _layer_norm_back(e: Tensor, x: Tensor) -> Tensor:
    var, mean = torch.var_mean(x, -1, correction=0, keepdim=True)
    rstd = (var + LN_EPS).rsqrt()
    xhat = (x - mean) * rstd
    return rstd * (e - e.mean(-1, keepdim=True) - xhat * (e * xhat).mean(-1, keepdim=True))


def _act_back(s: Structure, t: Tensor, z: Tensor) -> Tensor:
    if s.activation == "gelu":
        slope = 0.5 * (1 + torch.erf(z / 2**0.5)) + z * torch.exp(-0.5 * z * z) * 0.3989422804014327
    else:
        slope = torch.sigmoid(z) * (1 + z * (1 - torch.sigmoid(z)))
    return t * slope
