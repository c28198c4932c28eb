"""From the bases of whole sequences to the encoder's tokens: convolutions, or the contexts of a next-base model.

Both are called alike, ``x, mask = front(tokens, lengths)``: tokens (B, L) int64 with 4 for N and behind the end of a
row, lengths (B,) in bases; x (B, T, d_model), mask (B, T) True where a token stands for at least one real base.
Nothing behind a row's end reaches the tokens before it, so a row alone equals the row in a batch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from titans_seq.tasks.base_context import UNKNOWN, BaseContext
from titans_seq.tasks.sum_over_ranks import SumOverRanks, ranks


def inside(lengths: Tensor, size: int) -> Tensor:
    """Tell which of ``size`` places lie before a row's end: lengths (B,) to (B, size) bool."""
    return torch.arange(size, device=lengths.device) < lengths[:, None]


class MaskedBatchNorm(nn.Module):
    """Batch normalisation whose statistics see the real places only."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Normalise x (B, T, d) where mask (B, T) is True; 0 elsewhere."""
        if bool(mask.all()):
            return self._normal(x.flatten(0, 1)).view_as(x)
        return x.new_zeros(x.shape).masked_scatter(mask[..., None], self._normal(x[mask]).to(x.dtype))

    def _normal(self, real: Tensor) -> Tensor:
        """Normalise the real places (N, d); a single one has no variance and takes what was seen so far."""
        norm = self.norm
        if self.training and ranks() > 1:
            return self._over_ranks(real)
        if len(real) < 2:
            return F.batch_norm(real, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
        found: Tensor = norm(real)
        return found

    def _over_ranks(self, real: Tensor) -> Tensor:
        """Normalise by the statistics of the global batch, of which every process has some rows.

        torch.nn.SyncBatchNorm does not run on a CPU.
        """
        norm, wide = self.norm, real.float()
        assert norm.running_mean is not None
        assert norm.running_var is not None
        sums = SumOverRanks.apply(torch.cat([wide.sum(0), wide.new_tensor([len(wide)])]))
        count = float(sums[-1].detach())
        mean, variance = norm.running_mean, norm.running_var
        if count >= 2:
            mean = sums[:-1] / count
            variance = SumOverRanks.apply((wide - mean).square().sum(0)) / count
            assert norm.momentum is not None
            norm.running_mean.lerp_(mean.detach(), norm.momentum)
            norm.running_var.lerp_(variance.detach() * (count / (count - 1)), norm.momentum)
        found = (wide - mean) * torch.rsqrt(variance + norm.eps) * norm.weight + norm.bias
        return found.to(real.dtype)


class ConvFront(nn.Module):
    """Local patterns, then a coarser grid.

        h = max over ``stride`` bases of ReLU(BN(conv_width(one-hot bases)))
        h = h + ReLU(BN(conv_5(h)))                     ``layers - 1`` times
        x = h + P[part of the sequence]

    where P is a learned vector for each of ``parts`` equal parts of a sequence (the memory has no positions of its
    own, and promoters are anchored).

    Parameters
    ----------
    d_model
        Channels.
    width
        Bases that a filter of the first layer sees; odd.
    stride
        Bases that become one token.
    layers
        Convolutions in all.
    parts
        0 leaves positions out.
    """

    def __init__(self, *, d_model: int, width: int, stride: int, layers: int, parts: int, dropout: float) -> None:
        super().__init__()
        self.stride, self.parts = stride, parts
        self.first = nn.Conv1d(4, d_model, width, padding=width // 2, bias=False)
        self.more = nn.ModuleList(nn.Conv1d(d_model, d_model, 5, padding=2, bias=False) for _ in range(layers - 1))
        self.norms = nn.ModuleList(MaskedBatchNorm(d_model) for _ in range(layers))
        self.dropout = nn.Dropout(dropout)
        self.places = nn.Embedding(parts, d_model) if parts else None
        if self.places is not None:
            nn.init.zeros_(self.places.weight)

    def forward(self, tokens: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Read whole sequences; see the module's text."""
        bases = F.one_hot(tokens, UNKNOWN + 1)[..., :UNKNOWN].to(self.first.weight.dtype)
        mask = inside(lengths, tokens.shape[1])
        x = torch.relu(self.norms[0](_along(self.first, bases), mask)) * mask[..., None]
        # ReLU leaves nothing below 0, so the zeros behind a row's end never win.
        x = F.max_pool1d(x.transpose(1, 2), self.stride, ceil_mode=True).transpose(1, 2)
        lengths = torch.div(lengths + self.stride - 1, self.stride, rounding_mode="floor")
        mask = inside(lengths, x.shape[1])
        for conv, norm in zip(self.more, self.norms[1:], strict=True):
            x = x + torch.relu(norm(_along(conv, self.dropout(x)), mask)) * mask[..., None]
        if self.places is not None:
            x = x + self.places(part_numbers(lengths, x.shape[1], self.parts))
        return x, mask


class ContextFront(nn.Module):
    """One token for each base, from the bases before it: what a next-base model was trained with."""

    def __init__(self, context: BaseContext) -> None:
        super().__init__()
        self.context = context

    def forward(self, tokens: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Read whole sequences; see the module's text. An unknown base writes nothing to the memory."""
        tail = self.context.empty_tail(tokens.shape[0], device=tokens.device)
        x, _ = self.context(tokens, tail)
        return x, tokens < UNKNOWN


def part_numbers(lengths: Tensor, size: int, parts: int) -> Tensor:
    """Number the equal part of its sequence that each place lies in, (B, size), 0 to ``parts - 1``.

    With four places and two parts: ``0 0 1 1``.
    """
    place = torch.arange(size, device=lengths.device)
    return torch.div(place * parts, lengths[:, None].clamp(min=1), rounding_mode="floor").clamp(max=parts - 1)


def _along(conv: nn.Module, x: Tensor) -> Tensor:
    """Convolve (B, T, d) along T."""
    y: Tensor = conv(x.transpose(1, 2))
    return y.transpose(1, 2)
