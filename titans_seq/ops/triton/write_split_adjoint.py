"""The write pass of `write_split`, backwards: each program carries the adjoint of its slice from border to border.

With a row's chunks numbered from the last, step s does the second half of chunk s - 1, then the first half of chunk s:

    first half     the slice's part of the adjoint of the chunk's last errors, from the adjoint of the border behind it
    second half    their sum over slices; down through the keys' way forward; the adjoint moves to the border before

of the same sweeps as in `write_adjoint`, each over the slice's columns. What runs through all columns and no step waits
for (adjoints of keys, shares and of what is kept) is left per slice, to be added up behind the kernel.
"""

from __future__ import annotations

import triton
import triton.language as tl

from titans_seq.ops.triton.exchange import announce, await_all, gathered, own_part
from titans_seq.ops.triton.parts import tile
from titans_seq.ops.triton.write_adjoint import last_layer_vjp
from titans_seq.ops.triton.write_sweeps import (
    first_layer,
    first_outputs,
    first_surprises,
    keys_of_first_surprises,
    last_layer,
    last_surprises,
)


@triton.jit(do_not_specialize=["begin", "stop", "total"])
def write_split_backward(
    k, v, threshold, share, keep, anchor, states, delta, out_k, deltabar, inputbar, hiddenbar, statebar,
    carry, kbars, vbar, threshold_bar, share_bars, keep_bars, anchor_bar, parts, scratch, arrived, begin, stop, total,
    base, length, first,
    D: tl.constexpr, V: tl.constexpr, E: tl.constexpr, BE: tl.constexpr, C: tl.constexpr, DEPTH: tl.constexpr,
    MOMENTUM: tl.constexpr, ALIGNED: tl.constexpr, NORMALISED: tl.constexpr, RESIDUAL: tl.constexpr,
    THRESHOLD: tl.constexpr, ACT: tl.constexpr, BIAS: tl.constexpr, OPTION: tl.constexpr, SHARPNESS: tl.constexpr,
    MAX_ERROR: tl.constexpr, DOT: tl.constexpr, PRECISION: tl.constexpr, WAITS: tl.constexpr,
    SLICE: tl.constexpr,
):  # fmt: skip
    """What `write_backward` does under a linear gate, for steps ``begin`` to ``stop``; a row of n chunks has n + 1.

    ``kbars`` (slices, ``total`` tokens, D), zero at first, ``share_bars`` (chunks, slices, 2, C) and ``keep_bars``
    (chunks, slices, 4) are to be summed over slices. parts (2, rows, slices, C, V), arrived (rows, `APART`) as in
    `write_split_forward`; scratch (rows, slices, C, V). A slice has ``SLICE`` columns, worked on in blocks of ``BE``.
    """
    FIRST: tl.constexpr = E * D if DEPTH == 2 else 0
    SIZE: tl.constexpr = FIRST + V * E
    STRIDE: tl.constexpr = 2 * SIZE if MOMENTUM else SIZE
    SLICES: tl.constexpr = E // SLICE
    rows, row, part = tl.num_programs(0) // SLICES, tl.program_id(0) // SLICES, tl.program_id(0) % SLICES
    lo, hi = part * SLICE, part * SLICE + SLICE
    start, tokens, chunk = tl.load(base + row), tl.load(length + row), tl.load(first + row)
    n = tl.cdiv(tokens, C)
    x = carry + row.to(tl.int64) * STRIDE
    for step in tl.range(begin, tl.minimum(stop, n + 1), disable_licm=True):
        t, d, w = tl.arange(0, C), tl.arange(0, D), tl.arange(0, V)
        of_key, of_value = t[:, None] * D + d[None, :], t[:, None] * V + w[None, :]
        if step > 0:
            i = n - step
            live, at, c = i * C + t < tokens, start + i * C, (chunk + i).to(tl.int64)
            old = states + (c + row) * STRIDE
            origin, outside = old, old
            if not ALIGNED:
                origin, outside = anchor + row.to(tl.int64) * SIZE, anchor_bar + row.to(tl.int64) * SIZE
            keys, errors = k + at * D, delta + at * V
            inputs, hidden = inputbar + at * E, hiddenbar + at * E
            key_bars = kbars + (part.to(tl.int64) * total + at) * D
            own = own_part(scratch, 0, row, rows, part, SLICES, C, V)
            value, out = tile(v + at * V, t, w, V, live), tile(out_k + at * V, t, w, V, live)
            target = value
            if RESIDUAL:
                target = value - tile(keys, t, d, D, live)
            bound = tl.zeros((C,), tl.float32)
            if THRESHOLD:
                bound = tl.load(threshold + at + t, mask=live, other=1.0)
            if WAITS:
                await_all(arrived, row, step, SLICES)
            top = gathered(parts, i, row, rows, of_value, SLICES, C, V)
            zbar, rbar, value_bar, bound_bar = last_layer_vjp(
                top, out, target, value, bound, V, NORMALISED, BIAS, OPTION, SHARPNESS, MAX_ERROR
            )
            told = live & (part == 0)  # every slice has made the same
            if RESIDUAL:
                tl.store(key_bars + of_key, tile(key_bars, t, d, D, live) + rbar, mask=told[:, None])
            tl.store(vbar + at * V + of_value, value_bar - rbar, mask=told[:, None])
            if THRESHOLD:
                tl.store(threshold_bar + at + t, bound_bar, mask=told)
            tl.store(own + of_value, zbar)
            kept = tl.load(keep + c * 4)
            moved, push, nothing = kept, kept, tl.full([], 0.0, tl.float32)
            if MOMENTUM:
                moved, push = tl.load(keep + c * 4 + 1), tl.load(keep + c * 4 + 2)
            tl.debug_barrier()  # the sweeps read what other threads have written
            kept_bar, carried_bar, push_bar = last_layer(
                keys, errors, own, inputs, hidden, key_bars, origin, old, statebar + c * STRIDE, x, outside, kept,
                moved, push, nothing, nothing, nothing, live, t, d, w, lo, hi,
                D, V, E, BE, DEPTH, MOMENTUM, ALIGNED, False, ACT, DOT, PRECISION,
            )  # fmt: skip
            if DEPTH == 2:
                first_outputs(keys, own, inputs, origin, live, t, d, w, lo, hi, D, V, E, BE, ACT, DOT, PRECISION)
                tl.debug_barrier()
                key_bar, kept_bar, carried_bar, push_bar = first_layer(
                    tile(key_bars, t, d, D, live), keys, inputs, origin, old, statebar + c * STRIDE, x, outside, kept,
                    moved, push, kept_bar, carried_bar, push_bar, live, t, d, w, lo, hi,
                    D, V, E, BE, MOMENTUM, ALIGNED, False, DOT, PRECISION,
                )  # fmt: skip
                tl.store(key_bars + of_key, key_bar, mask=live[:, None])
            sums = keep_bars + (c * SLICES + part) * 4
            tl.store(sums, kept_bar)
            if MOMENTUM:
                tl.store(sums + 1, carried_bar)
                tl.store(sums + 2, push_bar)
            tl.debug_barrier()  # the chunk before reads the carried adjoint
        if step < n:
            i = n - 1 - step
            live, at, c = i * C + t < tokens, start + i * C, (chunk + i).to(tl.int64)
            origin = states + (c + row) * STRIDE
            if not ALIGNED:
                origin = anchor + row.to(tl.int64) * SIZE
            keys, errors = k + at * D, delta + at * V
            inputs, hidden = inputbar + at * E, hiddenbar + at * E
            share_w = tl.load(share + c * (2 * C) + t)
            share_s = share_w
            if MOMENTUM:
                share_s = tl.load(share + c * (2 * C) + C + t)
            top, bar_w, bar_s = last_surprises(
                tile(deltabar + at * V, t, w, V, live & (part == 0)), keys, errors, inputs, origin, x, share_w,
                share_s, live, t, d, w, lo, hi, D, V, E, BE, C, DEPTH, MOMENTUM, ACT, DOT, PRECISION,
            )  # fmt: skip
            if DEPTH == 2:
                tl.debug_barrier()
                top, bar_w, bar_s = first_surprises(
                    top, bar_w, bar_s, keys, errors, inputs, hidden, origin, x, share_w, share_s, live, t, d, w,
                    lo, hi, D, V, E, BE, MOMENTUM, ACT, DOT, PRECISION,
                )  # fmt: skip
            tl.store(own_part(parts, i, row, rows, part, SLICES, C, V) + of_value, top, cache_modifier=".cg")
            if WAITS:
                announce(arrived, row)
            sums = share_bars + (c * SLICES + part) * (2 * C)
            tl.store(sums + t, bar_w)
            if MOMENTUM:
                tl.store(sums + C + t, bar_s)
            if DEPTH == 2:
                key_bar = keys_of_first_surprises(
                    tl.zeros((C, D), tl.float32), keys, errors, origin, x, share_w, share_s, live, t, d, w, lo, hi,
                    D, V, E, BE, MOMENTUM, ACT, DOT, PRECISION,
                )  # fmt: skip
                tl.store(kbars + (part.to(tl.int64) * total + at) * D + of_key, key_bar, mask=live[:, None])
            tl.debug_barrier()
