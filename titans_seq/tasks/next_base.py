"""Next-base prediction: recent bases, an encoder that carries a memory, four logits.

    p(s_{t+1} | s_0 .. s_t) = softmax(W norm(y_t)),   y = encoder(context(s))

The encoder is passed in; this file knows only its call, ``y, state = encoder(x, state=..., mask=...)``. Position t
has read base t and predicts base t + 1. A position whose own base is unknown writes nothing to the memory; a target
that is unknown carries no loss. Losses are in nats, scores in bits per base.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import log
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from titans_seq.models import Encoder, StreamState
from titans_seq.tasks.base_context import UNKNOWN, BaseContext
from titans_seq.tasks.mixing import MixingState, TableMixing
from titans_seq.tasks.trainable import Cost, Units

BITS_PER_NAT = 1 / log(2)


@dataclass(frozen=True, slots=True)
class NextBaseState:
    """Everything that is carried from one call to the next.

    Attributes
    ----------
    tail
        The last bases of each row, (B, tail_length) int64.
    encoder
        The encoder's own state.
    mixing
        The table's, where there is one; reading on changes it in place, see `fork`.
    """

    tail: Tensor
    encoder: StreamState
    mixing: MixingState | None = None

    def detach(self) -> NextBaseState:
        """Cut the state from the graph: gradients stop here, the memory goes on."""
        return replace(self, encoder=self.encoder.detach())

    def reset(self, rows: Tensor) -> NextBaseState:
        """Start the rows marked in ``rows`` (B,) bool afresh; allowed at the encoder's borders."""
        if not bool(rows.any()):
            return self
        tail = torch.where(rows[:, None], torch.full_like(self.tail, UNKNOWN), self.tail)
        # An encoder without memory and attention carries nothing that could be reset.
        encoder = self.encoder.reset(rows) if self.encoder.tensors() else self.encoder
        if self.mixing is not None:
            self.mixing.reset(rows)
        return NextBaseState(tail=tail, encoder=encoder, mixing=self.mixing)

    def fork(self) -> NextBaseState:
        """Copy what reading changes in place, so that two continuations of this point do not meet."""
        return replace(self, mixing=None if self.mixing is None else self.mixing.fork())

    def tensors(self) -> dict[str, Tensor]:
        """Name every tensor of the state, for a checkpoint; `NextBase.load_state` undoes it."""
        named = {f"encoder/{name}": value for name, value in self.encoder.tensors().items()}
        if self.mixing is not None:
            named |= {f"mixing/{name}": value for name, value in self.mixing.tensors().items()}
        return {"tail": self.tail, "position": torch.tensor(self.encoder.position), **named}


class NextBase(nn.Module):
    """Predict each next base of parallel streams.

    Parameters
    ----------
    encoder
        Maps (B, T, d_model) to the same shape and carries a state.
    context
        Maps tokens to (B, T, d_model).
    d_model
        Width of both.
    mixing
        An associative table beside the network, or none.
    """

    units: ClassVar[Units] = Units(targets="bases", score="bits_per_base", scale=BITS_PER_NAT, short="bits/base")

    def __init__(
        self, *, encoder: Encoder, context: BaseContext, d_model: int, mixing: TableMixing | None = None
    ) -> None:
        super().__init__()
        self.context = context
        self.encoder = encoder
        self.mixing = mixing
        self.norm = nn.RMSNorm(d_model)
        self.head = nn.Linear(d_model, 4)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def expect(self, tokens: int) -> None:
        """Lay out the tables of streams that begin from now on for so many tokens; nothing without a table."""
        if self.mixing is not None:
            self.mixing.expected = tokens

    def forward(
        self, tokens: Tensor, *, mask: Tensor | None = None, state: NextBaseState | None = None
    ) -> tuple[Tensor, NextBaseState]:
        """Read ``tokens`` and predict what follows each.

        Parameters
        ----------
        tokens
            Integer tokens, (B, T); 4 is an unknown base.
        mask
            True where a token is a real base, (B, T) bool; by default wherever it is not 4.
        state
            Where the streams stand; None begins them.

        Returns
        -------
        tuple
            Logits of A, C, G, T for the base after each position, (B, T, 4) float32, and the state after the last.
        """
        tokens = tokens.long()
        if mask is None:
            mask = tokens < UNKNOWN
        tail = self.context.empty_tail(tokens.shape[0], device=tokens.device) if state is None else state.tail
        x, tail = self.context(tokens, tail)
        before = None if state is None else state.encoder
        mixing = None if state is None else state.mixing
        if self.mixing is None or self.mixing.off:
            y, after = self.encoder(x, state=before, mask=mask)
            return self.head(self.norm(y)).float(), NextBaseState(tail=tail, encoder=after, mixing=mixing)
        mixing = mixing or self.mixing.initial_state(len(tokens), device=tokens.device)
        experts, mixing = self.mixing.read(tokens, mask, mixing)
        keep = self.mixing.kept_rows(tokens)
        y, after = self.encoder(x + self.mixing.input(experts, keep), state=before, mask=mask)
        y = self.norm(y)
        logits = self.mixing.mix(self.head(y), y, experts, tokens=tokens, mask=mask, state=mixing, keep=keep)
        return logits, NextBaseState(tail=tail, encoder=after, mixing=mixing)

    def cost(self, segment: Any, *, state: NextBaseState | None, device: torch.device) -> Cost:
        """Give the cost in nats of the base after each token of a segment (`titans_seq.genomics.Segment`)."""
        tokens, mask, targets, known = (
            torch.as_tensor(array).to(device)
            for array in (segment.tokens, segment.mask, segment.targets, segment.target_mask)
        )
        logits, state = self(tokens, mask=mask, state=state)
        return Cost(nats_per_base(logits, targets, known).sum(), int(known.sum()), state)

    def load_state(self, tensors: Mapping[str, Tensor]) -> NextBaseState:
        """Rebuild a state from its tensors; the weights must be those it was saved beside."""
        inner = {name.removeprefix("encoder/"): value for name, value in tensors.items() if name.startswith("encoder/")}
        state = self.encoder.state_type.from_tensors(
            inner,
            position=int(tensors["position"]),
            n_layers=len(self.encoder.blocks),
            fingerprint=self.encoder.fingerprint(),
        )
        table = {name.removeprefix("mixing/"): value for name, value in tensors.items() if name.startswith("mixing/")}
        mixing = self.mixing.load_state(table) if self.mixing is not None and table else None
        return NextBaseState(tail=tensors["tail"], encoder=state.bind(self.encoder), mixing=mixing)


def nats_per_base(logits: Tensor, targets: Tensor, target_mask: Tensor) -> Tensor:
    """Cost of each target in nats, 0 where ``target_mask`` is False.

    Parameters
    ----------
    logits
        (B, T, 4).
    targets
        (B, T), 0 to 3 wherever the mask is True.
    target_mask
        (B, T) bool.

    Returns
    -------
    Tensor
        (B, T) float32. Uniform logits cost log 4 = 1.386 nats, that is 2 bits.
    """
    safe = torch.where(target_mask, targets.long(), 0)
    cost = F.cross_entropy(logits.flatten(0, 1), safe.flatten(), reduction="none").view_as(safe)
    return torch.where(target_mask, cost, torch.zeros_like(cost))
