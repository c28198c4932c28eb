"""Mixtures behind the mixture: one weight an expert, learned from the stream alone.

`mixing` weighs its experts by how sure they are, and what is sure was learned in training. Here the whole is weighed
once more. With l_0 the first mixture, l_1 the network and l_2 .. the table's experts, all log-probabilities up to a
constant::

    l'_t(a) = l_0,t(a) + sum_n u_n l_n,t(a)
    u_n -= rate * sum_t sum_a (softmax(l'_t)(a) - [a = s_{t+1}]) l_n,t(a)

u is zero where a stream begins, so that l' is the first mixture there, and learns every `SPAN` tokens of the stream, or
more often where the table's chunks are no multiple of it: rows begin anew at such borders, and then learn as if alone.
Two such mixtures are made: one has a single set of weights; the other has one set for each number of tokens in which
the best copy failed lately (`SETS`), for a copy that has drifted is worth something else than a fresh one. Which of
them is believed is for `averaging` to find out. The weights are few and begin at the first mixture, so they may learn
faster than its own, which are thousands.

Nothing here is trained. Mattern (2013) and the PAQ family of compressors mix in two layers; there the layers below
learn from the stream alone, too.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, fields
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

from titans_seq.tasks.mixing_native import kernels_for

SPAN: Final = 16
RATE: Final = 0.005
MISSES: Final = 8
"""Steps in which a copy's confidence tells its misses (`table_experts`)."""
SETS: Final = 2 + MISSES
"""The one for all positions, one for each step of misses, one where there is no copy."""

_NAMES = ("first", "own", "scores", "set", "tokens", "mask", "weights", "slope", "parts", "chance", "last_set", "out")
_SIZES = ("rows", "length", "experts", "alphabet", "sets", "span", "pending")


class _Second(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in _SIZES),
        ("rate", ctypes.c_double),
        *((name, ctypes.c_void_p) for name in _NAMES),
    )


