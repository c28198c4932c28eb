"""The write pass of `write`, a row shared by several programs: each owns a slice of the hidden columns (`split`).

Per chunk of a slice, whose weights (W_1's rows, W_2's columns, the momenta) stay in registers:

    out = sum over slices of a W_2^T            exchanged: what all slices made for this chunk
    error, the hidden slice's share of it, W and S one chunk on
    a, a W_2^T of the next chunk's keys         handed on, before anything that no other program waits for

In one launch for all chunks (``WAITS``, a barrier per chunk), or in a launch per chunk; first of all one without a
chunk, which makes the first one's part.
"""

from __future__ import annotations

import triton
import triton.language as tl

from titans_seq.ops.triton.exchange import announce, await_all, gathered, own_part
from titans_seq.ops.triton.parts import activation, error, norm, norm_back, product, tile


@triton.jit
def _inputs(
    k, key, w1, at, t, e, live, D: tl.constexpr, DEPTH: tl.constexpr, ACT: tl.constexpr, DOT: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """The last layer's inputs (C, SLICE) in the products' type, and the activation's slope there."""
    if DEPTH == 2:
        a, slope = activation(product(key, tl.trans(w1), DOT, PRECISION), ACT)
    else:
        a = tile(k + at * D, t, e, D, live)
        slope = a
    return a.to(DOT), slope


@triton.jit(do_not_specialize=["begin", "stop"])
def write_split_forward(
    k, v, threshold, share, keep, anchor, states, delta, out_k, parts, arrived, begin, stop, base, length, first,
    D: tl.constexpr, V: tl.constexpr, E: tl.constexpr, SLICE: tl.constexpr, C: tl.constexpr, DEPTH: tl.constexpr,
    MOMENTUM: tl.constexpr, ALIGNED: tl.constexpr, NORMALISED: tl.constexpr, RESIDUAL: tl.constexpr,
    THRESHOLD: tl.constexpr, ACT: tl.constexpr, BIAS: tl.constexpr, OPTION: tl.constexpr, SHARPNESS: tl.constexpr,
    MAX_ERROR: tl.constexpr, DOT: tl.constexpr, PRECISION: tl.constexpr, WAITS: tl.constexpr,
):  # fmt: skip
    """What `write_forward` fills under a linear gate, for chunks ``begin`` to ``stop`` of every row.

    Further arguments: parts (2, rows, slices, C, V) and, counted from 0 in one launch, arrived (rows, `APART`).
    """
    FIRST: tl.constexpr = E * D if DEPTH == 2 else 0
    SIZE: tl.constexpr = FIRST + V * E
    STRIDE: tl.constexpr = 2 * SIZE if MOMENTUM else SIZE
    SLICES: tl.constexpr = E // SLICE
    rows, row, part = tl.num_programs(0) // SLICES, tl.program_id(0) // SLICES, tl.program_id(0) % SLICES
    start, tokens, chunk = tl.load(base + row), tl.load(length + row), tl.load(first + row)
    t, d, w, e = tl.arange(0, C), tl.arange(0, D), tl.arange(0, V), part * SLICE + tl.arange(0, SLICE)
    of_first, of_last, of_value = e[:, None] * D + d[None, :], w[:, None] * E + e[None, :], t[:, None] * V + w[None, :]
    n = tl.minimum(stop, tl.cdiv(tokens, C))
    state = states + (chunk + row + begin).to(tl.int64) * STRIDE
    origin = state
    if not ALIGNED:
        origin = anchor + row.to(tl.int64) * SIZE
    live = begin * C + t < tokens
    key = tile(k + (start + begin * C) * D, t, d, D, live).to(DOT)
    w2 = tl.load(state + FIRST + of_last)
    if MOMENTUM:
        s2 = tl.load(state + SIZE + FIRST + of_last)
    w1 = w2
    if DEPTH == 2:
        w1 = tl.load(origin + of_first)
    a, slope = _inputs(k, key, w1, start + begin * C, t, e, live, D, DEPTH, ACT, DOT, PRECISION)
    if DEPTH == 2:
        if not ALIGNED:
            w1 = tl.load(state + of_first)
        if MOMENTUM:
            s1 = tl.load(state + SIZE + of_first)
    if WAITS | (begin == stop):
        read_at = w2
        if not ALIGNED:
            read_at = tl.load(origin + FIRST + of_last)
        part_here = own_part(parts, begin, row, rows, part, SLICES, C, V)
        tl.store(part_here + of_value, product(a, tl.trans(read_at), DOT, PRECISION), cache_modifier=".cg")
        if WAITS:
            announce(arrived, row)
    for i in tl.range(begin, n, disable_licm=True):
        t, d, w = tl.arange(0, C), tl.arange(0, D), tl.arange(0, V)
        of_value = t[:, None] * V + w[None, :]
        c, at, live = (chunk + i).to(tl.int64), start + i * C, i * C + t < tokens
        value = tile(v + at * V, t, w, V, live)
        target = value
        if RESIDUAL:
            target = value - tile(k + at * D, t, d, D, live)
        bound = tl.zeros((C,), tl.float32)
        if THRESHOLD:
            bound = tl.load(threshold + at + t, mask=live, other=1.0)
        kept, share_w = tl.load(keep + c * 4), tl.load(share + c * (2 * C) + t)
        if MOMENTUM:
            carried, push = tl.load(keep + c * 4 + 1), tl.load(keep + c * 4 + 2)
            share_s = tl.load(share + c * (2 * C) + C + t)
        later = (i + 1) * C + t < tokens
        next_key = tile(k + (at + C) * D, t, d, D, later).to(DOT)
        if WAITS:
            await_all(arrived, row, i + 1, SLICES)
        out = gathered(parts, i, row, rows, of_value, SLICES, C, V)
        if NORMALISED:
            normal, rstd = norm(out, V)
            err = error(normal - target, value, bound, BIAS, OPTION, SHARPNESS, MAX_ERROR)
            err = norm_back(err, normal, rstd, V)
        else:
            err = error(out - target, value, bound, BIAS, OPTION, SHARPNESS, MAX_ERROR)
        told = live & (part == 0)  # every slice has made the same
        tl.store(out_k + at * V + of_value, out, mask=told[:, None])
        tl.store(delta + at * V + of_value, err, mask=told[:, None])
        before, past = a, key
        if DEPTH == 2:
            read_at = w2
            if not ALIGNED:
                read_at = tl.load(origin + FIRST + of_last)
            d1 = product(err, read_at, DOT, PRECISION) * slope
            w1 = kept * w1 - product(tl.trans(d1 * share_w[:, None]), key, DOT, PRECISION)
            if MOMENTUM:
                w1 += push * s1
        w2 = kept * w2 - product(tl.trans(err * share_w[:, None]), a, DOT, PRECISION)
        if MOMENTUM:
            w2 += push * s2
        key = next_key
        a, slope = _inputs(k, key, w1, at + C, t, e, later, D, DEPTH, ACT, DOT, PRECISION)
        t, w = tl.arange(0, C), tl.arange(0, V)
        of_value = t[:, None] * V + w[None, :]
        part_next = own_part(parts, i + 1, row, rows, part, SLICES, C, V)
        tl.store(part_next + of_value, product(a, tl.trans(w2), DOT, PRECISION), cache_modifier=".cg")
        if WAITS:
            announce(arrived, row)
        new = states + (c + row + 1) * STRIDE
        d, w, e = tl.arange(0, D), tl.arange(0, V), part * SLICE + tl.arange(0, SLICE)
        of_first, of_last = e[:, None] * D + d[None, :], w[:, None] * E + e[None, :]
        tl.store(new + FIRST + of_last, w2)
        if DEPTH == 2:
            tl.store(new + of_first, w1)
        if MOMENTUM:
            s2 = carried * s2 - product(tl.trans(err * share_s[:, None]), before, DOT, PRECISION)
            tl.store(new + SIZE + FIRST + of_last, s2)
            if DEPTH == 2:
                s1 = carried * s1 - product(tl.trans(d1 * share_s[:, None]), past, DOT, PRECISION)
                tl.store(new + SIZE + of_first, s1)
