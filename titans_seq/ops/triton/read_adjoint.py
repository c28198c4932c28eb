"""The read pass, backwards: everything that a chunk's reads send back, one program per chunk.

To the queries directly; to the gates through G, beta and f; and, for the write pass's adjoint to take up: to the state
at the chunk's border, to the activations and errors of the keys, and to the keys. One kernel per layer, last to
first: together they would need twice the registers there are. Tiles that several products want are loaded for each.
"""

from __future__ import annotations

import triton
import triton.language as tl

from titans_seq.ops.triton.parts import activation, matrix, norm, norm_back, product, sloped, tile


@triton.jit
def _on_the_line(token, chunk, row, length, first, closing, C: tl.constexpr):
    """False for the last token of a chunk that closes, whose read `closing` differentiates."""
    place = chunk - tl.load(first + row)
    last = tl.minimum(place * C + C, tl.load(length + row)) - 1
    return (token != last) | (place >= tl.load(closing + row))


@triton.jit
def _moved(delta, slopes, t, w, V: tl.constexpr, here, LINKED: tl.constexpr):
    """Errors (C, V), times the slope of the row that they move."""
    err = tile(delta, t, w, V, here)
    if LINKED:
        err *= tl.load(slopes + w)[None, :]
    return err


@triton.jit
def read_backward_last(
    q, k, g, fade, anchor, states, delta, out_q, ybar,
    qbar, kbar, deltabar, inputbar, hiddenbar, statebar, g_bar, fade_bar, weights, now, slopes, weightbar, slopebar,
    base, length, first, row_of, closing,
    D: tl.constexpr, V: tl.constexpr, E: tl.constexpr, BE: tl.constexpr, C: tl.constexpr, DEPTH: tl.constexpr,
    MOMENTUM: tl.constexpr, ALIGNED: tl.constexpr, NORMALISED: tl.constexpr, RESIDUAL: tl.constexpr,
    ACT: tl.constexpr, DOT: tl.constexpr, PRECISION: tl.constexpr, LINKED: tl.constexpr,
    CENTRED: tl.constexpr,
):  # fmt: skip
    """Adjoints deltabar (tokens, V) of the keys' errors, inputbar (tokens, E) of their activations, statebar of the
    last layer's matrices (chunks, size), g_bar (chunks, C, C) and fade_bar (chunks, 2, C).

    Depth 2 leaves the adjoint of the queries' first outputs in ``hiddenbar`` (tokens, E) for `read_backward_first`;
    depth 1 has nothing below and fills qbar (tokens, D), and kbar with zeros. Under a non-linear gate also the last
    layer's part of ``weightbar`` (chunks, size), of W_0, and all of ``slopebar`` (chunks, rows of the matrices).
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
    told = here
    if LINKED:
        told = here & _on_the_line(inside + t, chunk, row, length, first, closing, C)
    at = tl.load(base + row) + inside  # scalar, so that only it needs 64 bits
    border = states + (chunk + row).to(tl.int64) * STRIDE
    origin, reading, bends = border, border, border
    if LINKED:
        origin = weights + (chunk + row).to(tl.int64) * SIZE
        bends = slopes + (chunk + row).to(tl.int64) * (ABOVE + V)
        reading = origin if ALIGNED else now + row.to(tl.int64) * SIZE
    elif not ALIGNED:
        origin = anchor + row.to(tl.int64) * SIZE
    back = statebar + chunk.to(tl.int64) * STRIDE
    straight = weightbar + chunk.to(tl.int64) * SIZE
    turned = slopebar + chunk.to(tl.int64) * (ABOVE + V)
    square = chunk.to(tl.int64) * (C * C)
    of_pair = t[:, None] * C + t[None, :]
    fades = chunk.to(tl.int64) * (2 * C) + t
    beta = tl.load(fade + fades)
    f, f_bar = beta, tl.zeros((C,), tl.float32)
    if LINKED:
        beta -= 1.0
        bend_bar = tl.zeros((V,), tl.float32)
    if MOMENTUM:
        f = tl.load(fade + fades + C)
    zbar = tile(ybar + at * V, t, w, V, told)
    if NORMALISED:
        normal, rstd = norm(tile(out_q + at * V, t, w, V, here), V)
        zbar = norm_back(zbar, normal, rstd, V)
    zbar = zbar.to(DOT)
    err = _moved(delta + at * V, bends + ABOVE, t, w, V, here, LINKED)
    pair = (product(zbar, tl.trans(err), DOT, PRECISION) * tl.load(g + square + of_pair)).to(DOT)
    if DEPTH == 2:
        query, key = tile(q + at * D, t, d, D, here), tile(k + at * D, t, d, D, here)
        mix = (product(query, tl.trans(key), DOT, PRECISION) * tl.load(g + square + of_pair)).to(DOT)
    seen = tl.zeros((C, C), tl.float32)
    beta_bar = tl.zeros((C,), tl.float32)
    for e0 in tl.range(0, E, BE, disable_licm=True):
        e = e0 + tl.arange(0, BE)
        if DEPTH == 2:
            w1 = matrix(origin, e, d, D)
            key, err = tile(k + at * D, t, d, D, here), tile(delta + at * V, t, w, V, here)
            a, slope = activation(product(key, tl.trans(w1), DOT, PRECISION), ACT)
            a = a.to(DOT)
            z = product(mix, product(err, matrix(origin + FIRST, w, e, E), DOT, PRECISION) * slope, DOT, PRECISION)
            if LINKED or not ALIGNED:
                w1 = matrix(border, e, d, D)
            query = tile(q + at * D, t, d, D, here)
            z_w = product(query, tl.trans(w1), DOT, PRECISION)
            z = z_w * beta[:, None] - z
            if MOMENTUM:
                z_s = product(query, tl.trans(matrix(border + SIZE, e, d, D)), DOT, PRECISION)
                z += z_s * f[:, None]
            if LINKED:
                bent = z
                z = z * tl.load(bends + e)[None, :]
                z += product(query, tl.trans(matrix(reading, e, d, D)), DOT, PRECISION)
            h, slope = activation(z, ACT)
        else:
            a, h = tile(k + at * D, t, e, D, here).to(DOT), tile(q + at * D, t, e, D, here)
        part = product(zbar, sloped(border + FIRST, w, e, E, bends + ABOVE, LINKED, CENTRED), DOT, PRECISION)
        beta_bar += tl.sum(part * h, 1)
        hbar = part * beta[:, None] - product(pair, a, DOT, PRECISION)
        if MOMENTUM:
            part = product(zbar, sloped(border + SIZE + FIRST, w, e, E, bends + ABOVE, LINKED, False), DOT, PRECISION)
            f_bar += tl.sum(part * h, 1)
            hbar += part * f[:, None]
        if LINKED:
            hbar += product(zbar, matrix(reading + FIRST, w, e, E), DOT, PRECISION)
        if DEPTH == 2:
            hbar *= slope
            tl.store(hiddenbar + at * E + (t[:, None] * E + e[None, :]), hbar, mask=here[:, None])
            if LINKED:
                tl.store(turned + e, tl.sum(hbar * bent, 0))
                hbar *= tl.load(bends + e)[None, :]
            beta_bar += tl.sum(hbar * z_w, 1)
            if MOMENTUM:
                f_bar += tl.sum(hbar * z_s, 1)
        else:
            if RESIDUAL:
                hbar += tile(ybar + at * V, t, e, V, told)
            tl.store(qbar + at * D + (t[:, None] * D + e[None, :]), hbar, mask=here[:, None])
        h = h.to(DOT)
        seen += product(h, tl.trans(a), DOT, PRECISION)
        abar = -product(tl.trans(pair), h, DOT, PRECISION)
        tl.store(inputbar + at * E + (t[:, None] * E + e[None, :]), abar, mask=here[:, None])
        place = FIRST + w[:, None] * E + e[None, :]
        bar = product(tl.trans(zbar * beta[:, None]), h, DOT, PRECISION)
        if LINKED:
            bend_bar += tl.sum(bar * matrix(border + FIRST, w, e, E), 1)
            bar *= tl.load(bends + ABOVE + w)[:, None]
            tl.store(straight + place, product(tl.trans(zbar), h, DOT, PRECISION))
        tl.store(back + place, bar)
        if MOMENTUM:
            bar = product(tl.trans(zbar * f[:, None]), h, DOT, PRECISION)
            if LINKED:
                bend_bar += tl.sum(bar * matrix(border + SIZE + FIRST, w, e, E), 1)
                bar *= tl.load(bends + ABOVE + w)[:, None]
            tl.store(back + SIZE + place, bar)
    tl.store(fade_bar + fades, beta_bar)
    if MOMENTUM:
        tl.store(fade_bar + fades + C, f_bar)
    err = _moved(delta + at * V, bends + ABOVE, t, w, V, here, LINKED)
    tl.store(g_bar + square + of_pair, -product(zbar, tl.trans(err), DOT, PRECISION) * seen)
    dbar = -product(tl.trans(seen * tl.load(g + square + of_pair)), zbar, DOT, PRECISION)
    if LINKED:
        bend_bar += tl.sum(dbar * tile(delta + at * V, t, w, V, here), 0)
        tl.store(turned + ABOVE + w, bend_bar)
        dbar *= tl.load(bends + ABOVE + w)[None, :]
    tl.store(deltabar + at * V + (t[:, None] * V + w[None, :]), dbar, mask=here[:, None])
    if DEPTH == 1:
        tl.store(kbar + at * D + (t[:, None] * D + d[None, :]), tl.zeros((C, D), tl.float32), mask=here[:, None])


@triton.jit
def read_backward_first(
    q, k, g, fade, anchor, states, delta, ybar,
    qbar, kbar, hiddenbar, statebar, g_bar, weights, now, slopes, weightbar, base, length, first, row_of,
    closing,
    D: tl.constexpr, V: tl.constexpr, E: tl.constexpr, BE: tl.constexpr, C: tl.constexpr,
    MOMENTUM: tl.constexpr, ALIGNED: tl.constexpr, RESIDUAL: tl.constexpr,
    ACT: tl.constexpr, DOT: tl.constexpr, PRECISION: tl.constexpr, LINKED: tl.constexpr,
):  # fmt: skip
    """Depth 2, the first layer: qbar, kbar (tokens, D), its part of statebar and weightbar, and what it adds to g_bar.

    ``hiddenbar`` (tokens, E) comes in as the adjoint of the queries' first outputs and goes out as that of the keys'
    first errors.
    """
    SIZE: tl.constexpr = E * D + V * E
    STRIDE: tl.constexpr = 2 * SIZE if MOMENTUM else SIZE
    chunk = tl.program_id(0)
    row = tl.load(row_of + chunk)
    t, d, w = tl.arange(0, C), tl.arange(0, D), tl.arange(0, V)
    inside = (chunk - tl.load(first + row)) * C
    here = inside + t < tl.load(length + row)
    told = here
    if LINKED:
        told = here & _on_the_line(inside + t, chunk, row, length, first, closing, C)
    at = tl.load(base + row) + inside
    border = states + (chunk + row).to(tl.int64) * STRIDE
    origin, reading, bends = border, border, border
    if LINKED:
        origin = weights + (chunk + row).to(tl.int64) * SIZE
        bends = slopes + (chunk + row).to(tl.int64) * (E + V)
        reading = origin if ALIGNED else now + row.to(tl.int64) * SIZE
    elif not ALIGNED:
        origin = anchor + row.to(tl.int64) * SIZE
    back = statebar + chunk.to(tl.int64) * STRIDE
    straight = weightbar + chunk.to(tl.int64) * SIZE
    square = chunk.to(tl.int64) * (C * C)
    of_pair = t[:, None] * C + t[None, :]
    fades = chunk.to(tl.int64) * (2 * C) + t
    beta = tl.load(fade + fades)
    f = beta
    if LINKED:
        beta -= 1.0
    if MOMENTUM:
        f = tl.load(fade + fades + C)
    query, key = tile(q + at * D, t, d, D, here), tile(k + at * D, t, d, D, here)
    mix = (product(query, tl.trans(key), DOT, PRECISION) * tl.load(g + square + of_pair)).to(DOT)
    between = tl.zeros((C, C), tl.float32)
    query_bar = tl.zeros((C, D), tl.float32)
    for e0 in tl.range(0, E, BE, disable_licm=True):
        e = e0 + tl.arange(0, BE)
        zbar = tile(hiddenbar + at * E, t, e, E, here)
        w1 = matrix(origin, e, d, D)
        key, err = tile(k + at * D, t, d, D, here), tile(delta + at * V, t, w, V, here)
        _, slope = activation(product(key, tl.trans(w1), DOT, PRECISION), ACT)
        d1 = product(err, matrix(origin + E * D, w, e, E), DOT, PRECISION) * slope
        if LINKED:
            query, place = tile(q + at * D, t, d, D, here), e[:, None] * D + d[None, :]
            tl.store(straight + place, product(tl.trans(zbar), query, DOT, PRECISION))
            query_bar += product(zbar, matrix(reading, e, d, D), DOT, PRECISION)
            zbar *= tl.load(bends + e)[None, :]
        between += product(zbar, tl.trans(d1), DOT, PRECISION)
        dbar = -product(tl.trans(mix), zbar, DOT, PRECISION)
        tl.store(hiddenbar + at * E + (t[:, None] * E + e[None, :]), dbar, mask=here[:, None])
        if LINKED or not ALIGNED:
            w1 = matrix(border, e, d, D)
        query = tile(q + at * D, t, d, D, here)
        place = e[:, None] * D + d[None, :]
        fading = (zbar * beta[:, None]).to(DOT)
        query_bar += product(fading, w1, DOT, PRECISION)
        tl.store(back + place, product(tl.trans(fading), query, DOT, PRECISION))
        if MOMENTUM:
            fading = (zbar * f[:, None]).to(DOT)
            query_bar += product(fading, matrix(border + SIZE, e, d, D), DOT, PRECISION)
            tl.store(back + SIZE + place, product(tl.trans(fading), query, DOT, PRECISION))
    query, key = tile(q + at * D, t, d, D, here), tile(k + at * D, t, d, D, here)
    gbar = tl.load(g_bar + square + of_pair) - between * product(query, tl.trans(key), DOT, PRECISION)
    tl.store(g_bar + square + of_pair, gbar)
    pair = (between * tl.load(g + square + of_pair)).to(DOT)
    of_key = t[:, None] * D + d[None, :]
    tl.store(kbar + at * D + of_key, -product(tl.trans(pair), query, DOT, PRECISION), mask=here[:, None])
    query_bar -= product(pair, key, DOT, PRECISION)
    if RESIDUAL:
        query_bar += tile(ybar + at * D, t, d, D, told)
    tl.store(qbar + at * D + of_key, query_bar, mask=here[:, None])
