"""One stretch of chunks as an autograd function, worked through in blocks of bounded size.

Forward: per block, the write pass from border to border, then the read pass over the block. Backward: the blocks in
reverse, with the adjoint of the state handed from one to the one before. What a block leaves for its backward pass
is layer outputs and the states at its borders; activations and slopes are computed again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from titans_seq.ops.chunk_adjoint import write_backward
from titans_seq.ops.chunk_read import read_backward, read_forward
from titans_seq.ops.chunk_write import KeyPath, Trace, write_forward
from titans_seq.ops.coefficients import Coefficients
from titans_seq.ops.first_order import first_order
from titans_seq.ops.rule import MemoryRule

# Numbers in the largest tensor of a block on a CPU. Smaller blocks stay in the cache but pay more for calling torch,
# larger ones want more RAM: between 2^18 and one block for everything the speed was the same (LOG.md).
_BLOCK = 2**18


@dataclass
class Block:
    """Chunks [start, stop) of a stretch, and what their forward pass left."""

    start: int
    stop: int
    trace: Trace
    pre: list[Tensor]
    kept: list[Tensor | None]

    def groups(self, aligned: bool, linear: bool) -> list[list[Any]]:
        """The tensors to save; anchors and weights only where they are not views of the state."""
        t = self.trace
        own = [[] if aligned else t.anchors, [] if linear else t.weights]
        return [[t.delta], t.state, t.unclosed, t.pre, t.carried, self.pre, self.kept, *own]


class Stretch(torch.autograd.Function):
    """n chunks: (q, k, v, coefficients, state) -> (reads, length of the surprise, state).

    Shapes: q, k (n, N, C, D), v (n, N, C, D_v), threshold (n, N, C, 1), start (N, R, size), anchor (N, size) or None
    where the call starts at a border; coefficients as in `Coefficients`.
    """

    @staticmethod
    def forward(ctx: Any, rule: MemoryRule, closes: bool, keep_for_backward: bool, q: Tensor, k: Tensor, v: Tensor,
                threshold: Tensor | None, g: Tensor, fade: Tensor, share: Tensor, keep: Tensor, push: Tensor | None,
                written: Tensor, start: Tensor, anchor: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        c, st = Coefficients(g, fade, share, keep, push, written), rule.structure
        anchors, state = None if anchor is None else st.split(anchor), _stacks(rule, start)
        y, surprise = torch.empty_like(v), v.new_empty(v.shape[:3])
        saved: list[Any] = []
        ctx.layout = []
        for lo, hi in _blocks(rule, q):
            cb, whole = c.slice(lo, hi), closes or hi < len(q)
            at = None if threshold is None else threshold[lo:hi]
            trace, path = write_forward(
                rule, k[lo:hi], v[lo:hi], at, cb, state, anchors if lo == 0 else None, closes=whole
            )
            y[lo:hi], pre, kept = read_forward(rule, q[lo:hi], cb, trace, path, closes=whole)
            squares = [la.squared_length(d, a) for la, d, a in zip(st.layers, path.deltas, path.inputs, strict=True)]
            surprise[lo:hi] = torch.stack(squares).sum(0).sqrt_()
            state = [s[-1] for s in trace.state]
            if keep_for_backward:
                groups = Block(lo, hi, trace, pre, kept).groups(lo > 0 or anchor is None, rule.retention.linear)
                ctx.layout.append((lo, hi, [len(group) for group in groups]))
                saved += [x for group in groups for x in group]
        ctx.rule, ctx.closes = rule, closes
        ctx.save_for_backward(q, k, v, threshold, g, fade, share, keep, push, written, *saved)
        ctx.mark_non_differentiable(surprise)
        ctx.set_materialize_grads(False)
        return y, surprise, _unstack(rule, state)

    @staticmethod
    @first_order
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        ybar, _, end_bar = grads
        rule, st, closes = ctx.rule, ctx.rule.structure, ctx.closes
        q, k, v, threshold, g, fade, share, keep, push, written = ctx.saved_tensors[:10]
        c = Coefficients(g, fade, share, keep, push, written)
        ybar = torch.zeros_like(v) if ybar is None else ybar
        blocks = _restore(rule, ctx.layout, ctx.saved_tensors[10:])
        if end_bar is None:
            end = [torch.zeros_like(s[-1]) for s in blocks[-1].trace.state]
        else:
            end = [e.clone() for e in _stacks(rule, end_bar)]
        arguments = (q, k, v, threshold, g, fade, share, keep, push, written)
        bars = [None if x is None else torch.empty_like(x) for x in arguments]
        anchor_bar = None
        for block in reversed(blocks):
            cut = slice(block.start, block.stop)
            cb, whole = c.slice(block.start, block.stop), closes or block.stop < len(q)
            at = None if threshold is None else threshold[cut]
            path, slopes, bends = _key_path(rule, k[cut], block.trace)
            qb, adj, gb, fb = read_backward(
                rule, q[cut], cb, block.trace, path, block.pre, block.kept, ybar[cut], closes=whole
            )
            aligned = block.start > 0 or ctx.layout[0][2][-2] == 0
            w = write_backward(
                rule, v[cut], at, cb, block.trace, path, slopes, bends, adj, end, closes=whole, aligned=aligned
            )
            end = w.start
            parts = (qb, w.k, w.v, w.threshold, gb, fb, w.share, w.keep, w.push, w.written)
            for total, part in zip(bars, parts, strict=True):
                if total is not None and part is not None:
                    total[cut] = part
            if not aligned:
                anchor_bar = st.join(w.anchor)
        return None, None, None, *bars, _unstack(rule, end), anchor_bar


def _blocks(rule: MemoryRule, q: Tensor) -> list[tuple[int, int]]:
    """Chunks [start, stop) worked through together: all of them, except on a CPU."""
    n, rows, size, _ = q.shape
    width = max(max(shape) for shape in rule.structure.shapes)
    step = n if q.device.type != "cpu" else max(1, _BLOCK // (rows * size * width))
    return [(lo, min(lo + step, n)) for lo in range(0, n, step)]


def _restore(rule: MemoryRule, layout: list[Any], saved: tuple[Any, ...]) -> list[Block]:
    """The inverse of `Block.groups`."""
    tensors, blocks = iter(saved), []
    for lo, hi, sizes in layout:
        (delta,), state, unclosed, pre_k, carried, pre, kept, anchors, weights = (
            [next(tensors) for _ in range(size)] for size in sizes
        )
        anchors = anchors or [layer.part(s[:-1], 0) for layer, s in zip(rule.structure.layers, state, strict=True)]
        trace = Trace(state, anchors, weights or anchors, unclosed, pre_k, carried, delta)
        blocks.append(Block(lo, hi, trace, pre, kept))
    return blocks


def _key_path(rule: MemoryRule, k: Tensor, trace: Trace) -> tuple[KeyPath, list[Tensor], list[Tensor]]:
    """Inputs and errors of every layer again, with act'(pre) and act''(pre) * carried of the hidden ones."""
    inputs, slopes, bends = [k], [], []
    for z, t in zip(trace.pre, trace.carried, strict=False):
        value, slope, bend = rule.structure.act.expansion(z)
        inputs.append(value)
        slopes.append(slope)
        bends.append(bend.mul_(t))
    deltas = [*(t * s for t, s in zip(trace.carried, slopes, strict=True)), trace.delta]
    return KeyPath(inputs, deltas), slopes, bends


def _stacks(rule: MemoryRule, flat: Tensor) -> list[Tensor]:
    """Flat states (N, R, size) as one stack per layer."""
    parts = rule.structure.split(flat)
    return [layer.stack(list(p.unbind(1))) for layer, p in zip(rule.structure.layers, parts, strict=True)]


def _unstack(rule: MemoryRule, stacks: list[Tensor]) -> Tensor:
    """The inverse of `_stacks`."""
    st = rule.structure
    count = stacks[0].numel() // (stacks[0].shape[0] * st.shapes[0][0] * st.shapes[0][1])
    rows = [[layer.part(s, r) for layer, s in zip(st.layers, stacks, strict=True)] for r in range(count)]
    return torch.stack([st.join(row) for row in rows], 1)
