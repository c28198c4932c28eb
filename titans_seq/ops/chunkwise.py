"""The dual form: the recurrence of `recurrent`, a chunk at a time, with an own backward pass.

Matrix products only; nothing of the size (tokens x fast weights) exists. Forward and backward follow design 3.2; the
gates become coefficients under autograd (`coefficients`), the rest is one `torch.autograd.Function` per stretch of
chunks (`chunk_stretch`): a write pass from border to border, then a read pass over many chunks at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from titans_seq.ops.checks import check_inputs
from titans_seq.ops.chunk_stretch import Stretch
from titans_seq.ops.coefficients import coefficients
from titans_seq.ops.rule import Gates, MemoryRule, MemoryState

# Most row-tokens in one stretch: enough to spread the cost of entering it, few enough that inference needs little RAM.
_STRETCH = 8192


def chunkwise(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    gates: Gates,
    state: MemoryState,
    *,
    rule: MemoryRule,
    chunk_size: int,
) -> tuple[Tensor, MemoryState]:
    """Same arguments, results and gradients as `titans_seq.ops.recurrent`, hundreds of times faster.

    Returns
    -------
    y : (B, H, T, D_v), and the state after the last token.
    """
    y, _, after = chunkwise_with_surprise(q, k, v, gates, state, rule=rule, chunk_size=chunk_size)
    return y, after


def chunkwise_with_surprise(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    gates: Gates,
    state: MemoryState,
    *,
    rule: MemoryRule,
    chunk_size: int,
) -> tuple[Tensor, Tensor, MemoryState]:
    """`chunkwise`, and the length ``||u_t||`` of every token's surprise, (B, H, T), outside the graph."""
    check_inputs(q, k, v, gates, state, rule, chunk_size)
    tokens = q.shape[2]
    reads, surprises = [q.new_empty(*q.shape[:2], 0, v.shape[-1])], [q.new_empty(*q.shape[:2], 0)]
    with torch.autocast(q.device.type, enabled=False):
        for start, stop, width in _stretches(state.position, tokens, chunk_size, _longest(q)):
            cut = slice(start, stop)
            y, surprise, state = _stretch(
                q[:, :, cut], k[:, :, cut], v[:, :, cut], gates.slice(start, stop), state, rule, width, chunk_size
            )
            reads.append(y)
            surprises.append(surprise)
    return torch.cat(reads, 2), torch.cat(surprises, 2), state


def _longest(q: Tensor) -> int:
    """Most tokens in one stretch."""
    return _STRETCH // (q.shape[0] * q.shape[1]) if q.device.type == "cpu" else 16 * _STRETCH


def _stretches(position: int, tokens: int, chunk: int, longest: int) -> Iterator[tuple[int, int, int]]:
    """(start, stop, chunk length) of pieces that are whole chunks, or part of one chunk at either end."""
    at = 0
    while at < tokens:
        room = chunk - (position + at) % chunk
        whole = (tokens - at) // chunk * chunk
        if room < chunk or whole == 0:
            width = min(room, tokens - at)
            yield at, at + width, width
            at += width
        else:
            step = min(whole, max(longest // chunk, 1) * chunk)
            yield at, at + step, chunk
            at += step


def _stretch(
    q: Tensor, k: Tensor, v: Tensor, gates: Gates, state: MemoryState, rule: MemoryRule, width: int, chunk: int
) -> tuple[Tensor, Tensor, MemoryState]:
    """Read and write ``n`` chunks of ``width`` tokens (n = 1 where width < chunk)."""
    batch, heads, tokens, _ = q.shape
    n, rows = tokens // width, batch * heads

    def lay(x: Tensor) -> Tensor:  # (B, H, T, ...) -> (n, B H, width, ...)
        return x.reshape(rows, n, width, *x.shape[3:]).transpose(0, 1).contiguous()

    def unlay(x: Tensor) -> Tensor:
        return x.transpose(0, 1).reshape(batch, heads, tokens, *x.shape[3:])

    mask = gates.mask
    if mask is not None:
        mask = lay(mask.unsqueeze(1).expand(batch, heads, tokens))
    c = coefficients(
        Gates(
            lay(gates.learning_rate),
            None if gates.forget is None else lay(gates.forget),
            None if gates.momentum is None else lay(gates.momentum),
            None,
            mask,
        )
    )
    threshold = None if gates.threshold is None else lay(gates.threshold).unsqueeze(-1)
    closes = (state.position + tokens) % chunk == 0
    pending = state.written.reshape(rows)
    written = torch.cat([(pending + c.written[0]).unsqueeze(0), c.written[1:]])
    rows_of_state = [state.weights] if state.momentum is None else [state.weights, state.momentum]
    start = torch.stack([x.reshape(rows, -1) for x in rows_of_state], 1)
    aligned = state.position % chunk == 0
    anchor = None if aligned else state.anchor.reshape(rows, -1)
    y, surprise, end = Stretch.apply(
        rule, closes, torch.is_grad_enabled(), lay(q), lay(k), lay(v), threshold,
        c.g, c.fade, c.share, c.keep, c.push, written, start, anchor,
    )  # fmt: skip
    weights = end[:, 0].view_as(state.weights)
    after = replace(
        state,
        weights=weights,
        momentum=None if state.momentum is None else end[:, 1].view_as(state.momentum),
        anchor=weights if closes else (state.weights if aligned else state.anchor),
        written=torch.zeros_like(state.written) if closes else written[-1].view_as(state.written),
        position=state.position + tokens,
    )
    return unlay(y), unlay(surprise), after
