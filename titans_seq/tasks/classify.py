"""Classify whole sequences: a front end, an encoder with a memory, pooling, a head.

    logits = head(pool(y)) + sum_i A[i, base i] + sum_w C[w] sqrt(n_w)
    y = encoder(front(bases))                                                     memory carried over one sequence

The second term is a logistic regression on the bases at their places, counted from the start: a pooled grid of tokens
blurs where a base stands, and in anchored sets (promoters, splice sites) that is half of the answer. The third is one
on k-mers w by how often they stand anywhere, n_w; in small sets it holds what a network would need more data to learn.

The state of a sequence begins and ends with it: sequences are independent of each other, so nothing goes from one
batch to the next. The four ways to deal with the other strand are part of the model:

- ``none``         the strand as given (promoters, splice sites: the strand is known)
- ``augment``      in training each sequence is turned over with probability 1/2
- ``average``      trained as ``augment``; p = (p(s) + p(rc(s))) / 2 when predicting
- ``equivariant``  z = [(z(s) + z(rc(s))) / 2; max(z(s), z(rc(s)))] goes into the head: s and rc(s) score the same
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from titans_seq.errors import unknown_name
from titans_seq.models import Encoder
from titans_seq.tasks.base_context import UNKNOWN, kmer_ids
from titans_seq.tasks.pooling import Pooling
from titans_seq.tasks.sequence_front import inside
from titans_seq.tasks.trainable import Cost, Units

STRAND_MODES = ("none", "augment", "average", "equivariant")
MEMORY_ARMS = ("carried", "reset", "off")


@dataclass(frozen=True, slots=True)
class NothingCarried:
    """The state between two batches of whole sequences."""

    def detach(self) -> NothingCarried:
        """Nothing to cut."""
        return self

    def reset(self, rows: Tensor) -> NothingCarried:
        """Nothing to begin anew."""
        return self

    def tensors(self) -> dict[str, Tensor]:
        """Nothing to save."""
        return {}


def other_strand(tokens: Tensor, lengths: Tensor) -> Tensor:
    """Reverse-complement each row within its length: ``A A C N | 4 4`` becomes ``N G T T | 4 4``."""
    partner = torch.tensor([3, 2, 1, 0, UNKNOWN], device=tokens.device)
    return partner[turned(tokens, lengths)]


def turned(x: Tensor, lengths: Tensor) -> Tensor:
    """Reverse each row of x (B, T) or (B, T, d) within its length; what lies behind it stays."""
    place = torch.arange(x.shape[1], device=x.device)
    index = torch.where(place < lengths[:, None], lengths[:, None] - 1 - place, place)
    return x.gather(1, index if x.ndim == 2 else index[..., None].expand_as(x))


def kmer_counts(tokens: Tensor, k: int) -> Tensor:
    """Count the k-mers of each row without an unknown base: (B, L) to float32 (B, 4^k)."""
    found = tokens.new_zeros(len(tokens), 4**k + 1, dtype=torch.float32)
    ids = kmer_ids(tokens, k)
    return found.scatter_add(1, ids, torch.ones_like(ids, dtype=torch.float32))[:, :-1]


class SequenceClassifier(nn.Module):
    """Whole sequences to classes; see the module's text.

    Parameters
    ----------
    front
        `ConvFront` or `ContextFront`.
    encoder
        Reads left to right.
    n_classes
        Outputs.
    positions
        Places that the second term knows; 0 leaves it out. What lies behind them has no weight.
    content
        Lengths of the k-mers of the third term; empty leaves it out.
    both_ways
        Read the front's tokens a second time from the right, with the same weights; the two are joined by a
        linear map.
    reverse_complement
        One of `STRAND_MODES`.
    mask_bases
        Share of bases that are hidden (as N) in training.
    smoothing
        Of labels: the true class has 1 - smoothing, the rest goes to all alike.
    """

    units: ClassVar[Units] = Units(targets="sequences", score="nats_per_sequence", scale=1.0, short="nats")

    def __init__(
        self,
        *,
        front: nn.Module,
        encoder: Encoder,
        d_model: int,
        n_classes: int,
        parts: int,
        positions: int = 0,
        content: Sequence[int] = (),
        both_ways: bool = False,
        reverse_complement: str = "none",
        dropout: float = 0.0,
        mask_bases: float = 0.0,
        smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        if reverse_complement not in STRAND_MODES:
            raise unknown_name("reverse-complement mode", reverse_complement, STRAND_MODES)
        self.front, self.encoder, self.reverse_complement = front, encoder, reverse_complement
        self.mask_bases, self.smoothing, self.n_classes = mask_bases, smoothing, n_classes
        self.join = nn.Linear(2 * d_model, d_model, bias=False) if both_ways else None
        self.pool = Pooling(d_model=d_model, parts=parts, dropout=dropout)
        width = self.pool.width * (2 if reverse_complement == "equivariant" else 1)
        self.head = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(width, d_model),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(d_model, n_classes),
        )
        self.places = nn.Linear(UNKNOWN * positions, n_classes, bias=False) if positions else None
        if self.places is not None:
            nn.init.zeros_(self.places.weight)
        self.content = tuple(content)
        words = [nn.Linear(4**k, n_classes, bias=False) for k in self.content]
        for linear in words:
            nn.init.zeros_(linear.weight)
        self.words = nn.ModuleList(words)
        self.reset_every: int | None = None
        self.frozen = False

    def freeze(self) -> None:
        """Leave front and encoder as they are from now on: only the pooling and the head learn."""
        self.frozen = True
        for part in (self.front, self.encoder):
            part.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> SequenceClassifier:
        """Switch to training; a frozen front keeps its statistics and drops nothing."""
        super().train(mode)
        if self.frozen:
            self.front.eval()
            self.encoder.eval()
        return self

    def features(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Give the vector that the head reads, (B, width), of one strand or symmetric in both."""
        if self.reverse_complement != "equivariant":
            return self._vector(tokens, lengths)
        here, there = (self._vector(strand, lengths) for strand in (tokens, other_strand(tokens, lengths)))
        return torch.cat([(here + there) / 2, torch.maximum(here, there)], dim=1)

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Read whole sequences.

        Parameters
        ----------
        tokens
            (B, L), 0 to 3, 4 for N and behind the end of a row.
        lengths
            (B,) bases.

        Returns
        -------
        Tensor
            Logits (B, n_classes); of one strand only, except for ``equivariant``.
        """
        tokens = tokens.long()
        if self.training:
            tokens = self._varied(tokens, lengths)
        logits: Tensor = self.head(self.features(tokens, lengths)).float()
        if self.places is not None:
            placed = self._at_places(tokens)
            if self.reverse_complement == "equivariant":
                # The strands are added to each other first: then their order changes no bit.
                placed = placed + self._at_places(other_strand(tokens, lengths))
            logits = logits + placed
        for k, words in zip(self.content, self.words, strict=True):
            counts = kmer_counts(tokens, k)
            if self.reverse_complement == "equivariant":
                counts = counts + kmer_counts(other_strand(tokens, lengths), k)
            logits = logits + words(counts.sqrt().to(next(words.parameters()).dtype)).float()
        return logits

    @torch.no_grad()
    def probabilities(self, tokens: Tensor, lengths: Tensor, *, arm: str = "carried", window: int = 0) -> Tensor:
        """Predict, (B, n_classes) float32.

        Parameters
        ----------
        arm
            ``carried`` reads each sequence with one memory; ``reset`` begins the memory anew every ``window`` tokens
            (a multiple of ``encoder.border``); ``off`` reads zeros from it.
        """
        was_training = self.training
        self.eval()
        self.reset_every = window if arm == "reset" else None
        try:
            with self.encoder.memory_off() if arm == "off" else nullcontext():
                found = self(tokens, lengths).softmax(1)
                if self.reverse_complement == "average":
                    found = (found + self(other_strand(tokens.long(), lengths), lengths).softmax(1)) / 2
        finally:
            self.reset_every = None
            self.train(was_training)
        return found

    def cost(self, segment: Any, *, state: NothingCarried | None, device: torch.device) -> Cost:
        """Give the cost in nats of the classes of a batch (`titans_seq.genomics.labelled_batches.Batch`)."""
        tokens, lengths, labels = (
            torch.as_tensor(array).to(device) for array in (segment.tokens, segment.lengths, segment.labels)
        )
        logits = self(tokens, lengths)
        total = F.cross_entropy(logits, labels, label_smoothing=self.smoothing, reduction="sum")
        return Cost(total, len(labels), NothingCarried())

    def load_state(self, tensors: Mapping[str, Tensor]) -> NothingCarried:
        """Nothing is carried from batch to batch."""
        return NothingCarried()

    def _vector(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        x, mask = self.front(tokens, lengths)
        if self.join is None:
            return self.pool(self._read(x, mask), mask)
        # Turned within each row, so that padding stays behind and the borders of chunks do not depend on it. Both
        # ways are rows of one call, which is faster than two.
        ends = mask.sum(1)
        there, back = self._read(torch.cat([x, turned(x, ends)]), torch.cat([mask, mask])).chunk(2)
        return self.pool(self.join(torch.cat([there, turned(back, ends)], dim=-1)), mask)

    def _at_places(self, tokens: Tensor) -> Tensor:
        assert self.places is not None
        width = self.places.in_features // UNKNOWN
        cut = F.pad(tokens[:, :width], (0, max(0, width - tokens.shape[1])), value=UNKNOWN)
        columns = F.one_hot(cut, UNKNOWN + 1)[..., :UNKNOWN].to(self.places.weight.dtype)
        found: Tensor = self.places(columns.flatten(1))
        return found.float()

    def _read(self, x: Tensor, mask: Tensor) -> Tensor:
        every = self.reset_every or x.shape[1]
        pieces = [
            self.encoder(x[:, at : at + every], mask=mask[:, at : at + every])[0] for at in range(0, x.shape[1], every)
        ]
        return torch.cat(pieces, dim=1)

    def _varied(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Hide some bases and turn some rows over: what training adds to the sequences."""
        if self.reverse_complement in ("augment", "average"):
            over = torch.rand(len(tokens), 1, device=tokens.device) < 0.5
            tokens = torch.where(over, other_strand(tokens, lengths), tokens)
        if self.mask_bases:
            hidden = torch.rand(tokens.shape, device=tokens.device) < self.mask_bases
            tokens = torch.where(hidden & inside(lengths, tokens.shape[1]), UNKNOWN, tokens)
        return tokens
