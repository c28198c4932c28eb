"""The write pass, backwards: one program per (row, head) walks from the last border to the first.

Per chunk, sweeps over blocks of hidden columns (`write_sweeps`). The first (one per layer) carry the adjoint of the
next border through the weighted sums of surprises and through the errors' way back, which gives the adjoint of the
last layer's errors; the last (one per layer again) carry what follows from it through the keys' way forward, and move
the adjoint to the border before.
"""

from __future__ import annotations

import triton
import triton.language as tl

from titans_seq.ops.triton.borders_adjoint import open_chunk
from titans_seq.ops.triton.parts import error, error_vjp, norm, norm_back, tile
from titans_seq.ops.triton.write_sweeps import (
    first_layer,
    first_outputs,
    first_surprises,
    keys_of_first_surprises,
    last_layer,
    last_surprises,
)


@triton.jit
def last_layer_vjp(
    top, out, target, value, bound,
    V: tl.constexpr, NORMALISED: tl.constexpr, BIAS: tl.constexpr, OPTION: tl.constexpr, SHARPNESS: tl.constexpr,
    MAX_ERROR: tl.constexpr,
):  # fmt: skip
    """Adjoints of the last layer's output, of its target, of v where the bias reads it, and of the threshold.

    ``top`` is the adjoint of its errors; with LayerNorm the errors depend on the output a second time, through the
    norm's Jacobian.
    """
    if NORMALISED:
        normal, rstd = norm(out, V)
        gap = normal - target
        err = error(gap, value, bound, BIAS, OPTION, SHARPNESS, MAX_ERROR)
        ebar = norm_back(top, normal, rstd, V)
        rbar, vbar, tbar = error_vjp(gap, value, bound, ebar, BIAS, OPTION, SHARPNESS, MAX_ERROR)
        along, across = tl.sum(err * normal, 1) / V, tl.sum(top * normal, 1) / V
        inner = rbar - rstd[:, None] * (along[:, None] * top + across[:, None] * err)
        both = tl.sum(top * norm_back(err, normal, rstd, V), 1) / V
        zbar = norm_back(inner, normal, rstd, V) - (both * rstd)[:, None] * normal
    else:
        rbar, vbar, tbar = error_vjp(out - target, value, bound, top, BIAS, OPTION, SHARPNESS, MAX_ERROR)
        zbar = rbar
    return zbar, rbar, vbar, tbar


