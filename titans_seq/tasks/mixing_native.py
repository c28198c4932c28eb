"""Experts and their mixture in compiled code: the numbers of `table_experts` and `mixing`, sums in another order.

Forward and backward are one pass over the positions each, in float32 on the CPU. `kernels_for` says whether they apply;
where they do not, the definitions in torch do the same.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from math import log
from typing import Any

import torch
from torch import Tensor

from titans_seq.memory.table import TableReading
from titans_seq.ops.first_order import first_order
from titans_seq.ops.native import library

_LOGS = 4096
_MAKING = (
    "score", "seen_log", "seen_step", "run_log", "run_step", "longest_step", "miss_step", "middle_step",
)  # fmt: skip
_SIZES = ("rows", "length", "experts", "alphabet", "chunk", "levels", "situations", "pending")
_MIXTURE = (
    "gate", "own", "scores", "confidence", "sure", "situation", "tokens", "mask", "by_confidence", "by_situation",
    "fast_confidence", "fast_situation", "slope", "where", "fast_at", "last_scores", "last_chance", "last_where",
    "last_situation", "mixed", "weights",
)  # fmt: skip


class _Making(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("alphabet", "orders", "copies", "middle", "longest")),
        *((name, ctypes.c_void_p) for name in _MAKING),
    )


class _Mixture(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in _SIZES),
        ("rate", ctypes.c_double),
        *((name, ctypes.c_void_p) for name in _MIXTURE),
    )


def kernels_for(*tensors: Tensor) -> ctypes.CDLL | None:
    """The library, if it is there and takes these float tensors."""
    if any(x.device.type != "cpu" or x.dtype != torch.float32 for x in tensors):
        return None
    return library()


@dataclass(frozen=True, slots=True)
class Steps:
    """Look-up tables of the experts; what a number of sights, a run or a number of misses counts for.

    Attributes
    ----------
    seen_step, run_step, longest_step, miss_step, middle_step : int64
        Shares of the confidence and of the situation, by total, run, run, misses and hits.
    seen_log, run_log : float32
        The features ``ln(n + 1) / ln 64`` and ``ln(n + 1) / ln 32``.
    """

    seen_step: Tensor
    run_step: Tensor
    longest_step: Tensor
    miss_step: Tensor
    middle_step: Tensor
    seen_log: Tensor
    run_log: Tensor

    @classmethod
    def of(cls, *, alphabet: int, window: int, hits: int, edges: dict[str, Tensor]) -> Steps:
        """From the edges of the steps: ``seen, runs, missed, longest, middle``."""
        total, missed, hit = (torch.arange(n) for n in (255 * alphabet + 1, window + 1, hits + 1))
        run = torch.arange(int(max(edges["runs"][-1], edges["longest"][-1])) + 1)
        logs = torch.arange(_LOGS)
        return cls(
            seen_step=torch.bucketize(total, edges["seen"], right=True) * (hits + 1),
            run_step=torch.bucketize(run, edges["runs"], right=True) * (len(edges["missed"]) + 1),
            longest_step=torch.bucketize(run, edges["longest"], right=True) * (len(edges["middle"]) + 1),
            miss_step=torch.bucketize(missed, edges["missed"], right=True),
            middle_step=torch.bucketize(hit, edges["middle"], right=True),
            seen_log=(total + 1).float().log() / log(64),
            run_log=(logs + 1).float().log() / log(32),
        )


def experts(
    kernels: ctypes.CDLL, reading: TableReading, steps: Steps, alpha: Tensor, *, middle: int, width: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Scores (B, T, E, A), confidences (B, T, E), situations (B, T) and features (B, T, F) of a reading.

    Parameters
    ----------
    alpha : (K,), of each order.
    middle : order whose hits make the situation.
    width : features F.
    """
    rows, length, orders, alphabet = reading.counts.shape
    copies = reading.copies
    count = orders + copies.run.shape[-1]
    logs = (torch.arange(256) + alpha.detach()[:, None]).log()
    making = _Making(
        alphabet=alphabet, orders=orders, copies=count - orders, middle=middle, longest=len(steps.run_step) - 1,
        score=logs.data_ptr(),
        **{name: getattr(steps, name).data_ptr() for name in _MAKING if name != "score"},
    )  # fmt: skip
    scores = torch.empty(rows, length, count, alphabet)
    confidence = torch.empty(rows, length, count, dtype=torch.long)
    situation = torch.empty(rows, length, dtype=torch.long)
    features = torch.empty(rows, length, width)
    read = (reading.counts, reading.hits, copies.symbol, copies.run, copies.misses)
    kept = [value.contiguous() for value in read]
    kernels.titans_table_experts(
        ctypes.byref(making),
        ctypes.c_int64(rows * length),
        *(ctypes.c_void_p(value.data_ptr()) for value in (*kept, scores, confidence, situation, features)),
        torch.get_num_threads(),
    )
    return scores, confidence, situation, features