@dataclass(slots=True)
class SecondWeights:
    """What the second mixtures have learned of each stream; changed in place, all zero where a stream begins.

    Attributes
    ----------
    weights, slope : (B, SETS, N)
        u, and what the unfinished span will take from it (before the rate).
    parts, chance : (B, N, A) and (B, 2, A)
        l and softmax(l') of the prediction whose token has not come yet.
    last_set : int64 (B,)
        Its set.
    """

    weights: Tensor
    slope: Tensor
    parts: Tensor
    chance: Tensor
    last_set: Tensor

    @classmethod
    def none(cls, rows: int, *, experts: int, alphabet: int, device: torch.device) -> SecondWeights:
        """For streams that begin; ``experts`` are the table's."""
        n = experts + 2
        return cls(
            weights=torch.zeros(rows, SETS, n, device=device),
            slope=torch.zeros(rows, SETS, n, device=device),
            parts=torch.zeros(rows, n, alphabet, device=device),
            chance=torch.zeros(rows, 2, alphabet, device=device),
            last_set=torch.zeros(rows, dtype=torch.long, device=device),
        )

    def tensors(self) -> dict[str, Tensor]:
        """All of it by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def set_of(confidence: Tensor) -> Tensor:
    """Which set (B, T) belongs to the copies' confidences (B, T, P): the fewest misses of a copy, MISSES without one.

    A confidence of 0 is that of no copy: one that has just failed has a miss.
    """
    if not confidence.shape[-1]:
        return torch.full(confidence.shape[:-1], MISSES, device=confidence.device)
    return torch.where(confidence > 0, confidence % MISSES, MISSES).amin(-1)


def mix_again(
    first: Tensor,
    own: Tensor,
    scores: Tensor,
    sets: Tensor,
    *,
    tokens: Tensor,
    mask: Tensor,
    state: SecondWeights,
    start: int,
    span: int = SPAN,
    rate: float = RATE,
) -> Tensor:
    """Log-probabilities (B, T, 2, A) of the second mixtures; ``state`` goes on in place.

    Parameters
    ----------
    first, own : (B, T, A)
        Log-probabilities of the first mixture, and of the network up to a constant.
    scores : (B, T, E, A)
        The table's experts.
    sets : int64 (B, T)
        Of `set_of`.
    tokens, mask : (B, T)
        What was read; it is what the positions before had predicted. Masked tokens teach nothing.
    start : position of the first token in its stream.
    span : tokens between two steps, at absolute positions.
    rate : of the steps; 0 leaves the first mixture as it is.
    """
    kernels = kernels_for(first, own, scores)
    if kernels is not None and not (torch.is_grad_enabled() and first.requires_grad):
        return _compiled(
            kernels, (first, own, scores, sets, tokens.long(), mask), state, start=start, span=span, rate=rate
        )
    parts = torch.cat([first.unsqueeze(2), own.unsqueeze(2), scores], 2)
    made, done, length = [first.new_empty(len(first), 0, 2, first.shape[-1])], 0, first.shape[1]
    while done < length:
        take = min(span - (start + done) % span, length - done)
        here = slice(done, done + take)
        made.append(_mixed(parts[:, here], sets[:, here], state.weights))
        with torch.no_grad():
            _learn(parts[:, here], made[-1], sets[:, here], tokens[:, here], mask[:, here], state)
            done += take
            if (start + done) % span == 0:
                state.weights -= rate * state.slope
                state.slope.zero_()
    return torch.cat(made, 1)


def _mixed(parts: Tensor, sets: Tensor, weights: Tensor) -> Tensor:
    """Both mixtures of parts (B, T, N, A), (B, T, 2, A)."""
    rows = torch.arange(len(parts), device=parts.device)[:, None]
    u = torch.stack([weights[:, :1].expand(-1, sets.shape[1], -1), weights[rows, 1 + sets]], 2)
    return (parts[:, :, :1] + torch.einsum("btmn,btna->btma", u, parts)).log_softmax(-1)


def _learn(parts: Tensor, mixed: Tensor, sets: Tensor, tokens: Tensor, mask: Tensor, state: SecondWeights) -> None:
    """Add these positions to the slope, and keep the last prediction."""
    parts, chance = parts.detach(), mixed.detach().exp()
    before = torch.cat([state.parts.unsqueeze(1), parts[:, :-1]], 1)
    told = torch.cat([state.chance.unsqueeze(1), chance[:, :-1]], 1)
    came = F.one_hot(torch.where(mask, tokens, 0).long(), parts.shape[-1])
    # A stream's first token was predicted by nobody: its parts are zero.
    slope = torch.einsum("btma,btna->btmn", told - came.unsqueeze(2), before) * mask[..., None, None]
    was = torch.cat([state.last_set.unsqueeze(1), sets[:, :-1]], 1)
    state.slope[:, 0] += slope[:, :, 0].sum(1)
    state.slope.scatter_add_(1, (1 + was).unsqueeze(-1).expand(*was.shape, slope.shape[-1]), slope[:, :, 1])
    state.parts.copy_(parts[:, -1])
    state.chance.copy_(chance[:, -1])
    state.last_set.copy_(sets[:, -1])


def _compiled(
    kernels: ctypes.CDLL, given: tuple[Tensor, ...], state: SecondWeights, *, start: int, span: int, rate: float
) -> Tensor:
    """The same in one pass of compiled code."""
    given = tuple(x.contiguous() for x in given)
    carried = tuple(x.contiguous() for x in state.tensors().values())
    rows, length, experts, alphabet = given[2].shape
    out = given[0].new_empty(rows, length, 2, alphabet)
    sizes = dict(zip(_SIZES, (rows, length, experts, alphabet, SETS, span, start % span), strict=True))
    named = {name: x.data_ptr() for name, x in zip(_NAMES, (*given, *carried, out), strict=True)}
    kernels.titans_mix_again(ctypes.byref(_Second(**sizes, rate=rate, **named)), torch.get_num_threads())
    for old, new in zip(state.tensors().values(), carried, strict=True):
        old.copy_(new)
    return out
