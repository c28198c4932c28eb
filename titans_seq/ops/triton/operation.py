"""The kernels as one differentiable operation: the order of launches, and what is kept for the backward pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from titans_seq.ops.first_order import first_order
from titans_seq.ops.triton.closing import closing_backward, closing_forward
from titans_seq.ops.triton.exchange import APART
from titans_seq.ops.triton.gates import gates_backward, gates_forward
from titans_seq.ops.triton.launch import Plan, blank
from titans_seq.ops.triton.layout import pair
from titans_seq.ops.triton.read import read_forward
from titans_seq.ops.triton.read_adjoint import read_backward_first, read_backward_last
from titans_seq.ops.triton.write import write_forward
from titans_seq.ops.triton.write_adjoint import write_backward
from titans_seq.ops.triton.write_split import write_split_forward
from titans_seq.ops.triton.write_split_adjoint import write_split_backward


@dataclass(frozen=True)
class Start:
    """State before the first token: ``state`` (rows, R, size) and, where the call starts inside a chunk, ``anchor``
    (rows, size).

    Under a non-linear gate ``state`` holds the dual A, and ``anchor`` always link of it at the last border; ``slopes``
    (rows, rows of the matrices) belong to that border, ``now`` (rows, size) are the weights at the first token where
    it lies inside a chunk, and ``written`` (chunks,) is the sum of theta up to every chunk's end.
    """

    state: Tensor
    anchor: Tensor | None = None
    now: Tensor | None = None
    slopes: Tensor | None = None
    written: Tensor | None = None

    def tensors(self) -> tuple[Tensor | None, ...]:
        return tuple(vars(self).values())


@dataclass
class Pass:
    """What the write pass leaves: coefficients, states (borders, size), errors and outputs of the keys (tokens, V);
    under a non-linear gate link(A) and the slopes of every border, and for lq the lengths of A before its floor."""

    g: Tensor
    fade: Tensor
    share: Tensor
    keep: Tensor
    states: Tensor
    delta: Tensor
    out: Tensor
    weights: Tensor | None
    slopes: Tensor | None
    lengths: Tensor | None


def _write(plan: Plan, k: Tensor, v: Tensor, gates: dict[str, Tensor | None], start: Start,
           threshold: Tensor | None) -> Pass:  # fmt: skip
    rows, chunk = plan.layout, plan.layout.chunk
    g, keep = blank(k, rows.chunks, chunk, chunk), blank(k, rows.chunks, 4)
    fade, share = (blank(k, rows.chunks, 2, chunk) for _ in range(2))
    plan.launch(gates_forward, rows.chunks, g=g, fade=fade, share=share, keep=keep, **gates)

    def from_start(first: Tensor) -> Tensor:  # one row per border, of which the first of every memory is known
        borders = blank(k, rows.chunks + rows.rows, first[0].numel())
        borders[rows.borders[0]] = first.flatten(1)
        return borders

    states, weights, slopes, lengths = from_start(start.state), None, None, None
    if start.slopes is not None and start.anchor is not None:
        weights, slopes, lengths = from_start(start.anchor), from_start(start.slopes), blank(k, rows.chunks, 2)
    delta, out = (blank(k, *v.shape) for _ in range(2))
    written = {"k": k, "v": v, "threshold": threshold, "share": share, "keep": keep, "anchor": start.anchor,
               "states": states, "delta": delta, "out_k": out}  # fmt: skip
    if plan.split is None:
        plan.launch(
            write_forward, rows.rows, **written, weights=weights, slopes=slopes, lengths=lengths, written=start.written
        )
    else:
        plan.launch_split(write_split_forward, plan.split.spans(rows.longest), **written, **meeting(plan, v))
    return Pass(g, fade, share, keep, states, delta, out, weights, slopes, lengths)


def meeting(plan: Plan, v: Tensor) -> dict[str, Tensor]:
    """Where the programs of a row exchange their sums, and count who has."""
    assert plan.split is not None
    rows = plan.layout.rows
    parts = blank(v, 2, rows, plan.split.slices, plan.layout.chunk, v.shape[-1])
    return {"parts": parts, "arrived": torch.zeros(rows, APART.value, dtype=torch.int32, device=v.device)}


class Memory(torch.autograd.Function):
    """(q, k (tokens, D), v (tokens, V), threshold (tokens,), theta, sums of logarithms, live (chunks, C), the tensors
    of `Start`) -> (reads (tokens, V), surprise (tokens,), state (rows, R, size)).
    """

    @staticmethod
    def forward(ctx: Any, plan: Plan, q: Tensor, k: Tensor, v: Tensor, threshold: Tensor | None, theta: Tensor,
                log_keep: Tensor, log_eta: Tensor | None, live: Tensor,
                *first: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        rows, start = plan.layout, Start(*first)  # type: ignore[arg-type]
        gates = {
            "theta": theta.contiguous(), "logs": pair(log_keep), "live": live,
            "log_eta": None if log_eta is None else pair(log_eta),
        }  # fmt: skip
        write = _write(plan, k, v, gates, start, threshold)
        y, out_q, surprise = blank(v, *v.shape, dtype=v.dtype), blank(v, *v.shape), blank(v, rows.tokens)
        plan.launch(
            read_forward, rows.chunks, q=q, k=k, g=write.g, fade=write.fade, anchor=start.anchor, states=write.states,
            delta=write.delta, y=y, out_q=out_q, surprise=surprise, weights=write.weights, now=start.now,
            slopes=write.slopes,
        )  # fmt: skip
        if not plan.rule.retention.linear:
            plan.launch(closing_forward, rows.chunks, q=q, weights=write.weights, y=y)
        end = write.states[rows.borders[1]].view_as(start.state)
        kept = tuple(vars(write).values()) if plan.remember else ()
        ctx.plan = plan
        ctx.save_for_backward(q, k, v, threshold, *gates.values(), out_q, *first, *kept)
        ctx.mark_non_differentiable(surprise)
        ctx.set_materialize_grads(False)
        return y, surprise, end

    @staticmethod
    @first_order
    def backward(ctx: Any, *bars: Tensor | None) -> tuple[Tensor | None, ...]:
        plan, (ybar, _, end_bar) = ctx.plan, bars
        q, k, v, threshold, theta, logs, live, log_eta, out_q, *rest = ctx.saved_tensors
        gates, count = {"theta": theta, "logs": logs, "live": live, "log_eta": log_eta}, len(vars(Start(q)))
        start, kept = Start(*rest[:count]), rest[count:]
        write = Pass(*kept) if kept else _write(plan, k, v, gates, start, threshold)
        ybar = torch.zeros_like(v) if ybar is None else ybar.contiguous()
        carry = (
            torch.zeros_like(start.state) if end_bar is None else end_bar.clone(memory_format=torch.contiguous_format)
        )
        adjoints = _Adjoints(plan, q, k, v, threshold, gates, start, write, carry)
        return adjoints.back(ybar, out_q)


class _Adjoints:
    """The backward pass: buffers that one launch leaves for the next."""

    def __init__(self, plan: Plan, q: Tensor, k: Tensor, v: Tensor, threshold: Tensor | None,
                 gates: dict[str, Tensor | None], start: Start, write: Pass, carry: Tensor) -> None:  # fmt: skip
        self.plan, self.q, self.k, self.v, self.threshold = plan, q, k, v, threshold
        self.gates, self.start, self.write, self.carry = gates, start, write, carry
        rows, st = plan.layout, plan.rule.structure
        wide = st.hidden if len(st.shapes) == 2 else st.key_width
        # as wide as the memory is deep: in the products' type, whose rounding they are about to meet
        hidden = [blank(k, rows.tokens, wide, dtype=plan.products) for _ in st.shapes]
        self.qbar, self.kbar = blank(k, *q.shape, dtype=q.dtype), blank(k, *k.shape)
        self.g_bar, self.fade_bar = blank(k, *write.g.shape), blank(k, *write.fade.shape)
        self.weightbar = self.slopebar = self.left = self.right = None
        if write.weights is not None and write.slopes is not None:
            self.weightbar = blank(k, rows.chunks, st.size)
            self.slopebar = blank(k, rows.chunks, write.slopes.shape[1])
            self.left = blank(k, rows.chunks, write.slopes.shape[1])
            self.right = blank(k, rows.chunks, sum(inner for _, inner in st.shapes))
        self.common = {
            "k": k, "anchor": start.anchor, "states": write.states, "delta": write.delta, "kbar": self.kbar,
            "deltabar": blank(k, *v.shape), "inputbar": hidden[0], "hiddenbar": hidden[-1],
            "statebar": blank(k, rows.chunks, carry[0].numel()), "weights": write.weights,
            "weightbar": self.weightbar, "slopebar": self.slopebar, "left": self.left, "right": self.right,
        }  # fmt: skip

    def back(self, ybar: Tensor, out_q: Tensor) -> tuple[Tensor | None, ...]:
        """Adjoints of everything that `Memory` takes."""
        self._reads(ybar, out_q)
        keys = self._writes()
        theta, log_keep, log_eta = self._coefficients(*keys[4:])
        kbar, vbar, threshold_bar, own_anchor = self.kbar.to(self.k.dtype), *keys[:3]
        rows, anchor_bar, now_bar, slopes_bar = self.plan.layout, own_anchor, None, None
        if self.weightbar is not None and self.slopebar is not None:
            slopes_bar = self.slopebar[rows.first]
            if self.plan.aligned:
                anchor_bar = self.weightbar[rows.first]
            else:
                now_bar = self.weightbar
        return (
            None, self.qbar, kbar, vbar, threshold_bar, theta, log_keep, log_eta, None,
            self.carry, anchor_bar, now_bar, slopes_bar, keys[3],
        )  # fmt: skip

    def _reads(self, ybar: Tensor, out_q: Tensor) -> None:
        launch, chunks, w = self.plan.launch, self.plan.layout.chunks, self.write
        reads = {"q": self.q, "g": w.g, "fade": w.fade, "ybar": ybar, "qbar": self.qbar, "g_bar": self.g_bar,
                 "slopes": w.slopes, "now": self.start.now, **self.common}  # fmt: skip
        launch(read_backward_last, chunks, **reads, out_q=out_q, fade_bar=self.fade_bar)
        if len(self.plan.rule.structure.shapes) == 2:
            launch(read_backward_first, chunks, **reads)
        if w.weights is not None:
            launch(closing_backward, chunks, **reads)

    def _writes(self) -> tuple[Tensor | None, ...]:
        """Adjoints of v, threshold, anchor (if its own), written, share and keep; ``carry`` becomes the start's."""
        plan, rows, v, w = self.plan, self.plan.layout, self.v, self.write
        own = () if plan.split is None else (plan.split.slices,)  # sums that every slice leaves a part of
        vbar, share_bar = blank(v, *v.shape, dtype=v.dtype), blank(v, rows.chunks, *own, 2, rows.chunk)
        keep_bar, written_bar = blank(v, rows.chunks, *own, 4), None
        threshold_bar = None if self.threshold is None else blank(v, *self.threshold.shape)
        anchor_bar = None if plan.aligned or self.start.anchor is None else blank(v, *self.start.anchor.shape)
        given = {"v": v, "threshold": self.threshold, "share": w.share, "keep": w.keep, "out_k": w.out,
                 "carry": self.carry, "vbar": vbar, "threshold_bar": threshold_bar, "anchor_bar": anchor_bar,
                 **self.common}  # fmt: skip
        if plan.split is None:
            if w.weights is not None:
                written_bar = blank(v, rows.chunks)
            plan.launch(
                write_backward, rows.rows, **given, share_bar=share_bar, keep_bar=keep_bar, lengths=w.lengths,
                written_bar=written_bar,
            )  # fmt: skip
        else:
            kbars, meet = self.kbar.new_zeros(*own, *self.kbar.shape), meeting(plan, v)
            plan.launch_split(
                write_split_backward, plan.split.spans_back(rows.longest), **given, kbars=kbars, share_bars=share_bar,
                keep_bars=keep_bar, scratch=blank(v, *meet["parts"].shape[1:]), **meet,
            )  # fmt: skip
            self.kbar += kbars.sum(0)
            share_bar, keep_bar = share_bar.sum(1), keep_bar.sum(1)
        return vbar, threshold_bar, anchor_bar, written_bar, share_bar, keep_bar

    def _coefficients(self, share_bar: Tensor | None, keep_bar: Tensor | None) -> tuple[Tensor | None, ...]:
        """Adjoints of theta and of both sums of logarithms."""
        rows = self.plan.layout
        theta_bar, log_bar = (blank(self.k, rows.chunks, rows.chunk) for _ in range(2))
        eta_bar = None if self.gates["log_eta"] is None else blank(self.k, rows.chunks, rows.chunk)
        self.plan.launch(
            gates_backward, rows.chunks, **self.gates, g_bar=self.g_bar, fade_bar=self.fade_bar, share_bar=share_bar,
            keep_bar=keep_bar, theta_bar=theta_bar, log_bar=log_bar, eta_bar=eta_bar,
        )  # fmt: skip
        return theta_bar, log_bar.double(), None if eta_bar is None else eta_bar.double()
