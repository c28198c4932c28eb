"""From the tokens of a sequence to one vector, whatever its length.

    mean   m = (1 / T) sum_t y_t
    max    x_i = max_t y_ti
    attend a = sum_t softmax_t(w . y_t) y_t
    parts  p = ReLU(W [mean of part 1; ...; mean of part P])        P equal parts of the sequence

Masked tokens count nowhere. The vector is ``[m; x; a; p]``; parts are left out for P = 0.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from titans_seq.tasks.sequence_front import part_numbers


class Pooling(nn.Module):
    """Pool (B, T, d) to (B, width); see the module's text.

    Parameters
    ----------
    d_model
        Width of a token.
    parts
        Equal parts of a sequence whose means are kept apart; 0 for none.
    """

    def __init__(self, *, d_model: int, parts: int, dropout: float) -> None:
        super().__init__()
        self.parts = parts
        self.width = d_model * (4 if parts else 3)
        self.weigh = nn.Linear(d_model, 1, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.join = nn.Linear(parts * d_model, d_model) if parts else None
        nn.init.zeros_(self.weigh.weight)

    def forward(self, y: Tensor, mask: Tensor) -> Tensor:
        """Pool ``y`` (B, T, d) where ``mask`` (B, T) is True; a row without a real token gives the zero vector's."""
        real = mask[..., None].to(y.dtype)
        y = y * real
        count = real.sum(1).clamp(min=1)
        top = y.masked_fill(~mask[..., None], float("-inf")).amax(1)
        top = torch.where(mask.any(1)[:, None], top, torch.zeros_like(top))
        score = self.weigh(y).masked_fill(~mask[..., None], -1e4).softmax(1)
        found = [y.sum(1) / count, top, (score * y).sum(1)]
        if self.join is not None:
            found.append(torch.relu(self.join(self.dropout(self._part_means(y, real)))))
        return torch.cat(found, dim=1)

    def _part_means(self, y: Tensor, real: Tensor) -> Tensor:
        rows, size, width = y.shape
        # The end of a sequence is its last real token: an N inside stays where it is.
        ends = (real[..., 0] * torch.arange(1, size + 1, device=y.device)).amax(1).long()
        part = part_numbers(ends, size, self.parts)[..., None]
        sums = y.new_zeros(rows, self.parts, width).scatter_add(1, part.expand(-1, -1, width), y)
        counts = y.new_zeros(rows, self.parts, 1).scatter_add(1, part, real)
        return (sums / counts.clamp(min=1)).flatten(1)
