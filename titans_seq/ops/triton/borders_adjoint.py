"""`borders`, backwards: the adjoint of a border's A, and of what link and slope made of it, to the chunk before."""

from __future__ import annotations

import triton
import triton.language as tl

from titans_seq.ops.triton.borders import EPS, block, places
from titans_seq.ops.triton.parts import power


@triton.jit
def _weight_bar(back, left, right, r, c, place, COLS: tl.constexpr, has_next):
    """Adjoint of link(A): from the next chunk's tokens, and from this chunk's last, an outer product."""
    bar = tl.load(back + place, mask=has_next & (place >= 0), other=0.0)
    return bar + tl.load(left + r)[:, None] * tl.load(right + c)[None, :]


@triton.jit
def _lq_sums(
    dual, back, slope_bar, left, right, has_next, RETENTION: tl.constexpr, AMOUNT: tl.constexpr,
    ROWS: tl.constexpr, COLS: tl.constexpr, NUMBERS: tl.constexpr,
):  # fmt: skip
    """P, and what the adjoints of weights and slopes send to 1/N, N = P^((q-2)/q)."""
    total, both = tl.zeros((), tl.float32), tl.zeros((), tl.float32)
    for r0 in tl.range(0, ROWS, block(ROWS, COLS, NUMBERS), disable_licm=True):
        r, c, place = places(r0, ROWS, COLS, NUMBERS)
        a = tl.load(dual + place)
        bar = _weight_bar(back, left, right, r, c, place, COLS, has_next)
        sbar = tl.load(slope_bar + r, mask=has_next & (r >= 0), other=0.0)
        squared = a * a + EPS
        total += tl.sum(power(squared, AMOUNT / 2))
        if RETENTION == "lq_exact":
            grown = power(squared, (AMOUNT - 2.0) / 2)
            both += tl.sum(bar * a * grown) + tl.sum(sbar * ((AMOUNT - 1.0) / COLS) * tl.sum(grown, 1))
        else:
            both += tl.sum(bar * a) + tl.sum(sbar)
    return total, both


@triton.jit
def _before_floor(
    x, dual, before, along, AMOUNT: tl.constexpr, FLOOR: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr,
    NUMBERS: tl.constexpr,
):  # fmt: skip
    """Through A = A' floor / ||A'||: ``before`` is ||A'||, ``along`` the sum of x A."""
    shrink = before / FLOOR
    for r0 in tl.range(0, ROWS, block(ROWS, COLS, NUMBERS), disable_licm=True):
        _, _, place = places(r0, ROWS, COLS, NUMBERS)
        a = tl.load(dual + place) * shrink
        turn = power(a * a + EPS, AMOUNT / 2 - 1.0) * a * (along / power(before, AMOUNT))
        tl.store(x + place, tl.load(x + place) / shrink - turn)


@triton.jit
def open_matrix(
    x, dual, back, slope_bar, left, right, length, has_next, RETENTION: tl.constexpr, AMOUNT: tl.constexpr,
    FLOOR: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr, NUMBERS: tl.constexpr,
):  # fmt: skip
    """``x``, the adjoint of border(A), becomes that of A; returns that of ``written``.

    ``back`` and ``slope_bar`` are read where there is a next chunk; ``left`` and ``right`` are the factors of what the
    chunk's last token sends to the weights.
    """
    written_bar, along = tl.zeros((), tl.float32), tl.zeros((), tl.float32)
    norm, turn = tl.full((), 1.0, tl.float32), tl.zeros((), tl.float32)
    if RETENTION == "lq" or RETENTION == "lq_exact":
        total, both = _lq_sums(
            dual, back, slope_bar, left, right, has_next, RETENTION, AMOUNT, ROWS, COLS, NUMBERS
        )  # fmt: skip
        norm = power(total, (AMOUNT - 2.0) / AMOUNT)
        turn = both * (AMOUNT - 2.0) / (norm * total)  # dN/da = (q - 2) N / P (a^2 + eps)^(q/2 - 1) a
    for r0 in tl.range(0, ROWS, block(ROWS, COLS, NUMBERS), disable_licm=True):
        r, c, place = places(r0, ROWS, COLS, NUMBERS)
        a = tl.load(dual + place)
        bar = _weight_bar(back, left, right, r, c, place, COLS, has_next)
        sbar = tl.load(slope_bar + r, mask=has_next & (r >= 0), other=0.0)[:, None]
        y = tl.load(x + place)
        if RETENTION == "kl":
            share = tl.exp(a)
            bar = AMOUNT * (COLS * bar + sbar * (1.0 - 2.0 * share))
            y += share * (bar - tl.sum(bar * share, 1)[:, None])
            y -= share * tl.sum(y, 1)[:, None]
        elif RETENTION == "bregman":
            w = tl.sigmoid(a)
            y += (bar + sbar * (1.0 - 2.0 * w) / COLS) * w * (1.0 - w)
        elif RETENTION == "elastic_net":
            y = tl.where(a == 0.0, 0.0, y + bar)
            written_bar -= AMOUNT * tl.sum(tl.where(a > 0.0, y, -y))
        else:
            squared = a * a + EPS
            if RETENTION == "lq_exact":
                bent = (AMOUNT - 2.0) * a * power(squared, AMOUNT / 2 - 2.0)
                y += bar * (power(squared, (AMOUNT - 2.0) / 2) + bent * a) / norm
                y += sbar * ((AMOUNT - 1.0) / COLS) * bent / norm
            else:
                y += bar / norm
            y -= turn * power(squared, AMOUNT / 2 - 1.0) * a
            along += tl.sum(y * a)
        tl.store(x + place, y)
    if RETENTION == "lq" or RETENTION == "lq_exact":
        before = tl.load(length)
        if before < FLOOR:
            tl.debug_barrier()  # ``x`` is read again, by other threads
            _before_floor(x, dual, before, along, AMOUNT, FLOOR, ROWS, COLS, NUMBERS)
    return written_bar


@triton.jit
def open_chunk(
    x, dual, back, slope_bar, left, right, lengths, has_next, RETENTION: tl.constexpr, AMOUNT: tl.constexpr,
    FLOOR: tl.constexpr, D: tl.constexpr, V: tl.constexpr, E: tl.constexpr, DEPTH: tl.constexpr,
    NUMBERS: tl.constexpr,
):  # fmt: skip
    """`open_matrix` of every layer. ``left`` (E, then V) and ``right`` (D, then E) as `closing` leaves them."""
    if DEPTH == 2:
        written_bar = open_matrix(
            x, dual, back, slope_bar, left, right, lengths, has_next, RETENTION, AMOUNT, FLOOR, E, D, NUMBERS
        )
        written_bar += open_matrix(
            x + E * D, dual + E * D, back + E * D, slope_bar + E, left + E, right + D, lengths + 1, has_next,
            RETENTION, AMOUNT, FLOOR, V, E, NUMBERS,
        )  # fmt: skip
    else:
        written_bar = open_matrix(
            x, dual, back, slope_bar, left, right, lengths + 1, has_next, RETENTION, AMOUNT, FLOOR, V, E, NUMBERS
        )
    return written_bar
