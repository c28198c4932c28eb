"""The write pass, backwards: one program per (row, head) walks from the last border to the first.

Per chunk, sweeps over blocks of hidden columns. The first (one per layer) carry the adjoint of the next border through
the weighted sums of surprises and through the errors' way back, which gives the adjoint of the last layer's errors;
the last (one per layer again) carry what follows from it through the keys' way forward, and move the adjoint to the
border before.
"""

from __future__ import annotations

import triton
import triton.language as tl

from titans_seq.ops.triton.parts import activation, bend, error, error_vjp, matrix, norm, norm_back, product, tile


@triton.jit
def _last_layer_vjp(
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
    carry, kbar, vbar, threshold_bar, share_bar, keep_bar, anchor_bar, base, length, first,
    D: tl.constexpr, V: tl.constexpr, E: tl.constexpr, BE: tl.constexpr, C: tl.constexpr, DEPTH: tl.constexpr,
    MOMENTUM: tl.constexpr, ALIGNED: tl.constexpr, NORMALISED: tl.constexpr, RESIDUAL: tl.constexpr,
    THRESHOLD: tl.constexpr, ACT: tl.constexpr, BIAS: tl.constexpr, OPTION: tl.constexpr, SHARPNESS: tl.constexpr,
    MAX_ERROR: tl.constexpr, DOT: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """``carry`` (rows, size) holds the adjoint of the last border, and at the end that of the first.

    Adds to ``kbar`` and fills vbar, threshold_bar, share_bar, keep_bar; ``deltabar``, ``inputbar`` and ``hiddenbar``
    are used up.
    """
    FIRST: tl.constexpr = E * D if DEPTH == 2 else 0
    SIZE: tl.constexpr = FIRST + V * E
    STRIDE: tl.constexpr = 2 * SIZE if MOMENTUM else SIZE
    row = tl.program_id(0)
    start, tokens, chunk = tl.load(base + row), tl.load(length + row), tl.load(first + row)
    t, d, w = tl.arange(0, C), tl.arange(0, D), tl.arange(0, V)
    x = carry + row.to(tl.int64) * STRIDE
    n = tl.cdiv(tokens, C)
    for step in range(n):
        i = n - 1 - step
        live = i * C + t < tokens
        at = start + i * C
        c = (chunk + i).to(tl.int64)
        old = states + (c + row) * STRIDE
        origin = old
        if not ALIGNED:
            origin = anchor + row.to(tl.int64) * SIZE
        back = statebar + c * STRIDE
        share_w = tl.load(share + c * (2 * C) + t)
        share_s = share_w
        if MOMENTUM:
            share_s = tl.load(share + c * (2 * C) + C + t)
        top = tile(deltabar + at * V, t, w, V, live)
        of_key, of_value = at * D + (t[:, None] * D + d[None, :]), at * V + (t[:, None] * V + w[None, :])
        bar_w, bar_s = tl.zeros((C,), tl.float32), tl.zeros((C,), tl.float32)
        for e0 in tl.range(0, E, BE, disable_licm=True):  # the last layer's surprises
            e = e0 + tl.arange(0, BE)
            err = tile(delta + at * V, t, w, V, live)
            if DEPTH == 2:
                key = tile(k + at * D, t, d, D, live)
                a, _ = activation(product(key, tl.trans(matrix(origin, e, d, D)), DOT, PRECISION), ACT)
            else:
                a = tile(k + at * D, t, e, D, live)
            x2 = matrix(x + FIRST, w, e, E)
            top -= product(a * share_w[:, None], tl.trans(x2), DOT, PRECISION)
            part = product(err, x2, DOT, PRECISION)
            bar_w -= tl.sum(part * a, 1)
            abar = tile(inputbar + at * E, t, e, E, live) - part * share_w[:, None]
            if MOMENTUM:
                x2 = matrix(x + SIZE + FIRST, w, e, E)
                top -= product(a * share_s[:, None], tl.trans(x2), DOT, PRECISION)
                part = product(err, x2, DOT, PRECISION)
                bar_s -= tl.sum(part * a, 1)
                abar -= part * share_s[:, None]
            tl.store(inputbar + at * E + (t[:, None] * E + e[None, :]), abar, mask=live[:, None])
        if DEPTH == 2:
            tl.debug_barrier()
            for e0 in tl.range(0, E, BE, disable_licm=True):  # the first layer's, and the errors' way back to it
                e = e0 + tl.arange(0, BE)
                key, err = tile(k + at * D, t, d, D, live), tile(delta + at * V, t, w, V, live)
                z = product(key, tl.trans(matrix(origin, e, d, D)), DOT, PRECISION)
                _, slope = activation(z, ACT)
                w2 = matrix(origin + FIRST, w, e, E)
                carried = product(err, w2, DOT, PRECISION)
                d1 = carried * slope
                x1 = matrix(x, e, d, D)
                part = product(key, tl.trans(x1), DOT, PRECISION)
                bar_w -= tl.sum(part * d1, 1)
                dbar = tile(hiddenbar + at * E, t, e, E, live) - part * share_w[:, None]
                if MOMENTUM:
                    x1 = matrix(x + SIZE, e, d, D)
                    part = product(key, tl.trans(x1), DOT, PRECISION)
                    bar_s -= tl.sum(part * d1, 1)
                    dbar -= part * share_s[:, None]
                abar = tile(inputbar + at * E, t, e, E, live) * slope + dbar * bend(z, ACT) * carried
                dbar *= slope
                top += product(dbar, tl.trans(w2), DOT, PRECISION)
                tl.store(hiddenbar + at * E + (t[:, None] * E + e[None, :]), dbar, mask=live[:, None])
                tl.store(inputbar + at * E + (t[:, None] * E + e[None, :]), abar, mask=live[:, None])
            tl.store(deltabar + of_value, top, mask=live[:, None])
            key_bar = tile(kbar + at * D, t, d, D, live)
            for e0 in tl.range(0, E, BE, disable_licm=True):  # the keys' part in the first layer's surprises
                e = e0 + tl.arange(0, BE)
                key, err = tile(k + at * D, t, d, D, live), tile(delta + at * V, t, w, V, live)
                _, slope = activation(product(key, tl.trans(matrix(origin, e, d, D)), DOT, PRECISION), ACT)
                d1 = product(err, matrix(origin + FIRST, w, e, E), DOT, PRECISION) * slope
                key_bar -= product(d1 * share_w[:, None], matrix(x, e, d, D), DOT, PRECISION)
                if MOMENTUM:
                    key_bar -= product(d1 * share_s[:, None], matrix(x + SIZE, e, d, D), DOT, PRECISION)
            tl.store(kbar + of_key, key_bar, mask=live[:, None])
        else:
            tl.store(deltabar + of_value, top, mask=live[:, None])
        tl.store(share_bar + c * (2 * C) + t, bar_w)
        if MOMENTUM:
            tl.store(share_bar + c * (2 * C) + C + t, bar_s)
        tl.debug_barrier()  # by way of memory ``top`` leaves the layout of products, which keeps every number twice
        top = tile(deltabar + at * V, t, w, V, live)
        value, out = tile(v + at * V, t, w, V, live), tile(out_k + at * V, t, w, V, live)
        target = value
        if RESIDUAL:
            target = value - tile(k + at * D, t, d, D, live)
        bound = tl.zeros((C,), tl.float32)
        if THRESHOLD:
            bound = tl.load(threshold + at + t, mask=live, other=1.0)
        zbar, rbar, value_bar, bound_bar = _last_layer_vjp(
            top, out, target, value, bound, V, NORMALISED, BIAS, OPTION, SHARPNESS, MAX_ERROR
        )
        if RESIDUAL:
            tl.store(kbar + of_key, tile(kbar + at * D, t, d, D, live) + rbar, mask=live[:, None])
        tl.store(vbar + of_value, value_bar - rbar, mask=live[:, None])
        if THRESHOLD:
            tl.store(threshold_bar + at + t, bound_bar, mask=live)
        kept = tl.load(keep + c * 4)
        kept_bar, carried_bar, push_bar = 0.0, 0.0, 0.0
        if MOMENTUM:
            moved, push = tl.load(keep + c * 4 + 1), tl.load(keep + c * 4 + 2)
        tl.store(deltabar + of_value, zbar, mask=live[:, None])
        tl.debug_barrier()  # the last sweeps read what the first have written
        for e0 in tl.range(0, E, BE, disable_licm=True):  # the last layer
            e = e0 + tl.arange(0, BE)
            zbar = tile(deltabar + at * V, t, w, V, live)
            if DEPTH == 2:
                key, err = tile(k + at * D, t, d, D, live), tile(delta + at * V, t, w, V, live)
                a, _ = activation(product(key, tl.trans(matrix(origin, e, d, D)), DOT, PRECISION), ACT)
                turned = tile(hiddenbar + at * E, t, e, E, live)
                wbar = product(tl.trans(zbar), a, DOT, PRECISION) + product(tl.trans(err), turned, DOT, PRECISION)
            else:
                a = tile(k + at * D, t, e, D, live)
                wbar = product(tl.trans(zbar), a, DOT, PRECISION)
                abar = product(zbar, matrix(origin + FIRST, w, e, E), DOT, PRECISION)
                abar += tile(inputbar + at * E, t, e, E, live) + tile(kbar + at * D, t, e, D, live)
                tl.store(kbar + at * D + (t[:, None] * D + e[None, :]), abar, mask=live[:, None])
            place2 = FIRST + w[:, None] * E + e[None, :]
            x2 = tl.load(x + place2)
            kept_bar += tl.sum(x2 * tl.load(old + place2))
            new = tl.load(back + place2) + kept * x2
            if ALIGNED:
                new += wbar
            else:
                tl.store(anchor_bar + row.to(tl.int64) * SIZE + place2, wbar)
            tl.store(x + place2, new)
            if MOMENTUM:
                s2, xs2 = tl.load(old + SIZE + place2), tl.load(x + SIZE + place2)
                push_bar += tl.sum(x2 * s2)
                carried_bar += tl.sum(xs2 * s2)
                tl.store(x + SIZE + place2, tl.load(back + SIZE + place2) + moved * xs2 + push * x2)
        if DEPTH == 2:
            key_bar = tile(kbar + at * D, t, d, D, live)
            for e0 in tl.range(0, E, BE, disable_licm=True):  # the first
                e = e0 + tl.arange(0, BE)
                key, zbar = tile(k + at * D, t, d, D, live), tile(deltabar + at * V, t, w, V, live)
                w1 = matrix(origin, e, d, D)
                _, slope = activation(product(key, tl.trans(w1), DOT, PRECISION), ACT)
                abar = product(zbar, matrix(origin + FIRST, w, e, E), DOT, PRECISION) * slope
                abar += tile(inputbar + at * E, t, e, E, live)
                key_bar += product(abar, w1, DOT, PRECISION)
                wbar = product(tl.trans(abar), key, DOT, PRECISION)
                place1 = e[:, None] * D + d[None, :]
                x1 = tl.load(x + place1)
                kept_bar += tl.sum(x1 * tl.load(old + place1))
                new = tl.load(back + place1) + kept * x1
                if ALIGNED:
                    new += wbar
                else:
                    tl.store(anchor_bar + row.to(tl.int64) * SIZE + place1, wbar)
                tl.store(x + place1, new)
                if MOMENTUM:
                    s1, xs1 = tl.load(old + SIZE + place1), tl.load(x + SIZE + place1)
                    push_bar += tl.sum(x1 * s1)
                    carried_bar += tl.sum(xs1 * s1)
                    tl.store(x + SIZE + place1, tl.load(back + SIZE + place1) + moved * xs1 + push * x1)
            tl.store(kbar + of_key, key_bar, mask=live[:, None])
        tl.store(keep_bar + c * 4, kept_bar)
        if MOMENTUM:
            tl.store(keep_bar + c * 4 + 1, carried_bar)
            tl.store(keep_bar + c * 4 + 2, push_bar)
        tl.debug_barrier()  # the chunk before reads the carried adjoint
