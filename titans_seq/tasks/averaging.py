"""What predicted the last tokens best: an average of predictors, weighed by what each was worth of late.

    p_t(a) = sum_m v_t,m p_t,m(a)      v_t = softmax(r_t + prior)      r_t,m = r_{t-1,m} keep + ln p_{t-1,m}(s_t)

The predictors are the mixture of `mixing`, those of `second_mixing`, the network alone, and some short orders of the
table alone. A mixture is a product of experts: where all of them are sure and wrong, as in a stretch that is unlike all
that was read before, it is worse than the best of them, and its weights take thousands of tokens to learn so. Evidence
r forgets: after 1 / (1 - keep) tokens it is another's turn. The mixtures stand before the others by `PRIOR`.

Nothing here is trained. Raftery, Karny and Ettler (2010) call it dynamic model averaging, keep their forgetting factor.
"""

from __future__ import annotations

import ctypes
from typing import Final

import torch
from torch import Tensor

from titans_seq.tasks.mixing_native import kernels_for

KEEP: Final = 0.985
PRIOR: Final = 2.0
MIXTURES: Final = 3
ORDERS: Final = slice(1, 6)
"""Which of the table's orders predict for themselves: 2, 3, 4, 6 and 8 bases in a genome."""


def predictors(orders: int) -> int:
    """How many there are, by the number of a table's orders."""
    return MIXTURES + 1 + len(range(orders)[ORDERS])


def average(
    mixed: Tensor,
    own: Tensor,
    scores: Tensor,
    *,
    orders: int,
    tokens: Tensor,
    mask: Tensor,
    evidence: Tensor,
    last: Tensor,
) -> Tensor:
    """Log-probabilities (B, T, A) of the average; ``evidence`` and ``last`` go on in place.

    Parameters
    ----------
    mixed : (B, T, MIXTURES, A)
        Log-probabilities of the mixtures.
    own : (B, T, A)
        Of the network, up to a constant.
    scores : (B, T, E, A)
        The table's experts, orders first.
    tokens, mask : (B, T)
        What was read; it is what the positions before had predicted. Masked tokens are no evidence.
    evidence : (B, M)
        r, zero where a stream begins.
    last : (B, M, A)
        Log-probabilities of the prediction whose token has not come yet.
    """
    kernels = kernels_for(mixed, own, scores)
    if kernels is not None and not (torch.is_grad_enabled() and mixed.requires_grad):
        return _compiled(kernels, (mixed, own, scores, tokens.long(), mask), (evidence, last), orders)
    if not mixed.shape[1]:
        return own
    each = torch.cat([mixed, own.unsqueeze(2), scores[:, :, :orders][:, :, ORDERS]], 2).log_softmax(-1)
    before = torch.cat([last.unsqueeze(1), each[:, :-1].detach()], 1)
    came = torch.where(mask, tokens, 0).long()[..., None, None].expand(*before.shape[:3], 1)
    found = before.gather(-1, came).squeeze(-1) * mask.unsqueeze(-1)
    r = _remember(found, torch.where(mask, KEEP, 1.0).to(found), evidence)
    evidence.copy_(r[:, -1])
    last.copy_(each[:, -1].detach())
    return ((r + _prior(r.shape[-1]).to(r)).log_softmax(-1).unsqueeze(-1) + each).logsumexp(2)


def _prior(count: int) -> Tensor:
    prior = torch.full((count,), -PRIOR)
    prior[:MIXTURES] = 0.0
    return prior


def _remember(found: Tensor, keep: Tensor, start: Tensor) -> Tensor:
    """r_t = keep_t r_{t-1} + found_t for (B, T, M), by doubling: T tokens in log T steps."""
    r, keep = found.clone(), keep.unsqueeze(-1).clone()
    r[:, 0] += keep[:, 0] * start
    step = 1
    while step < r.shape[1]:
        r = torch.cat([r[:, :step], r[:, step:] + keep[:, step:] * r[:, :-step]], 1)
        keep = torch.cat([keep[:, :step], keep[:, step:] * keep[:, :-step]], 1)
        step *= 2
    return r


def _compiled(kernels: ctypes.CDLL, given: tuple[Tensor, ...], carried: tuple[Tensor, ...], orders: int) -> Tensor:
    """The same in one pass of compiled code."""
    _, own, scores, *_ = given = tuple(x.contiguous() for x in given)
    state = [x.contiguous() for x in carried]
    chosen = range(orders)[ORDERS]
    sizes = (*scores.shape, MIXTURES, chosen.start, len(chosen))
    out = torch.empty_like(own)
    kernels.titans_average(
        *(ctypes.c_int64(size) for size in sizes),
        ctypes.c_float(KEEP),
        ctypes.c_float(PRIOR),
        *(ctypes.c_void_p(x.data_ptr()) for x in (*given, *state, out)),
        torch.get_num_threads(),
    )
    for old, new in zip(carried, state, strict=True):
        old.copy_(new)
    return out