@dataclass(frozen=True, slots=True)
class MixCall:
    """What is mixed, beside the tensors that gradients go to.

    Attributes
    ----------
    chunk, levels, pending, rate
        Tokens of a chunk, confidences of an expert, tokens of the unfinished chunk, step of the fast weights.
    scores, confidence, situation : of the table's experts.
    sure : int64 (B, T)
        Confidence of the network's own prediction.
    tokens, mask : (B, T)
    counts : uint8 (B, T, K, A)
        What the scores were made of.
    fast : by name, changed in place
        ``fast_confidence, fast_situation, slope, where, fast_at`` and the last prediction's ``last_scores, last_chance,
        last_where, last_situation``.
    """

    kernels: ctypes.CDLL
    chunk: int
    levels: int
    pending: int
    rate: float
    scores: Tensor
    confidence: Tensor
    situation: Tensor
    sure: Tensor
    tokens: Tensor
    mask: Tensor
    counts: Tensor
    fast: dict[str, Tensor]


class Mix(torch.autograd.Function):
    """``Mix.apply(own, gate, by_confidence, by_situation, log_alpha, call)`` -> mixed logits (B, T, A).

    ``own`` (B, T, A) are the network's log-probabilities, centred; ``gate`` (B, T, E) what hidden states add to the
    weights; ``by_confidence`` (E x levels, 1) and ``by_situation`` (situations, E) the learned weights; ``log_alpha``
    (K,) the smoothing that the scores of the orders were made with.
    """

    @staticmethod
    def forward(
        ctx: Any,
        own: Tensor,
        gate: Tensor,
        by_confidence: Tensor,
        by_situation: Tensor,
        log_alpha: Tensor,
        call: MixCall,
    ) -> Tensor:
        """Mix, and let the fast weights of the call learn."""
        tensors = {
            "gate": gate.contiguous(), "own": own.contiguous(), "scores": call.scores, "confidence": call.confidence,
            "sure": call.sure, "situation": call.situation, "tokens": call.tokens.long().contiguous(),
            "mask": call.mask.contiguous(), "by_confidence": by_confidence, "by_situation": by_situation,
            **call.fast, "mixed": torch.empty_like(own), "weights": torch.empty_like(gate),
        }  # fmt: skip
        call.kernels.titans_table_mix(ctypes.byref(_mixture(call, tensors)), torch.get_num_threads())
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(tensors["own"], tensors["weights"], log_alpha)
            ctx.call, ctx.sizes = call, (by_confidence.shape, by_situation.shape)
        return tensors["mixed"]

    @staticmethod
    @first_order
    def backward(ctx: Any, back: Tensor) -> tuple[Tensor | None, ...]:
        """The adjoint; fast weights are constants."""
        call: MixCall = ctx.call
        own, weights, log_alpha = ctx.saved_tensors
        back, alpha = back.contiguous(), log_alpha.detach().exp()[:, None]
        share = alpha / (torch.arange(256) + alpha)
        tensors = {
            "own": own, "weights": weights, "scores": call.scores, "confidence": call.confidence, "sure": call.sure,
            "situation": call.situation,
        }  # fmt: skip
        to_gate, to_own = torch.empty_like(weights), torch.empty_like(own)
        to_confidence, to_situation = (torch.zeros(shape) for shape in ctx.sizes)
        to_alpha = torch.zeros(len(log_alpha), dtype=torch.double)
        call.kernels.titans_table_mix_adjoint(
            ctypes.byref(_mixture(call, tensors)),
            *(ctypes.c_void_p(value.data_ptr()) for value in (back, call.counts, share)),
            ctypes.c_int64(len(log_alpha)),
            *(ctypes.c_void_p(x.data_ptr()) for x in (to_gate, to_own, to_confidence, to_situation, to_alpha)),
        )
        return to_own, to_gate, to_confidence, to_situation, to_alpha.float(), None


def _mixture(call: MixCall, tensors: dict[str, Tensor]) -> _Mixture:
    rows, length, experts, alphabet = call.scores.shape
    return _Mixture(
        rows=rows, length=length, experts=experts + 1, alphabet=alphabet, chunk=call.chunk, levels=call.levels,
        situations=0 if "by_situation" not in tensors else len(tensors["by_situation"]),
        pending=call.pending, rate=call.rate,
        **{name: value.data_ptr() for name, value in tensors.items()},
    )  # fmt: skip
