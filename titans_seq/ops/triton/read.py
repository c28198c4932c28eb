"""The read pass: one program per chunk, all chunks at once; what every token reads, and how surprising it was."""

from __future__ import annotations

import triton
import triton.language as tl

from titans_seq.ops.triton.parts import activation, matrix, norm, product, sloped, tile


@triton.jit
def read_forward(
    q, k, g, fade, anchor, states, delta, y, out_q, surprise, weights, now, slopes, base, length, first, row_of,
    D: tl.constexpr, V: tl.constexpr, E: tl.constexpr, BE: tl.constexpr, C: tl.constexpr, DEPTH: tl.constexpr,
    MOMENTUM: tl.constexpr, ALIGNED: tl.constexpr, NORMALISED: tl.constexpr, RESIDUAL: tl.constexpr,
    ACT: tl.constexpr, DOT: tl.constexpr, PRECISION: tl.constexpr, LINKED: tl.constexpr,
    CENTRED: tl.constexpr,
):  # fmt: skip
    """Reads ``y`` and the last layer's outputs ``out_q`` (tokens, V), and ``surprise`` (tokens,).

    ``row_of`` (chunks,) names the row of every chunk; the rest as in `write_forward`, which has to run before.

    Under a non-linear gate (``LINKED``) weights begin the call's chunk at W_0 and follow A with one slope per row, so

        z = h W_0^T + slope ((beta - 1) h A^T + f h S^T - (h a^T * G) delta),

    where W_0 is the border's ``weights``, or ``now`` (rows, size) where the call starts inside a chunk.
    """
    FIRST: tl.constexpr = E * D if DEPTH == 2 else 0
    SIZE: tl.constexpr = FIRST + V * E
    STRIDE: tl.constexpr = 2 * SIZE if MOMENTUM else SIZE
    ABOVE: tl.constexpr = E if DEPTH == 2 else 0
    chunk = tl.program_id(0)
    row = tl.load(row_of + chunk)
    t, d, w = tl.arange(0, C), tl.arange(0, D), tl.arange(0, V)
    inside = (chunk - tl.load(first + row)) * C
    here = inside + t < tl.load(length + row)
    at = tl.load(base + row) + inside  # scalar, so that only it needs 64 bits
    border = states + (chunk + row).to(tl.int64) * STRIDE
    origin = border
    reading, bends = border, border
    if LINKED:
        origin = weights + (chunk + row).to(tl.int64) * SIZE
        bends = slopes + (chunk + row).to(tl.int64) * (ABOVE + V)
        reading = origin if ALIGNED else now + row.to(tl.int64) * SIZE
    elif not ALIGNED:
        origin = anchor + row.to(tl.int64) * SIZE
    square = g + chunk.to(tl.int64) * (C * C) + (t[:, None] * C + t[None, :])
    beta = tl.load(fade + chunk.to(tl.int64) * (2 * C) + t)
    f = beta
    if LINKED:
        beta -= 1.0
    if MOMENTUM:
        f = tl.load(fade + chunk.to(tl.int64) * (2 * C) + C + t)
    out = tl.zeros((C, V), tl.float32)
    seen = tl.zeros((C, C), tl.float32)
    inputs, deep = tl.zeros((C,), tl.float32), tl.zeros((C,), tl.float32)
    if DEPTH == 2:
        query, key = tile(q + at * D, t, d, D, here), tile(k + at * D, t, d, D, here)
        mix = (product(query, tl.trans(key), DOT, PRECISION) * tl.load(square)).to(DOT)
    for e0 in tl.range(0, E, BE, disable_licm=True):
        e, t, d, w = e0 + tl.arange(0, BE), tl.arange(0, C), tl.arange(0, D), tl.arange(0, V)
        here = inside + t < tl.load(length + row)  # numbered in every block: what is numbered before lives through all
        if DEPTH == 2:
            query, key = tile(q + at * D, t, d, D, here), tile(k + at * D, t, d, D, here)
            err = tile(delta + at * V, t, w, V, here)
            w1 = matrix(origin, e, d, D)
            a, slope = activation(product(key, tl.trans(w1), DOT, PRECISION), ACT)
            d1 = product(err, matrix(origin + FIRST, w, e, E), DOT, PRECISION) * slope
            deep += tl.sum(d1 * d1, 1)
            if LINKED or not ALIGNED:
                w1 = matrix(border, e, d, D)
            z = product(query, tl.trans(w1), DOT, PRECISION) * beta[:, None] - product(mix, d1, DOT, PRECISION)
            if MOMENTUM:
                z += product(query, tl.trans(matrix(border + SIZE, e, d, D)), DOT, PRECISION) * f[:, None]
            if LINKED:
                z *= tl.load(bends + e)[None, :]
                z += product(query, tl.trans(matrix(reading, e, d, D)), DOT, PRECISION)
            h, _ = activation(z, ACT)
        else:
            a, h = tile(k + at * D, t, e, D, here), tile(q + at * D, t, e, D, here)
        inputs += tl.sum(a * a, 1)
        seen += product(h, tl.trans(a), DOT, PRECISION)
        w2 = sloped(border + FIRST, w, e, E, bends + ABOVE, LINKED, CENTRED)
        out += product(h * beta[:, None], tl.trans(w2), DOT, PRECISION)
        if MOMENTUM:
            w2 = sloped(border + SIZE + FIRST, w, e, E, bends + ABOVE, LINKED, False)
            out += product(h * f[:, None], tl.trans(w2), DOT, PRECISION)
        if LINKED:
            out += product(h, tl.trans(matrix(reading + FIRST, w, e, E)), DOT, PRECISION)
    err = tile(delta + at * V, t, w, V, here)
    moved = err
    if LINKED:
        moved = err * tl.load(bends + ABOVE + w)[None, :]
    out -= product(seen * tl.load(square), moved, DOT, PRECISION)
    place = t[:, None] * V + w[None, :]
    tl.store(out_q + at * V + place, out, mask=here[:, None])
    key = tile(k + at * D, t, d, D, here)
    squared = inputs * tl.sum(err * err, 1) + deep * tl.sum(key * key, 1)
    tl.store(surprise + at + t, tl.sqrt(squared), mask=here)
    if NORMALISED:
        out, _ = norm(out, V)
    if RESIDUAL:
        out += tile(q + at * D, t, d, D, here)
    tl.store(y + at * V + place, out, mask=here[:, None])
