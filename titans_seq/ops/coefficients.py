"""Gates of a chunk, folded into the coefficients of the dual form (design 3.2).

Inside a chunk, with beta_t = prod(1 - alpha_i), m_t = prod eta_i, D[t,i] = beta_t / beta_i, E[i,j] = m_i / m_j:

    A_t = beta_t A_0 + f_t S_0 - sum_{j<=t} G[t,j] u_j        G = (D E) diag(theta),  f = D m
    S_C = m_C S_0 - sum_j s_j u_j                             s_j = theta_j m_C / m_j

The memory and its momentum are kept side by side as one state of R rows (R = 1 without momentum), so that

    reads  use fade_t = (beta_t, f_t),     writes use share_j = (G[C,j], s_j).

Ratios are exponentials of differences of cumulated logarithms, masked before the exponential; quotients of
products would underflow. The sums run in float64: after a strongly forgetting token float32 differences would
have lost their digits.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from titans_seq.ops.rule import Gates


@dataclass(frozen=True)
class Coefficients:
    """Coefficients of ``n`` chunks of C tokens for N rows.

    ``g`` (n, N, C, C); ``fade``, ``share`` (n, N, C, R); ``keep`` (n, N, R): what the whole chunk keeps of A and of S;
    ``push`` (n, N), or None: share of S that the whole chunk adds to A; ``written`` (n, N): sum of theta.
    """

    g: Tensor
    fade: Tensor
    share: Tensor
    keep: Tensor
    push: Tensor | None
    written: Tensor

    def slice(self, start: int, stop: int) -> Coefficients:
        """The same for chunks [start, stop)."""
        push = None if self.push is None else self.push[start:stop]
        g, fade, share, keep, written = (
            x[start:stop] for x in (self.g, self.fade, self.share, self.keep, self.written)
        )
        return Coefficients(g, fade, share, keep, push, written)


def ratios(log: Tensor) -> Tensor:
    """exp(sum of ``log`` over (i, t]) for i <= t, else 0: (..., C) -> (..., C, C).

    >>> ratios(torch.tensor([0.5, 0.5, 0.5]).log())
    tensor([[1.0000, 0.0000, 0.0000],
            [0.5000, 1.0000, 0.0000],
            [0.2500, 0.5000, 1.0000]])
    """
    c = log.shape[-1]
    sums = log.double().cumsum(-1)
    upper = torch.ones(c, c, dtype=torch.bool, device=log.device).triu(1)
    return (sums.unsqueeze(-1) - sums.unsqueeze(-2)).to(log.dtype).masked_fill_(upper, -torch.inf).exp()


def coefficients(gates: Gates) -> Coefficients:
    """Coefficients from gates laid out per chunk: every tensor of ``gates`` is (n, N, C)."""
    theta, live = gates.learning_rate, gates.mask
    if live is not None:
        theta = theta.masked_fill(~live, 0)
    written = theta.sum(-1)
    if gates.forget is None:
        beta = torch.ones_like(theta)
        d = torch.ones(theta.shape[-1], theta.shape[-1], dtype=theta.dtype, device=theta.device).tril()
    else:
        # 1 - eps, not 1: the logarithm's gradient must stay finite where a gate saturates.
        log_keep = torch.log1p(-gates.forget.clamp(max=1 - torch.finfo(theta.dtype).eps / 2))
        if live is not None:
            log_keep = log_keep.masked_fill(~live, 0)
        beta = log_keep.cumsum(-1).exp()
        d = ratios(log_keep)
    if gates.momentum is None:
        g = d * theta.unsqueeze(-2)
        return Coefficients(g, beta.unsqueeze(-1), g[..., -1, :].unsqueeze(-1), beta[..., -1:], None, written)
    log_eta = torch.log(gates.momentum.clamp(min=torch.finfo(theta.dtype).tiny))
    if live is not None:
        log_eta = log_eta.masked_fill(~live, 0)
        d = d * live.unsqueeze(-2)  # a masked token adds no momentum to the weights
    m = log_eta.cumsum(-1).exp()
    e = ratios(log_eta)
    g = (d @ e) * theta.unsqueeze(-2)
    f = (d @ m.unsqueeze(-1)).squeeze(-1)
    fade = torch.stack([beta, f], -1)
    share = torch.stack([g[..., -1, :], theta * e[..., -1, :]], -1)
    keep = torch.stack([beta[..., -1], m[..., -1]], -1)
    return Coefficients(g, fade, share, keep, f[..., -1], written)
