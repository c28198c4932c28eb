"""Sweeps over blocks of hidden columns, of which one chunk's step of `write_backward` is made.

Pointers ``keys, errors, inputbar, hiddenbar`` stand at the chunk's first token, ``x`` (the carried adjoint), ``old``
and ``back`` at the row's or border's first weight; ``t``, ``d``, ``w`` number tokens, key and value columns; ``live``
(C,) is False where the chunk has no token. Columns run from ``lo`` to ``hi``: all of them, or a program's slice. A
state is W_1 (E, D), W_2 (V, E), then the same of S; depth 1 has W_2 alone.
Each sweep loads what it needs again rather than keep it: registers are what the kernel is short of.
"""

from __future__ import annotations

import triton
import triton.language as tl

from titans_seq.ops.triton.parts import activation, bend, matrix, product, tile


@triton.jit
def last_surprises(
    top, keys, errors, inputbar, origin, x, share_w, share_s, live, t, d, w, lo, hi,
    D: tl.constexpr, V: tl.constexpr, E: tl.constexpr, BE: tl.constexpr, C: tl.constexpr, DEPTH: tl.constexpr,
    MOMENTUM: tl.constexpr, ACT: tl.constexpr, DOT: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Through the last layer's surprises: adjoints of its errors (added to ``top``), of both shares, and, taken from
    ``inputbar``, of its activations."""
    FIRST: tl.constexpr = E * D if DEPTH == 2 else 0
    SIZE: tl.constexpr = FIRST + V * E
    bar_w, bar_s = tl.zeros((C,), tl.float32), tl.zeros((C,), tl.float32)
    for e0 in tl.range(lo, hi, BE, disable_licm=True):
        e = e0 + tl.arange(0, BE)
        err = tile(errors, t, w, V, live)
        if DEPTH == 2:
            z = product(tile(keys, t, d, D, live), tl.trans(matrix(origin, e, d, D)), DOT, PRECISION)
            a, _ = activation(z, ACT)
        else:
            a = tile(keys, t, e, D, live)
        x2 = matrix(x + FIRST, w, e, E)
        top -= product(a * share_w[:, None], tl.trans(x2), DOT, PRECISION)
        part = product(err, x2, DOT, PRECISION)
        bar_w -= tl.sum(part * a, 1)
        abar = tile(inputbar, t, e, E, live) - part * share_w[:, None]
        if MOMENTUM:
            x2 = matrix(x + SIZE + FIRST, w, e, E)
            top -= product(a * share_s[:, None], tl.trans(x2), DOT, PRECISION)
            part = product(err, x2, DOT, PRECISION)
            bar_s -= tl.sum(part * a, 1)
            abar -= part * share_s[:, None]
        tl.store(inputbar + (t[:, None] * E + e[None, :]), abar, mask=live[:, None])
    return top, bar_w, bar_s


@triton.jit
def first_surprises(
    top, bar_w, bar_s, keys, errors, inputbar, hiddenbar, origin, x, share_w, share_s, live, t, d, w, lo, hi,
    D: tl.constexpr, V: tl.constexpr, E: tl.constexpr, BE: tl.constexpr,
    MOMENTUM: tl.constexpr, ACT: tl.constexpr, DOT: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Through the first layer's surprises and the errors' way back to it: adds to ``top`` and to the shares' adjoints;
    ``hiddenbar`` becomes what W_2 meets on that way, ``inputbar`` the adjoint of the first outputs so far."""
    SIZE: tl.constexpr = E * D + V * E
    for e0 in tl.range(lo, hi, BE, disable_licm=True):
        e = e0 + tl.arange(0, BE)
        key, err = tile(keys, t, d, D, live), tile(errors, t, w, V, live)
        z = product(key, tl.trans(matrix(origin, e, d, D)), DOT, PRECISION)
        _, slope = activation(z, ACT)
        w2 = matrix(origin + E * D, w, e, E)
        carried = product(err, w2, DOT, PRECISION)
        d1 = carried * slope
        part = product(key, tl.trans(matrix(x, e, d, D)), DOT, PRECISION)
        bar_w -= tl.sum(part * d1, 1)
        dbar = tile(hiddenbar, t, e, E, live) - part * share_w[:, None]
        if MOMENTUM:
            part = product(key, tl.trans(matrix(x + SIZE, e, d, D)), DOT, PRECISION)
            bar_s -= tl.sum(part * d1, 1)
            dbar -= part * share_s[:, None]
        abar = tile(inputbar, t, e, E, live) * slope + dbar * bend(z, ACT) * carried
        dbar *= slope
        top += product(dbar, tl.trans(w2), DOT, PRECISION)
        place = t[:, None] * E + e[None, :]
        tl.store(hiddenbar + place, dbar, mask=live[:, None])
        tl.store(inputbar + place, abar, mask=live[:, None])
    return top, bar_w, bar_s


@triton.jit
def keys_of_first_surprises(
    key_bar, keys, errors, origin, x, share_w, share_s, live, t, d, w, lo, hi,
    D: tl.constexpr, V: tl.constexpr, E: tl.constexpr, BE: tl.constexpr,
    MOMENTUM: tl.constexpr, ACT: tl.constexpr, DOT: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """What the keys get (added to ``key_bar``) as one side of the first layer's surprises."""
    SIZE: tl.constexpr = E * D + V * E
    for e0 in tl.range(lo, hi, BE, disable_licm=True):
        e = e0 + tl.arange(0, BE)
        key, err = tile(keys, t, d, D, live), tile(errors, t, w, V, live)
        _, slope = activation(product(key, tl.trans(matrix(origin, e, d, D)), DOT, PRECISION), ACT)
        d1 = product(err, matrix(origin + E * D, w, e, E), DOT, PRECISION) * slope
        key_bar -= product(d1 * share_w[:, None], matrix(x, e, d, D), DOT, PRECISION)
        if MOMENTUM:
            key_bar -= product(d1 * share_s[:, None], matrix(x + SIZE, e, d, D), DOT, PRECISION)
    return key_bar


@triton.jit
def last_layer(
    keys, errors, outbar, inputbar, hiddenbar, kbar, origin, old, back, x, anchor_bar, kept, moved, push,
    kept_bar, carried_bar, push_bar, live, t, d, w, lo, hi,
    D: tl.constexpr, V: tl.constexpr, E: tl.constexpr, BE: tl.constexpr, DEPTH: tl.constexpr,
    MOMENTUM: tl.constexpr, ALIGNED: tl.constexpr, LINKED: tl.constexpr, ACT: tl.constexpr, DOT: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Through the keys' way forward in the last layer, whose outputs' adjoint is ``outbar``; moves W_2's adjoint on."""
    FIRST: tl.constexpr = E * D if DEPTH == 2 else 0
    SIZE: tl.constexpr = FIRST + V * E
    for e0 in tl.range(lo, hi, BE, disable_licm=True):
        e = e0 + tl.arange(0, BE)
        zbar = tile(outbar, t, w, V, live)
        if DEPTH == 2:
            z = product(tile(keys, t, d, D, live), tl.trans(matrix(origin, e, d, D)), DOT, PRECISION)
            a, _ = activation(z, ACT)
            wbar = product(tl.trans(zbar), a, DOT, PRECISION)
            turned, err = tile(hiddenbar, t, e, E, live), tile(errors, t, w, V, live)
            wbar += product(tl.trans(err), turned, DOT, PRECISION)
        else:
            wbar = product(tl.trans(zbar), tile(keys, t, e, D, live), DOT, PRECISION)
            abar = product(zbar, matrix(origin, w, e, E), DOT, PRECISION)
            abar += tile(inputbar, t, e, E, live) + tile(kbar, t, e, D, live)
            tl.store(kbar + (t[:, None] * D + e[None, :]), abar, mask=live[:, None])
        kept_bar, carried_bar, push_bar = _to_border_before(
            FIRST + w[:, None] * E + e[None, :], wbar, old, back, x, anchor_bar, kept, moved, push,
            kept_bar, carried_bar, push_bar, SIZE, MOMENTUM, ALIGNED, LINKED,
        )  # fmt: skip
    return kept_bar, carried_bar, push_bar


@triton.jit
def first_outputs(
    keys, outbar, inputbar, origin, live, t, d, w, lo, hi,
    D: tl.constexpr, V: tl.constexpr, E: tl.constexpr, BE: tl.constexpr, ACT: tl.constexpr, DOT: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Down to the first layer: ``inputbar`` becomes the whole adjoint of its outputs."""
    for e0 in tl.range(lo, hi, BE, disable_licm=True):
        e = e0 + tl.arange(0, BE)
        z = product(tile(keys, t, d, D, live), tl.trans(matrix(origin, e, d, D)), DOT, PRECISION)
        _, slope = activation(z, ACT)
        abar = product(tile(outbar, t, w, V, live), matrix(origin + E * D, w, e, E), DOT, PRECISION) * slope
        abar += tile(inputbar, t, e, E, live)
        tl.store(inputbar + (t[:, None] * E + e[None, :]), abar, mask=live[:, None])


@triton.jit
def first_layer(
    key_bar, keys, inputbar, origin, old, back, x, anchor_bar, kept, moved, push,
    kept_bar, carried_bar, push_bar, live, t, d, w, lo, hi,
    D: tl.constexpr, V: tl.constexpr, E: tl.constexpr, BE: tl.constexpr,
    MOMENTUM: tl.constexpr, ALIGNED: tl.constexpr, LINKED: tl.constexpr, DOT: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Through the first layer, whose outputs' adjoint is ``inputbar``: adds to ``key_bar``, moves W_1's adjoint on."""
    SIZE: tl.constexpr = E * D + V * E
    for e0 in tl.range(lo, hi, BE, disable_licm=True):
        e = e0 + tl.arange(0, BE)
        abar = tile(inputbar, t, e, E, live)
        key_bar += product(abar, matrix(origin, e, d, D), DOT, PRECISION)
        wbar = product(tl.trans(abar), tile(keys, t, d, D, live), DOT, PRECISION)
        kept_bar, carried_bar, push_bar = _to_border_before(
            e[:, None] * D + d[None, :], wbar, old, back, x, anchor_bar, kept, moved, push,
            kept_bar, carried_bar, push_bar, SIZE, MOMENTUM, ALIGNED, LINKED,
        )  # fmt: skip
    return key_bar, kept_bar, carried_bar, push_bar


@triton.jit
def _to_border_before(
    place, wbar, old, back, x, anchor_bar, kept, moved, push, kept_bar, carried_bar, push_bar,
    SIZE: tl.constexpr, MOMENTUM: tl.constexpr, ALIGNED: tl.constexpr, LINKED: tl.constexpr,
):  # fmt: skip
    """Carry the adjoint of the weights at ``place``, and of their momentum, over one chunk; sums for ``keep_bar``.

    ``wbar`` is what the chunk's own tokens send back to the weights that they were read at.
    """
    xw = tl.load(x + place)
    kept_bar += tl.sum(xw * tl.load(old + place))
    new = tl.load(back + place) + kept * xw
    if not ALIGNED:
        tl.store(anchor_bar + place, wbar)
    elif LINKED:  # to what the reads have sent to link(A)
        tl.store(anchor_bar + place, tl.load(anchor_bar + place) + wbar)
    else:
        new += wbar
    tl.store(x + place, new)
    if MOMENTUM:
        s, xs = tl.load(old + SIZE + place), tl.load(x + SIZE + place)
        push_bar += tl.sum(xw * s)
        carried_bar += tl.sum(xs * s)
        tl.store(x + SIZE + place, tl.load(back + SIZE + place) + moved * xs + push * xw)
    return kept_bar, carried_bar, push_bar
