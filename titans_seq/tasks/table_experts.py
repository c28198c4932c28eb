"""What the table says, as numbers a network can weigh: experts, how sure each is, and features for the encoder.

Experts at a position, each with a score l_i(a) for every token a, centred over a:

- one for each order k: ``l(a) = ln((n_a + alpha_k) / (n + A alpha_k))``, alpha_k learned;
- one for each copy: ``l(a) = [a = symbol] - 1 / A``, all zero where there is no copy.

How sure an expert is, is a small whole number (its *confidence*): for an order how often the context was seen (10
steps) and how many of its last 16 predictions were right (17); for a copy how long it has agreed (20 steps) and how
many of the last tokens did not (8). `situation` is one such number for all experts together: the longest run of a copy
(6 steps) and the hits of a middle order (7).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from titans_seq.memory.table import TableReading
from titans_seq.memory.table_layout import HITS, TableSpec
from titans_seq.memory.table_packing import Packing
from titans_seq.tasks.mixing_native import Steps, experts, kernels_for

LEVELS: Final = 170
"""Confidences of an expert: 10 x 17 for an order, 20 x 8 for a copy."""
SITUATIONS: Final = 42

_SEEN: Final = (1, 2, 3, 4, 6, 9, 16, 32, 64)
_RUNS: Final = (1, 2, 4, 8, 12, 14, 16, 18, 20, 22, 24, 28, 31, 40, 56, 80, 128, 256, 512)
_MISSES: Final = (1, 2, 3, 4, 6, 9, 13)
_LONGEST: Final = (1, 20, 31, 64, 400)
_MIDDLE_HITS: Final = (4, 5, 7, 10, 13, 15)
_FIRST_WEIGHT: Final = 0.3
_FULL: Final = 1 << 22
"""Contexts of which a genome fills most: an order with no more of them is smoothed with alpha 1."""


@dataclass(frozen=True, slots=True)
class Experts:
    """Everything about a call's positions that mixing needs.

    Attributes
    ----------
    scores : float32 (B, T, E, A)
    confidence : int64 (B, T, E)
        0 .. LEVELS - 1.
    situation : int64 (B, T)
        0 .. SITUATIONS - 1.
    features : float32 (B, T, F)
    counts : uint8 (B, T, K, A)
        What the scores of the orders were made of, where they come from compiled code and have no graph of their own.
    """

    scores: Tensor
    confidence: Tensor
    situation: Tensor
    features: Tensor
    counts: Tensor | None = None


class TableExperts(nn.Module):
    """Turn readings into `Experts`."""

    _seen: Tensor
    _runs: Tensor
    _missed: Tensor
    _longest: Tensor
    _middle: Tensor

    def __init__(self, spec: TableSpec) -> None:
        super().__init__()
        self.alphabet = spec.alphabet
        contexts = [spec.alphabet**k for k in spec.orders]
        alphas = [1.0 if n <= _FULL else 0.25 if n <= _FULL * 4 else 1 / 16 for n in contexts]
        self.log_alpha = nn.Parameter(torch.tensor(alphas).log())
        self.orders, self.copies = len(spec.orders), len(spec.followed)
        fitting = [number for number, n in enumerate(contexts) if n <= _FULL]
        self._middle_order = fitting[-1] if fitting else 0
        edges: dict[str, tuple[int, ...]] = {
            "seen": _SEEN, "runs": _RUNS, "missed": _MISSES, "longest": _LONGEST, "middle": _MIDDLE_HITS,
        }  # fmt: skip
        for name, values in edges.items():
            self.register_buffer(f"_{name}", torch.tensor(values), persistent=False)
        self._steps = Steps.of(
            alphabet=spec.alphabet,
            window=Packing(spec.alphabet).width,
            hits=HITS,
            edges={name: torch.tensor(values) for name, values in edges.items()},
        )

    @property
    def count(self) -> int:
        """Experts E."""
        return self.orders + self.copies

    @property
    def width(self) -> int:
        """Features F."""
        return self.orders * (self.alphabet + 2) + self.copies * (self.alphabet + 3)

    def first_weights(self) -> Tensor:
        """Where the weight of every expert at every confidence starts, (E, LEVELS)."""
        weights = torch.full((self.count, LEVELS), _FIRST_WEIGHT)
        runs = torch.tensor([0.5, *_RUNS])
        misses = torch.tensor([0.0, *_MISSES])
        # A copy that agreed in r tokens and missed m goes on with odds of about r / (1 + 4 m); the other experts help.
        odds = (runs[:, None] / (1 + 4 * misses)).clamp(min=1.0).log() / 2 + 0.1
        weights[self.orders :, : odds.numel()] = odds.flatten()
        return weights

    def forward(self, reading: TableReading) -> Experts:
        """Experts of a call."""
        kernels = kernels_for(self.log_alpha)
        if kernels is not None and reading.counts.device.type == "cpu":
            made = experts(
                kernels, reading, self._steps, self.log_alpha.exp(), middle=self._middle_order, width=self.width
            )
            return Experts(*made, counts=reading.counts.contiguous())
        counts = reading.counts.float()
        total = counts.sum(-1)
        alpha = self.log_alpha.exp()[:, None]
        scores = (counts + alpha).log()
        scores = scores - scores.mean(-1, keepdim=True)
        copies = reading.copies
        live = copies.symbol < self.alphabet
        lit = F.one_hot(copies.symbol, self.alphabet + 1)[..., : self.alphabet].float()
        votes = (lit - 1 / self.alphabet) * live.unsqueeze(-1)
        hits = reading.hits.long()
        sure = torch.bucketize(total.contiguous(), self._seen, right=True) * (HITS + 1) + hits
        run = torch.bucketize(copies.run.contiguous(), self._runs, right=True)
        sure_copy = run * (len(_MISSES) + 1) + torch.bucketize(copies.misses.contiguous(), self._missed, right=True)
        longest = copies.run.amax(-1) if self.copies else hits[..., 0]
        situation = torch.bucketize(longest.contiguous(), self._longest, right=True) * (len(_MIDDLE_HITS) + 1)
        situation = situation + torch.bucketize(hits[..., self._middle_order].contiguous(), self._middle, right=True)
        features = [
            (scores / 2).detach(),
            (total + 1).log().unsqueeze(-1) / log(64),
            (hits.float() / HITS).unsqueeze(-1),
        ]
        more = [
            votes,
            live.float().unsqueeze(-1),
            (copies.run + 1).float().log().unsqueeze(-1) / log(32),
            copies.misses.float().unsqueeze(-1) / 8,
        ]
        joined = torch.cat([torch.cat(features, -1).flatten(2), torch.cat(more, -1).flatten(2)], -1)
        return Experts(torch.cat([scores, votes], 2), torch.cat([sure, sure_copy], 2), situation, joined)
