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

from titans_seq.errors import ShapeError
from titans_seq.models import Encoder, StreamState
from titans_seq.ops.linear import Linear
from titans_seq.tasks.base_context import UNKNOWN, BaseContext
from titans_seq.tasks.mixing import MixingState, TableMixing
from titans_seq.tasks.pending import Pending
from titans_seq.tasks.trainable import Cost, Units

BITS_PER_NAT = 1 / log(2)


@dataclass(frozen=True, slots=True)
class NextBaseState:
    """Everything that is carried from one call to the next.

    Attributes
    ----------
    tail
        The last bases of each row before those that are pending, (B, tail_length) int64.
    encoder
        The encoder's own state, without those that are pending.
    mixing
        The table's, where there is one; reading on changes it in place, see `fork`.
    pending
        Bases behind the encoder's last border; see `titans_seq.tasks.pending`.
    """

    tail: Tensor
    encoder: StreamState
    mixing: MixingState | None = None
    pending: Pending | None = None

    @property
    def held_back(self) -> int:
        """Bases that are pending."""
        return 0 if self.pending is None else self.pending.length

    def detach(self) -> NextBaseState:
        """Cut the state from the graph: gradients stop here, the memory goes on."""
        return replace(self, encoder=self.encoder.detach())

    def reset(self, rows: Tensor) -> NextBaseState:
        """Start the rows marked in ``rows`` (B,) bool afresh; allowed at the encoder's borders."""
        if not bool(rows.any()):
            return self
        if self.pending is not None:
            raise ShapeError(
                f"rows can be reset only at a multiple of {self.encoder.encoder().border} tokens (encoder.border), but "
                f"{self.held_back} were read since; fill up with masked tokens first, or reset all rows"
            )
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
        if self.pending is not None:
            named |= {f"pending/{name}": value for name, value in self.pending.tensors().items()}
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
        self.head = Linear(d_model, 4)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def expect(self, tokens: int) -> None:
        """Lay out the tables of streams that begin from now on for so many tokens; nothing without a table."""
        if self.mixing is not None:
            self.mixing.expected = tokens

    def forward(
        self,
        tokens: Tensor,
        *,
        mask: Tensor | None = None,
        state: NextBaseState | None = None,
        predict: bool = True,
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
        predict
            False where the encoder's vectors alone are wanted: logits are NaN, and mixing weights learn nothing.

        Returns
        -------
        tuple
            Logits of A, C, G, T for the base after each position, (B, T, 4) float32, and the state after the last.
        """
        tokens = tokens.long()
        if mask is None:
            mask = tokens < UNKNOWN
        mixing, experts, keep = None if state is None else state.mixing, None, None
        if self.mixing is not None and not self.mixing.off:
            mixing = mixing or self.mixing.initial_state(len(tokens), device=tokens.device)
            experts, mixing = self.mixing.read(tokens, mask, mixing)
            keep = self.mixing.kept_rows(tokens)
        piece = Pending(tokens, mask, None if experts is None else experts.features)
        held = 0 if state is None else state.held_back
        y, tail, encoder, pending = self._encode(piece, state, keep)
        after = NextBaseState(tail=tail, encoder=encoder, mixing=mixing, pending=pending)
        if not predict:
            return torch.full((*tokens.shape, UNKNOWN), torch.nan, device=tokens.device), after
        y = self.norm(y)
        given = slice(held, held + tokens.shape[1])
        logits = self.head(y)[:, given]
        if self.mixing is None or mixing is None or experts is None:
            return logits.float(), after
        gate = self.mixing.gate(y)[:, given]
        return self.mixing.mix(logits, gate, experts, tokens=tokens, mask=mask, state=mixing, keep=keep), after

    def _encode(
        self, piece: Pending, state: NextBaseState | None, keep: Tensor | None
    ) -> tuple[Tensor, Tensor, StreamState, Pending | None]:
        """Vectors (B, P + T + filling, d_model) of what was pending and of the piece; tail, state, what is pending now.

        Where there are no gradients the encoder's state stays at a border, see `titans_seq.tasks.pending`.
        """
        rows = len(piece.tokens)
        if state is None:
            tail, before = self.context.empty_tail(rows, device=piece.tokens.device), None
        else:
            tail, before = state.tail, state.encoder
            piece = piece if state.pending is None else state.pending.then(piece)
        begin, border = 0 if before is None else before.position, self.encoder.border
        whole, missing = piece.length, -(begin + piece.length) % border
        if missing and ((state is not None and state.held_back) or self._holds_back(before, rows)):
            whole = max(0, (begin + piece.length) // border * border - begin)
        else:
            missing = 0
        read = piece.filled(missing) if missing else piece
        x, _ = self.context(read.tokens, tail)
        if self.mixing is not None and read.features is not None:
            x = x + self.mixing.input(read.features, keep)
        tail = torch.cat([tail, piece.tokens], 1)[:, whole : whole + tail.shape[1]]
        if not missing:
            y, after = self.encoder(x, state=before, mask=read.mask)
            return y, tail, after, None
        found = []
        if whole:
            y, before = self.encoder(x[:, :whole], state=before, mask=read.mask[:, :whole])
            found.append(y)
        y, _ = self.encoder(x[:, whole:], state=before, mask=read.mask[:, whole:])
        after = self.encoder.initial_state(rows) if before is None else before
        return torch.cat([*found, y], 1), tail, after, piece.behind(whole)

    def _holds_back(self, before: StreamState | None, rows: int) -> bool:
        """Whether bases behind a border wait for the rest of their chunk: in reading, if anything is carried at all."""
        if self.training or torch.is_grad_enabled():
            return False
        return bool((before or self.encoder.initial_state(rows)).tensors())

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
        held = {name.removeprefix("pending/"): value for name, value in tensors.items() if name.startswith("pending/")}
        pending = Pending.from_tensors(held) if held else None
        return NextBaseState(tail=tensors["tail"], encoder=state.bind(self.encoder), mixing=mixing, pending=pending)


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
