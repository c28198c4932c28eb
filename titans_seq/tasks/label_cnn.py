"""A small convolutional labeller of bases, trained as it should be: the bar between regressions and a model.

    one-hot letters -> conv 11 -> ReLU -> 4 residual blocks (conv 9, dilation 1, 3, 9, 27 -> batch norm -> ReLU)
    -> linear: logits of the strand's states

A base sees 165 bases on either side. Both strands are rows of one batch with one set of weights, as in
`titans_seq.tasks.base_labels`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from titans_seq.tasks.base_context import N_TOKENS, UNKNOWN
from titans_seq.tasks.base_labels import both_strands, reverse_complement

_DILATIONS = (1, 3, 9, 27)


class LabelCnn(nn.Module):
    """See the module's text."""

    def __init__(self, *, n_states: int, channels: int = 32) -> None:
        super().__init__()
        self.first = nn.Conv1d(N_TOKENS - 1, channels, 11, padding=5)
        self.more = nn.ModuleList(
            nn.Conv1d(channels, channels, 9, padding=4 * dilation, dilation=dilation, bias=False)
            for dilation in _DILATIONS
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(channels) for _ in _DILATIONS)
        self.head = nn.Conv1d(channels, n_states, 1)

    def forward(self, tokens: Tensor, *, margin: int) -> Tensor:
        """Logits (B, 2, L, K) in forward coordinates of tokens (B, L + 2 margin); 4 stands for unknown."""
        tokens = tokens.long()
        both = torch.cat([tokens, reverse_complement(tokens)])
        x = torch.relu(self.first(F.one_hot(both, N_TOKENS)[..., :UNKNOWN].float().transpose(1, 2)))
        for conv, norm in zip(self.more, self.norms, strict=True):
            x = x + torch.relu(norm(conv(x)))
        return both_strands(self.head(x)[:, :, margin : both.shape[1] - margin].transpose(1, 2))
