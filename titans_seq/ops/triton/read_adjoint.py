"""The read pass, backwards: one program per chunk, everything that a chunk's reads send back.

To the queries directly; to the gates through G, beta and f; and, for the write pass's adjoint to take up: to the state
at the chunk's border, to the activations and errors of the keys, and to the keys. Tiles that are wanted at both ends
are loaded or computed twice: registers are scarcer than loads.
"""

from __future__ import annotations

import triton
import triton.language as tl

from titans_seq.ops.triton.parts import activation, matrix, norm, norm_back, product, tile


@triton.jit
def read_backward(
    q, k, g, fade, anchor, states, delta, out_q, ybar,
    qbar, kbar, deltabar, inputbar, hiddenbar, statebar, g_bar, fade_bar, base, length, first, row_of,
    D: tl.constexpr, V: tl.constexpr, E: tl.constexpr, BE: tl.constexpr, C: tl.constexpr, DEPTH: tl.constexpr,
    MOMENTUM: tl.constexpr, ALIGNED: tl.constexpr, NORMALISED: tl.constexpr, RESIDUAL: tl.constexpr,
    ACT: tl.constexpr, DOT: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Adjoints qbar, kbar (tokens, D), deltabar (tokens, V), inputbar, hiddenbar (tokens, E), statebar (chunks, size).

    ``inputbar`` belongs to the last layer's inputs, ``hiddenbar`` (depth 2) to the first layer's errors.
    """
    FIRST: tl.constexpr = E * D if DEPTH == 2 else 0
    SIZE: tl.constexpr = FIRST + V * E
    STRIDE: tl.constexpr = 2 * SIZE if MOMENTUM else SIZE
    chunk = tl.program_id(0)
    row = tl.load(row_of + chunk)
    t, d, w = tl.arange(0, C), tl.arange(0, D), tl.arange(0, V)
    inside = (chunk - tl.load(first + row)) * C
    here = inside + t < tl.load(length + row)
    at = tl.load(base + row) + inside  # scalar, so that only it needs 64 bits
    border = states + (chunk + row).to(tl.int64) * STRIDE
    origin = border
    if not ALIGNED:
        origin = anchor + row.to(tl.int64) * SIZE
    back = statebar + chunk.to(tl.int64) * STRIDE
    square = t[:, None] * C + t[None, :]
    g, g_bar = g + chunk.to(tl.int64) * (C * C), g_bar + chunk.to(tl.int64) * (C * C)
    fades = chunk.to(tl.int64) * (2 * C) + t
    beta = tl.load(fade + fades)
    f, f_bar = beta, tl.zeros((C,), tl.float32)
    if MOMENTUM:
        f = tl.load(fade + fades + C)
    zbar = tile(ybar + at * V, t, w, V, here)
    if NORMALISED:
        normal, rstd = norm(tile(out_q + at * V, t, w, V, here), V)
        zbar = norm_back(zbar, normal, rstd, V)
    err = tile(delta + at * V, t, w, V, here)
    g_tile = tl.load(g + square)
    pair = (product(zbar, tl.trans(err), DOT, PRECISION) * g_tile).to(DOT)
    zbar = zbar.to(DOT)
    seen = tl.zeros((C, C), tl.float32)
    beta_bar = tl.zeros((C,), tl.float32)
    if DEPTH == 2:
        query, key = tile(q + at * D, t, d, D, here), tile(k + at * D, t, d, D, here)
        mix = (product(query, tl.trans(key), DOT, PRECISION) * g_tile).to(DOT)
        between = tl.zeros((C, C), tl.float32)
        query_bar = tl.zeros((C, D), tl.float32)
    for e0 in tl.range(0, E, BE, disable_licm=True):
        e = e0 + tl.arange(0, BE)
        if DEPTH == 2:
            query, key = tile(q + at * D, t, d, D, here), tile(k + at * D, t, d, D, here)
            err = tile(delta + at * V, t, w, V, here)
            w1 = matrix(origin, e, d, D)
            a, slope = activation(product(key, tl.trans(w1), DOT, PRECISION), ACT)
            d1 = (product(err, matrix(origin + FIRST, w, e, E), DOT, PRECISION) * slope).to(DOT)
            if not ALIGNED:
                w1 = matrix(border, e, d, D)
            z_w = product(query, tl.trans(w1), DOT, PRECISION)
            z = z_w * beta[:, None] - product(mix, d1, DOT, PRECISION)
            if MOMENTUM:
                s1 = matrix(border + SIZE, e, d, D)
                z_s = product(query, tl.trans(s1), DOT, PRECISION)
                z += z_s * f[:, None]
            h, slope = activation(z, ACT)
        else:
            a, h = tile(k + at * D, t, e, D, here), tile(q + at * D, t, e, D, here)
        a = a.to(DOT)
        # the last layer
        part = product(zbar, matrix(border + FIRST, w, e, E), DOT, PRECISION)
        beta_bar += tl.sum(part * h, 1)
        hbar = part * beta[:, None] - product(pair, a, DOT, PRECISION)
        if MOMENTUM:
            part = product(zbar, matrix(border + SIZE + FIRST, w, e, E), DOT, PRECISION)
            f_bar += tl.sum(part * h, 1)
            hbar += part * f[:, None]
        h = h.to(DOT)
        seen += product(h, tl.trans(a), DOT, PRECISION)
        spot = t[:, None] * E + e[None, :]
        tl.store(inputbar + at * E + spot, -product(tl.trans(pair), h, DOT, PRECISION), mask=here[:, None])
        place2 = FIRST + w[:, None] * E + e[None, :]
        tl.store(back + place2, product(tl.trans(zbar * beta[:, None]), h, DOT, PRECISION))
        if MOMENTUM:
            tl.store(back + SIZE + place2, product(tl.trans(zbar * f[:, None]), h, DOT, PRECISION))
        # the first
        if DEPTH == 2:
            hbar *= slope
            beta_bar += tl.sum(hbar * z_w, 1)
            fading = (hbar * beta[:, None]).to(DOT)
            place1 = e[:, None] * D + d[None, :]
            tl.store(back + place1, product(tl.trans(fading), query, DOT, PRECISION))
            query_bar += product(fading, w1, DOT, PRECISION)
            if MOMENTUM:
                f_bar += tl.sum(hbar * z_s, 1)
                fading = (hbar * f[:, None]).to(DOT)
                tl.store(back + SIZE + place1, product(tl.trans(fading), query, DOT, PRECISION))
                query_bar += product(fading, s1, DOT, PRECISION)
            hbar = hbar.to(DOT)
            between += product(hbar, tl.trans(d1), DOT, PRECISION)
            tl.store(hiddenbar + at * E + spot, -product(tl.trans(mix), hbar, DOT, PRECISION), mask=here[:, None])
        else:
            if RESIDUAL:
                hbar += tile(ybar + at * V, t, e, V, here)
            tl.store(qbar + at * D + (t[:, None] * D + e[None, :]), hbar, mask=here[:, None])
    tl.store(fade_bar + fades, beta_bar)
    if MOMENTUM:
        tl.store(fade_bar + fades + C, f_bar)
    g_tile = tl.load(g + square)
    err = tile(delta + at * V, t, w, V, here)
    gbar = -product(zbar, tl.trans(err), DOT, PRECISION) * seen
    of_delta = t[:, None] * V + w[None, :]
    tl.store(deltabar + at * V + of_delta, -product(tl.trans(seen * g_tile), zbar, DOT, PRECISION), mask=here[:, None])
    of_key = t[:, None] * D + d[None, :]
    if DEPTH == 2:
        query, key = tile(q + at * D, t, d, D, here), tile(k + at * D, t, d, D, here)
        gbar -= between * product(query, tl.trans(key), DOT, PRECISION)
        pair = (between * g_tile).to(DOT)
        query_bar -= product(pair, key, DOT, PRECISION)
        if RESIDUAL:
            query_bar += tile(ybar + at * D, t, d, D, here)
        tl.store(qbar + at * D + of_key, query_bar, mask=here[:, None])
        tl.store(kbar + at * D + of_key, -product(tl.trans(pair), query, DOT, PRECISION), mask=here[:, None])
    else:
        tl.store(kbar + at * D + of_key, tl.zeros((C, D), tl.float32), mask=here[:, None])
    tl.store(g_bar + square, gbar)
