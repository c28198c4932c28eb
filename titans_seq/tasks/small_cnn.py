"""A small convolutional network, trained as it should be: the bar between logistic regression and a model.

    one-hot -> conv 15, 64 -> ReLU -> max 4 -> conv 7, 64 -> ReLU -> max 4 -> [means of 8 parts; max] -> linear 64
    -> ReLU -> linear

Logits go into the cross entropy once, and every layer has its non-linearity. (The network that is often quoted as
the baseline of Genomic Benchmarks passes a sigmoid's output on as logits and has two linear layers in a row.)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from titans_seq.tasks.base_context import UNKNOWN
from titans_seq.tasks.classify import NothingCarried
from titans_seq.tasks.pooling import Pooling
from titans_seq.tasks.sequence_front import inside
from titans_seq.tasks.trainable import Cost, Units

_POOL = 4


class SmallCnn(nn.Module):
    """See the module's text; called and trained like `SequenceClassifier`."""

    units: ClassVar[Units] = Units(targets="sequences", score="nats_per_sequence", scale=1.0, short="nats")

    def __init__(self, *, n_classes: int, channels: int = 64, parts: int = 8, dropout: float = 0.3) -> None:
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv1d(4, channels, 15, padding=7), nn.Conv1d(channels, channels, 7, padding=3)])
        self.pool = Pooling(d_model=channels, parts=parts, dropout=dropout)
        self.head = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(self.pool.width, channels), nn.ReLU(), nn.Linear(channels, n_classes)
        )

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Give logits (B, n_classes) of tokens (B, L) with their lengths (B,)."""
        x = F.one_hot(tokens.long(), UNKNOWN + 1)[..., :UNKNOWN].float().transpose(1, 2)
        for conv in self.convs:
            x = torch.relu(conv(x)) * inside(lengths, x.shape[2])[:, None]
            x = F.max_pool1d(x, _POOL, ceil_mode=True)
            lengths = torch.div(lengths + _POOL - 1, _POOL, rounding_mode="floor")
        logits: Tensor = self.head(self.pool(x.transpose(1, 2), inside(lengths, x.shape[2])))
        return logits

    @torch.no_grad()
    def probabilities(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Predict, (B, n_classes) float32."""
        was_training = self.training
        self.eval()
        found = self(tokens, lengths).softmax(1)
        self.train(was_training)
        return found

    def cost(self, segment: Any, *, state: NothingCarried | None, device: torch.device) -> Cost:
        """Give the cost in nats of the classes of a batch."""
        tokens, lengths, labels = (
            torch.as_tensor(array).to(device) for array in (segment.tokens, segment.lengths, segment.labels)
        )
        return Cost(F.cross_entropy(self(tokens, lengths), labels, reduction="sum"), len(labels), NothingCarried())

    def load_state(self, tensors: Mapping[str, Tensor]) -> NothingCarried:
        """Nothing is carried from batch to batch."""
        return NothingCarried()
