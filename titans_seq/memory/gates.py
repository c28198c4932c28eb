"""Gates from tokens: learning rate, forgetting, momentum and threshold, per token and head.

    theta_t = (1 - eta_t) sigmoid(w x_t + b) scale          alpha_t = sigmoid(w x_t + b)
    eta_t   = sigmoid(w x_t + b)                            delta_t = softplus(w x_t + b)

The learning rate starts at 1 / C and carries (1 - eta): a chunk of C tokens whose gradients are taken at the same
weights is stable only for theta of order (1 - eta) / C. ``scale`` divides by the width that feeds the last layer of a
deep memory (its gradient grows with it) and by the slope of a non-linear gate's link. Forgetting starts near zero,
because truncated training gives no reason to keep anything longer than a segment, and so drifts up by itself.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from titans_seq.memory.spec import MemorySpec
from titans_seq.ops import Gates, MemoryRule
from titans_seq.ops.linear import Linear


class GateProjection(nn.Module):
    """(B, T, d_model) -> `Gates` of shape (B, H, T), in the dtype of the fast weights."""

    scale: Tensor
    fixed: Tensor

    def __init__(
        self, d_model: int, n_heads: int, spec: MemorySpec, rule: MemoryRule, *, chunk_size: int, forget_init: float,
        momentum_init: float, scale: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.n_heads, self.tied, self.decay = n_heads, spec.rate == "tied", spec.decay
        # Saved with the weights: it was measured on the random start of this very memory.
        self.register_buffer("scale", torch.tensor(float(scale)))
        starts: dict[str, float] = {}
        if spec.rate != "unit":
            # tied: softplus(b) = 1 / C, so that a chunk writes about one token's worth at the start
            nominal = 1 / chunk_size
            starts["learning_rate"] = math.log(math.expm1(nominal)) if self.tied else _logit(nominal / (1 + nominal))
        if rule.retention.forgets and spec.decay == "token" and not self.tied:
            starts["forget"] = _logit(forget_init)
        if rule.momentum:
            starts["momentum"] = _logit(momentum_init)
        if rule.bias.uses_threshold:
            starts["threshold"] = math.log(math.expm1(1.0))
        self.names = tuple(starts)
        self.forgets = rule.retention.forgets
        self.projection = Linear(d_model, max(len(starts), 1) * n_heads) if starts else None
        if self.projection is not None:
            nn.init.normal_(self.projection.weight, std=0.02)
            bias = torch.tensor(list(starts.values())).repeat_interleave(n_heads)
            self.projection.bias = nn.Parameter(bias)
        if self.tied:
            start = math.log(-math.log1p(-forget_init) * chunk_size)
            self.log_a = nn.Parameter(torch.full((n_heads,), start))
        if self.forgets and spec.decay == "fixed":
            self.register_buffer("fixed", 2.0 ** (-5 - torch.arange(n_heads, dtype=torch.float32)), persistent=False)

    def forward(self, x: Tensor, mask: Tensor | None) -> Gates:
        """Gates of every token of ``x`` (B, T, d_model), in the dtype of ``x``: pass float32 at least."""
        raw: dict[str, Tensor] = {}
        if self.projection is not None:
            weight, bias = self.projection.weight.to(x.dtype), self.projection.bias.to(x.dtype)
            parts = nn.functional.linear(x, weight, bias).unflatten(-1, (-1, self.n_heads))
            parts = parts.permute(2, 0, 3, 1)  # (gates, B, H, T)
            raw = dict(zip(self.names, parts.unbind(0), strict=True))
        momentum = torch.sigmoid(raw["momentum"]) if "momentum" in raw else None
        forget = torch.sigmoid(raw["forget"]) if "forget" in raw else None
        threshold = nn.functional.softplus(raw["threshold"]) + 1e-4 if "threshold" in raw else None
        if self.tied:
            step = nn.functional.softplus(raw["learning_rate"])
            forget = -torch.expm1(-self.log_a.to(x.dtype).exp()[:, None] * step)
            rate = 0.5 * step
        elif "learning_rate" in raw:
            rate = torch.sigmoid(raw["learning_rate"]) * self.scale.to(x.dtype)
            if momentum is not None:
                rate = rate * (1 - momentum)
        else:
            rate = x.new_full((x.shape[0], self.n_heads, x.shape[1]), 0.5)
        if self.forgets and self.decay == "fixed":
            forget = self.fixed[:, None].to(x.dtype).expand(x.shape[0], self.n_heads, x.shape[1])
        return Gates(rate, forget, momentum, threshold, mask)


def _logit(p: float) -> float:
    return math.log(p) - math.log1p(-p)