@triton.jit
def write_backward(
    k, v, threshold, share, keep, anchor, states, delta, out_k, deltabar, inputbar, hiddenbar, statebar,
    carry, kbar, vbar, threshold_bar, share_bar, keep_bar, anchor_bar, weights, weightbar, slopebar, left, right,
    lengths, written_bar, base, length, first, closing,
    D: tl.constexpr, V: tl.constexpr, E: tl.constexpr, BE: tl.constexpr, C: tl.constexpr, DEPTH: tl.constexpr,
    MOMENTUM: tl.constexpr, ALIGNED: tl.constexpr, NORMALISED: tl.constexpr, RESIDUAL: tl.constexpr,
    THRESHOLD: tl.constexpr, ACT: tl.constexpr, BIAS: tl.constexpr, OPTION: tl.constexpr, SHARPNESS: tl.constexpr,
    MAX_ERROR: tl.constexpr, DOT: tl.constexpr, PRECISION: tl.constexpr, RETENTION: tl.constexpr,
    AMOUNT: tl.constexpr, FLOOR: tl.constexpr, NUMBERS: tl.constexpr,
):  # fmt: skip
    """``carry`` (rows, size) holds the adjoint of the last border, and at the end that of the first.

    Adds to ``kbar`` and fills vbar, threshold_bar, share_bar, keep_bar; ``deltabar``, ``inputbar`` and ``hiddenbar``
    are used up. Under a non-linear gate the adjoint of link(A) gathers in ``weightbar`` (or, for an anchor of its own,
    in ``anchor_bar``), and joins that of A where the chunk before closes.
    """
    FIRST: tl.constexpr = E * D if DEPTH == 2 else 0
    SIZE: tl.constexpr = FIRST + V * E
    STRIDE: tl.constexpr = 2 * SIZE if MOMENTUM else SIZE
    LINKED: tl.constexpr = RETENTION != "linear"
    ABOVE: tl.constexpr = E if DEPTH == 2 else 0
    BESIDE: tl.constexpr = D if DEPTH == 2 else 0
    row = tl.program_id(0)
    start, tokens, chunk = tl.load(base + row), tl.load(length + row), tl.load(first + row)
    t, d, w = tl.arange(0, C), tl.arange(0, D), tl.arange(0, V)
    x = carry + row.to(tl.int64) * STRIDE
    n = tl.cdiv(tokens, C)
    for step in tl.range(0, n, disable_licm=True):
        i = n - 1 - step
        c = (chunk + i).to(tl.int64)
        if LINKED:
            opened = tl.zeros((), tl.float32)
            if i < tl.load(closing + row):
                opened = open_chunk(
                    x, states + (c + row + 1) * STRIDE, weightbar + (c + 1) * SIZE, slopebar + (c + 1) * (ABOVE + V),
                    left + c * (ABOVE + V), right + c * (BESIDE + E), lengths + c * 2, i + 1 < n,
                    RETENTION, AMOUNT, FLOOR, D, V, E, DEPTH, NUMBERS,
                )  # fmt: skip
            tl.store(written_bar + c, opened)
            tl.debug_barrier()  # the sweeps read what other threads have carried over the border
        live = i * C + t < tokens
        at = start + i * C
        old = states + (c + row) * STRIDE
        origin, outside = old, old
        if LINKED:
            origin, outside = weights + (c + row) * SIZE, weightbar + c * SIZE
        elif not ALIGNED:
            origin = anchor + row.to(tl.int64) * SIZE
        if not ALIGNED:
            outside = anchor_bar + row.to(tl.int64) * SIZE
        back = statebar + c * STRIDE
        keys, values, errors, tops = k + at * D, v + at * V, delta + at * V, deltabar + at * V
        inputs, hidden, key_bars = inputbar + at * E, hiddenbar + at * E, kbar + at * D
        of_key, of_value = t[:, None] * D + d[None, :], t[:, None] * V + w[None, :]
        share_w = tl.load(share + c * (2 * C) + t)
        share_s = share_w
        if MOMENTUM:
            share_s = tl.load(share + c * (2 * C) + C + t)
        top, bar_w, bar_s = last_surprises(
            tile(tops, t, w, V, live), keys, errors, inputs, origin, x, share_w, share_s, live, t, d, w, 0, E,
            D, V, E, BE, C, DEPTH, MOMENTUM, ACT, DOT, PRECISION,
        )  # fmt: skip
        if DEPTH == 2:
            tl.debug_barrier()
            top, bar_w, bar_s = first_surprises(
                top, bar_w, bar_s, keys, errors, inputs, hidden, origin, x, share_w, share_s, live, t, d, w, 0, E,
                D, V, E, BE, MOMENTUM, ACT, DOT, PRECISION,
            )  # fmt: skip
        tl.store(tops + of_value, top, mask=live[:, None])
        tl.store(share_bar + c * (2 * C) + t, bar_w)
        if MOMENTUM:
            tl.store(share_bar + c * (2 * C) + C + t, bar_s)
        if DEPTH == 2:
            key_bar = keys_of_first_surprises(
                tile(key_bars, t, d, D, live), keys, errors, origin, x, share_w, share_s, live, t, d, w, 0, E,
                D, V, E, BE, MOMENTUM, ACT, DOT, PRECISION,
            )  # fmt: skip
            tl.store(key_bars + of_key, key_bar, mask=live[:, None])
        tl.debug_barrier()  # by way of memory ``top`` leaves the layout of products, which keeps every number twice
        top = tile(tops, t, w, V, live)
        value, out = tile(values, t, w, V, live), tile(out_k + at * V, t, w, V, live)
        target = value
        if RESIDUAL:
            target = value - tile(keys, t, d, D, live)
        bound = tl.zeros((C,), tl.float32)
        if THRESHOLD:
            bound = tl.load(threshold + at + t, mask=live, other=1.0)
        zbar, rbar, value_bar, bound_bar = last_layer_vjp(
            top, out, target, value, bound, V, NORMALISED, BIAS, OPTION, SHARPNESS, MAX_ERROR
        )
        if RESIDUAL:
            tl.store(key_bars + of_key, tile(key_bars, t, d, D, live) + rbar, mask=live[:, None])
        tl.store(vbar + at * V + of_value, value_bar - rbar, mask=live[:, None])
        if THRESHOLD:
            tl.store(threshold_bar + at + t, bound_bar, mask=live)
        tl.store(tops + of_value, zbar, mask=live[:, None])
        kept = tl.load(keep + c * 4)
        moved, push, nothing = kept, kept, tl.full([], 0.0, tl.float32)
        if MOMENTUM:
            moved, push = tl.load(keep + c * 4 + 1), tl.load(keep + c * 4 + 2)
        tl.debug_barrier()  # the last sweeps read what the first have written
        kept_bar, carried_bar, push_bar = last_layer(
            keys, errors, tops, inputs, hidden, key_bars, origin, old, back, x, outside, kept, moved, push,
            nothing, nothing, nothing, live, t, d, w, 0, E,
            D, V, E, BE, DEPTH, MOMENTUM, ALIGNED, LINKED, ACT, DOT, PRECISION,
        )  # fmt: skip
        if DEPTH == 2:
            first_outputs(keys, tops, inputs, origin, live, t, d, w, 0, E, D, V, E, BE, ACT, DOT, PRECISION)
            tl.debug_barrier()
            key_bar, kept_bar, carried_bar, push_bar = first_layer(
                tile(key_bars, t, d, D, live), keys, inputs, origin, old, back, x, outside, kept, moved, push,
                kept_bar, carried_bar, push_bar, live, t, d, w, 0, E,
                D, V, E, BE, MOMENTUM, ALIGNED, LINKED, DOT, PRECISION,
            )  # fmt: skip
            tl.store(key_bars + of_key, key_bar, mask=live[:, None])
        tl.store(keep_bar + c * 4, kept_bar)
        if MOMENTUM:
            tl.store(keep_bar + c * 4 + 1, carried_bar)
            tl.store(keep_bar + c * 4 + 2, push_bar)
        tl.debug_barrier()  # the chunk before reads the carried adjoint
