"""The write pass: one program per (row, head) walks from chunk border to chunk border.

States lie in global memory, one per border, and are worked through in blocks of ``BE`` hidden columns (depth 1: key
columns), so that the registers hold one block whatever the memory's size: 64 x 256 with momentum is 256 KB, all the
registers a multiprocessor has. The next border is written anyway, because the read pass wants it; the old one comes
back from the second-level cache.

Layout of a state: W_1 (E, D), W_2 (V, E), then the same of S. Depth 1 has W_2 alone, with E = D.
"""

from __future__ import annotations

import triton
import triton.language as tl

from titans_seq.ops.triton.borders import close_chunk
from titans_seq.ops.triton.parts import activation, error, matrix, norm, norm_back, product, tile


@triton.jit
def write_forward(
    k, v, threshold, share, keep, anchor, states, delta, out_k, weights, slopes, lengths, written, base, length, first,
    closing,
    D: tl.constexpr, V: tl.constexpr, E: tl.constexpr, BE: tl.constexpr, C: tl.constexpr, DEPTH: tl.constexpr,
    MOMENTUM: tl.constexpr, ALIGNED: tl.constexpr, NORMALISED: tl.constexpr, RESIDUAL: tl.constexpr,
    THRESHOLD: tl.constexpr, ACT: tl.constexpr, BIAS: tl.constexpr, OPTION: tl.constexpr, SHARPNESS: tl.constexpr,
    MAX_ERROR: tl.constexpr, DOT: tl.constexpr, PRECISION: tl.constexpr, RETENTION: tl.constexpr,
    AMOUNT: tl.constexpr, FLOOR: tl.constexpr, NUMBERS: tl.constexpr, CENTRED: tl.constexpr,
):  # fmt: skip
    """Fill ``states`` from border 0 of each row on; leave the errors ``delta`` and outputs ``out_k`` of the keys.

    k (tokens, D), v, delta, out_k (tokens, V), threshold (tokens,), share (chunks, 2, C), keep (chunks, 4), states
    (borders, size); per row: first token ``base``, tokens ``length``, first chunk ``first``. ``anchor`` (rows, size)
    is looked at where the call starts inside a chunk (not ``ALIGNED``).

    Under a non-linear gate (``RETENTION``) states hold the dual A; ``weights`` (borders, size) = link(A), of the anchor
    at border 0, and ``slopes`` (borders, rows of the matrices) are filled beside them where a chunk closes, which the
    first ``closing`` chunks of a row do; ``written`` (chunks,) is the sum of theta, ``lengths`` (chunks, 2) for lq.
    """
    FIRST: tl.constexpr = E * D if DEPTH == 2 else 0
    SIZE: tl.constexpr = FIRST + V * E
    STRIDE: tl.constexpr = 2 * SIZE if MOMENTUM else SIZE
    LINKED: tl.constexpr = RETENTION != "linear"
    ROWS: tl.constexpr = (E if DEPTH == 2 else 0) + V
    row = tl.program_id(0)
    start, tokens, chunk = tl.load(base + row), tl.load(length + row), tl.load(first + row)
    t, d, w = tl.arange(0, C), tl.arange(0, D), tl.arange(0, V)
    for i in range(tl.cdiv(tokens, C)):
        live = i * C + t < tokens
        at = start + i * C
        c = (chunk + i).to(tl.int64)
        old = states + (c + row) * STRIDE
        new = old + STRIDE
        origin = old
        if LINKED:
            origin = weights + (c + row) * SIZE
        elif not ALIGNED:
            origin = anchor + row.to(tl.int64) * SIZE
        key = tile(k + at * D, t, d, D, live)
        value = tile(v + at * V, t, w, V, live)
        out = tl.zeros((C, V), tl.float32)
        for e0 in tl.range(0, E, BE, disable_licm=True):
            e = e0 + tl.arange(0, BE)
            if DEPTH == 2:
                a, _ = activation(product(key, tl.trans(matrix(origin, e, d, D)), DOT, PRECISION), ACT)
            else:
                a = tile(k + at * D, t, e, D, live)
            out += product(a, tl.trans(matrix(origin + FIRST, w, e, E)), DOT, PRECISION)
        tl.store(out_k + at * V + (t[:, None] * V + w[None, :]), out, mask=live[:, None])
        bound = tl.zeros((C,), tl.float32)
        if THRESHOLD:
            bound = tl.load(threshold + at + t, mask=live, other=1.0)
        target = value
        if RESIDUAL:
            target = value - key
        if NORMALISED:
            normal, rstd = norm(out, V)
            err = error(normal - target, value, bound, BIAS, OPTION, SHARPNESS, MAX_ERROR)
            err = norm_back(err, normal, rstd, V)
        else:
            err = error(out - target, value, bound, BIAS, OPTION, SHARPNESS, MAX_ERROR)
        tl.store(delta + at * V + (t[:, None] * V + w[None, :]), err, mask=live[:, None])
        kept = tl.load(keep + c * 4)
        share_w = tl.load(share + c * (2 * C) + t)
        if MOMENTUM:
            carried, push = tl.load(keep + c * 4 + 1), tl.load(keep + c * 4 + 2)
            share_s = tl.load(share + c * (2 * C) + C + t)
        for e0 in tl.range(0, E, BE, disable_licm=True):
            e = e0 + tl.arange(0, BE)
            if DEPTH == 2:
                place = e[:, None] * D + d[None, :]
                w1 = tl.load(origin + place)
                a, slope = activation(product(key, tl.trans(w1), DOT, PRECISION), ACT)
                d1 = product(err, matrix(origin + FIRST, w, e, E), DOT, PRECISION) * slope
                if LINKED or not ALIGNED:
                    w1 = tl.load(old + place)
                w1 = kept * w1 - product(tl.trans(d1 * share_w[:, None]), key, DOT, PRECISION)
                if MOMENTUM:
                    s1 = tl.load(old + SIZE + place)
                    w1 += push * s1
                    s1 = carried * s1 - product(tl.trans(d1 * share_s[:, None]), key, DOT, PRECISION)
                    tl.store(new + SIZE + place, s1)
                tl.store(new + place, w1)
            else:
                a = tile(k + at * D, t, e, D, live)
            place = FIRST + w[:, None] * E + e[None, :]
            w2 = kept * tl.load(old + place) - product(tl.trans(err * share_w[:, None]), a, DOT, PRECISION)
            if MOMENTUM:
                s2 = tl.load(old + SIZE + place)
                w2 += push * s2
                s2 = carried * s2 - product(tl.trans(err * share_s[:, None]), a, DOT, PRECISION)
                tl.store(new + SIZE + place, s2)
            tl.store(new + place, w2)
        tl.debug_barrier()  # the next chunk reads what other threads have written here
        if LINKED:
            if i < tl.load(closing + row):
                beyond = c + row + 1
                close_chunk(
                    new, weights + beyond * SIZE, slopes + beyond * ROWS, lengths + c * 2, tl.load(written + c),
                    RETENTION, AMOUNT, FLOOR, D, V, E, DEPTH, NUMBERS, CENTRED,
                )  # fmt: skip
            tl.debug_barrier()
