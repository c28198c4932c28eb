"""What a non-linear retention gate does where a chunk closes: the twin of `titans_seq.ops.retention`, on matrices.

Inside a chunk the dual A moves linearly, whatever the gate. At its end, per matrix: A becomes border(A); the next
chunk's gradients are taken at link(A); its reads follow A with one slope per row. Elements meet in rows (``kl``) or in
the whole matrix (``lq``), so a matrix is worked through by whole rows, ``NUMBERS`` elements at a time.

Weights of ``kl`` and ``bregman`` are all positive, and rows that resemble each other give outputs that are nearly
equal; the LayerNorm behind the last layer keeps only their differences, in which products of 16 bits, even of float32,
have few digits left. It does not see what all outputs have in common, so ``CENTRED`` takes the mean of its rows from
link(A). The errors that go back through them add up to zero, so that those do not see it either.

``lq`` needs its norm before anything else: P = sum (a^2 + eps)^(q/2), so that ||A||_q^(q-2) = P^((q-2)/q).
"""

from __future__ import annotations

import triton
import triton.language as tl

from titans_seq.ops.triton.parts import power

EPS = tl.constexpr(1e-12)


@triton.jit
def places(r0, ROWS: tl.constexpr, COLS: tl.constexpr, NUMBERS: tl.constexpr):
    """Rows from ``r0`` on, columns, and their places in a matrix: as many rows as `block` says."""
    r, c = r0 + tl.arange(0, block(ROWS, COLS, NUMBERS)), tl.arange(0, COLS)
    return r, c, r[:, None] * COLS + c[None, :]


@triton.constexpr_function
def block(rows, cols, numbers):
    """Rows worked on at a time."""
    return max(1, min(rows, numbers // cols))


@triton.jit
def powers(dual, grow, AMOUNT: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr, NUMBERS: tl.constexpr):
    """P of ``grow A``."""
    total = tl.zeros((), tl.float32)
    for r0 in tl.range(0, ROWS, block(ROWS, COLS, NUMBERS), disable_licm=True):
        _, _, place = places(r0, ROWS, COLS, NUMBERS)
        a = tl.load(dual + place) * grow
        total += tl.sum(power(a * a + EPS, AMOUNT / 2))
    return total


@triton.jit
def close_matrix(
    dual, weights, slopes, length, written, RETENTION: tl.constexpr, AMOUNT: tl.constexpr, FLOOR: tl.constexpr,
    ROWS: tl.constexpr, COLS: tl.constexpr, NUMBERS: tl.constexpr, CENTRED: tl.constexpr,
):  # fmt: skip
    """border(A) in place, ``weights`` = link of it and ``slopes`` (ROWS,); lq leaves ||A||_q before in ``length``.

    ``AMOUNT`` is q of lq, c over the row's length of kl, gamma of elastic_net; ``written`` the sum of theta.
    """
    grow, norm = tl.full((), 1.0, tl.float32), tl.full((), 1.0, tl.float32)
    if RETENTION == "lq" or RETENTION == "lq_exact":
        total = powers(dual, grow, AMOUNT, ROWS, COLS, NUMBERS)
        before = power(total, 1.0 / AMOUNT)
        tl.store(length, before)
        if before < FLOOR:
            grow = FLOOR / before
            total = powers(dual, grow, AMOUNT, ROWS, COLS, NUMBERS)
        norm = power(total, (AMOUNT - 2.0) / AMOUNT)
    for r0 in tl.range(0, ROWS, block(ROWS, COLS, NUMBERS), disable_licm=True):
        r, _, place = places(r0, ROWS, COLS, NUMBERS)
        a = tl.load(dual + place)
        if RETENTION == "kl":
            a -= tl.max(a, 1)[:, None]
            share = tl.exp(a)
            total = tl.sum(share, 1)
            share *= (1.0 / total)[:, None]
            a -= tl.log(total)[:, None]
            w, slope = AMOUNT * COLS * share, AMOUNT * tl.sum(share * (1.0 - share), 1)
        elif RETENTION == "bregman":
            w = tl.sigmoid(a)
            slope = tl.sum(w * (1.0 - w), 1) / COLS
        elif RETENTION == "elastic_net":
            left = tl.maximum(tl.abs(a) - AMOUNT * written, 0.0)
            a = tl.where(a > 0.0, left, -left)
            w, slope = a, tl.sum(tl.zeros_like(a), 1) + 1.0
        else:
            a *= grow
            w, slope = a / norm, tl.sum(tl.zeros_like(a), 1) + 1.0 / norm
            if RETENTION == "lq_exact":
                grown = power(a * a + EPS, (AMOUNT - 2.0) / 2)
                w, slope = w * grown, (AMOUNT - 1.0) * tl.sum(grown, 1) / (COLS * norm)
        tl.store(dual + place, a)
        tl.store(weights + place, w)
        tl.store(slopes + r, slope)
    if CENTRED:
        tl.debug_barrier()
        middle = tl.zeros((COLS,), tl.float32)
        for r0 in tl.range(0, ROWS, block(ROWS, COLS, NUMBERS), disable_licm=True):
            _, _, place = places(r0, ROWS, COLS, NUMBERS)
            middle += tl.sum(tl.load(weights + place), 0) / ROWS
        tl.debug_barrier()
        for r0 in tl.range(0, ROWS, block(ROWS, COLS, NUMBERS), disable_licm=True):
            _, _, place = places(r0, ROWS, COLS, NUMBERS)
            tl.store(weights + place, tl.load(weights + place) - middle[None, :])


@triton.jit
def close_chunk(
    dual, weights, slopes, lengths, written, RETENTION: tl.constexpr, AMOUNT: tl.constexpr, FLOOR: tl.constexpr,
    D: tl.constexpr, V: tl.constexpr, E: tl.constexpr, DEPTH: tl.constexpr, NUMBERS: tl.constexpr,
    CENTRED: tl.constexpr,
):  # fmt: skip
    """`close_matrix` of every layer. ``slopes``: those of W_1's rows (depth 2), then of W_2's; ``lengths`` (2,)."""
    if DEPTH == 2:
        close_matrix(dual, weights, slopes, lengths, written, RETENTION, AMOUNT, FLOOR, E, D, NUMBERS, False)
        close_matrix(
            dual + E * D, weights + E * D, slopes + E, lengths + 1, written, RETENTION, AMOUNT, FLOOR, V, E, NUMBERS,
            CENTRED,
        )  # fmt: skip
    else:
        close_matrix(dual, weights, slopes, lengths + 1, written, RETENTION, AMOUNT, FLOOR, V, E, NUMBERS, CENTRED)
