"""What the last token of a chunk reads under a non-linear gate: link(A) after the border, one program per chunk.

All other tokens read along a straight line (`read`); these few take weights of their own, so they are products of a
matrix with one vector each, in float32. Backwards, what they send to the weights stays two factors of an outer product
per matrix, which `borders_adjoint` multiplies where it needs them.
"""

from __future__ import annotations

import triton
import triton.language as tl

from titans_seq.ops.triton.parts import activation, matrix, norm, norm_back


@triton.jit
def _hidden(query, weights, at_query, d, e, D: tl.constexpr, DEPTH: tl.constexpr, ACT: tl.constexpr):
    """Inputs of the last layer at columns ``e``, and the activation's slope there."""
    if DEPTH == 2:
        h, slope = activation(tl.sum(matrix(weights, e, d, D) * query[None, :], 1), ACT)
    else:
        h = tl.load(at_query + e)
        slope = h
    return h, slope


@triton.jit
def _output(
    query, weights, at_query, d, w, D: tl.constexpr, V: tl.constexpr, E: tl.constexpr, BE: tl.constexpr,
    DEPTH: tl.constexpr, ACT: tl.constexpr,
):  # fmt: skip
    """The last layer's output, (1, V)."""
    FIRST: tl.constexpr = E * D if DEPTH == 2 else 0
    out = tl.zeros((V,), tl.float32)
    for e0 in tl.range(0, E, BE, disable_licm=True):
        e = e0 + tl.arange(0, BE)
        h, _ = _hidden(query, weights, at_query, d, e, D, DEPTH, ACT)
        out += tl.sum(matrix(weights + FIRST, w, e, E) * h[None, :], 1)
    return out[None, :]


@triton.jit
def closing_forward(
    q, weights, y, base, length, first, row_of, closing,
    D: tl.constexpr, V: tl.constexpr, E: tl.constexpr, BE: tl.constexpr, C: tl.constexpr, DEPTH: tl.constexpr,
    NORMALISED: tl.constexpr, RESIDUAL: tl.constexpr, ACT: tl.constexpr,
):  # fmt: skip
    """Fill ``y`` (tokens, V) at the last token of every chunk that closes; ``closing`` (rows,) says how many do."""
    SIZE: tl.constexpr = (E * D if DEPTH == 2 else 0) + V * E
    chunk = tl.program_id(0)
    row = tl.load(row_of + chunk)
    place = chunk - tl.load(first + row)
    if place < tl.load(closing + row):
        d, w = tl.arange(0, D), tl.arange(0, V)
        at = tl.load(base + row) + tl.minimum(place * C + C, tl.load(length + row)) - 1
        query = tl.load(q + at * D + d)
        border = weights + (chunk + row + 1).to(tl.int64) * SIZE
        out = _output(query, border, q + at * D, d, w, D, V, E, BE, DEPTH, ACT)
        if NORMALISED:
            out, _ = norm(out, V)
        if RESIDUAL:
            out += tl.load(q + at * D + w)[None, :]
        tl.store(y + at * V + w[None, :], out)


@triton.jit
def closing_backward(
    q, weights, ybar, qbar, left, right, base, length, first, row_of, closing,
    D: tl.constexpr, V: tl.constexpr, E: tl.constexpr, BE: tl.constexpr, C: tl.constexpr, DEPTH: tl.constexpr,
    NORMALISED: tl.constexpr, RESIDUAL: tl.constexpr, ACT: tl.constexpr,
):  # fmt: skip
    """Those tokens' ``qbar``, and the factors of their adjoints of W_1, W_2: ``left`` (chunks, E + V) and ``right``
    (chunks, D + E); depth 1 has W_2's alone."""
    FIRST: tl.constexpr = E * D if DEPTH == 2 else 0
    SIZE: tl.constexpr = FIRST + V * E
    ABOVE: tl.constexpr = E if DEPTH == 2 else 0
    BESIDE: tl.constexpr = D if DEPTH == 2 else 0
    chunk = tl.program_id(0)
    row = tl.load(row_of + chunk)
    place = chunk - tl.load(first + row)
    if place < tl.load(closing + row):
        d, w = tl.arange(0, D), tl.arange(0, V)
        at = tl.load(base + row) + tl.minimum(place * C + C, tl.load(length + row)) - 1
        query = tl.load(q + at * D + d)
        border = weights + (chunk + row + 1).to(tl.int64) * SIZE
        left += chunk.to(tl.int64) * (ABOVE + V)
        right += chunk.to(tl.int64) * (BESIDE + E)
        bar = tl.load(ybar + at * V + w)[None, :]
        if NORMALISED:
            normal, rstd = norm(_output(query, border, q + at * D, d, w, D, V, E, BE, DEPTH, ACT), V)
            bar = norm_back(bar, normal, rstd, V)
        tl.store(left + ABOVE + w[None, :], bar)
        bar = tl.sum(bar, 0)
        query_bar = tl.zeros((D,), tl.float32)
        for e0 in tl.range(0, E, BE, disable_licm=True):
            e = e0 + tl.arange(0, BE)
            h, slope = _hidden(query, border, q + at * D, d, e, D, DEPTH, ACT)
            tl.store(right + BESIDE + e, h)
            hbar = tl.sum(matrix(border + FIRST, w, e, E) * bar[:, None], 0)
            if DEPTH == 2:
                hbar *= slope
                tl.store(left + e, hbar)
                query_bar += tl.sum(matrix(border, e, d, D) * hbar[:, None], 0)
            else:
                if RESIDUAL:
                    hbar += tl.load(ybar + at * V + e)
                tl.store(qbar + at * D + e, hbar)
        if DEPTH == 2:
            if RESIDUAL:
                query_bar += tl.load(ybar + at * V + d)
            tl.store(right + d, query)
            tl.store(qbar + at * D + d, query_bar)
