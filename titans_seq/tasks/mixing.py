"""The table beside the network: features at the encoder's input, and a mixture at the logits that learns while reading.

With l_i the scores of the table's experts (`TableExperts`) and l_0 the network's own log-probabilities, all centred::

    logits_t(a) = sum_i w_i,t l_i,t(a)
    w_i,t = (W + dW)[i, confidence_i,t] + (V + dV)[situation_t, i] + (G h_t)_i + [i = 0]
    p_t = (1 - e_t) softmax(logits_t) + e_t / A          e_t = sigmoid(doubt[situation_t])

W, V, G and doubt are learned in training. Doubt is what is left to a token that has changed since the copy was made: a
product of experts that all read the same copy would give it one part in a million, where one in a thousand does.

dW and dV start at zero with every stream and are a memory of their own: a matrix with one-hot keys (which expert, how
sure), written by gradient steps on what the product predicted, that is by the delta rule::

    dW[i, c] -= rate * sum_t [confidence_i,t = c] sum_a (softmax(logits_t)(a) - [a = s_{t+1}]) l_i,t(a)

at each chunk border, and the same for dV. Predictions of a chunk use the weights of its border, so nothing depends on
how a stream is cut. In reading, `second_mixing` weighs the whole once more, and `averaging` comes last: where the
product fails, what does not fail is believed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import gcd, log
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from titans_seq.errors import ShapeError, StateMismatchError
from titans_seq.memory.table import Table, TableSpec, TableState
from titans_seq.memory.table_layout import SHORT
from titans_seq.ops.linear import Linear
from titans_seq.tasks.averaging import average, predictors
from titans_seq.tasks.mixing_native import Mix, MixCall, kernels_for
from titans_seq.tasks.second_mixing import RATE, SPAN, SecondWeights, mix_again, set_of
from titans_seq.tasks.table_experts import LEVELS, SITUATIONS, Experts, TableExperts

_FIRST_DOUBT: Final = log(1e-3)
_SECOND: Final = "second/"


@dataclass(slots=True)
class FastWeights:
    """What the mixture has learned of a stream, and the chunk it has not learned from yet; changed in place.

    Attributes
    ----------
    by_confidence, by_situation : (B, E x LEVELS) and (B, SITUATIONS x E)
        dW and dV.
    slope, where, situation : (B, chunk, E), (B, chunk, E), (B, chunk)
        Gradients of the unfinished chunk and the weights they belong to.
    last_scores, last_chance, last_where, last_situation
        The prediction whose token has not come yet: (B, E, A), (B, A), (B, E), (B,).
    evidence, last_each : (B, M), (B, M, A)
        Of the predictors that `averaging` weighs, and what they said of the token that has not come yet.
    second : of the mixtures behind this one.
    """

    by_confidence: Tensor
    by_situation: Tensor
    slope: Tensor
    where: Tensor
    situation: Tensor
    last_scores: Tensor
    last_chance: Tensor
    last_where: Tensor
    last_situation: Tensor
    evidence: Tensor
    last_each: Tensor
    second: SecondWeights

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> FastWeights:
        """The inverse of `tensors`."""
        second = {name.removeprefix(_SECOND): value for name, value in tensors.items() if name.startswith(_SECOND)}
        own = {name: value for name, value in tensors.items() if not name.startswith(_SECOND)}
        return cls(**own, second=SecondWeights(**second))

    def own(self) -> dict[str, Tensor]:
        """What is of this mixture and the average, by name."""
        return {name: getattr(self, name) for name in self.__slots__ if name != "second"}

    def tensors(self) -> dict[str, Tensor]:
        """All of it by name."""
        return self.own() | {f"{_SECOND}{name}": value for name, value in self.second.tensors().items()}


@dataclass(frozen=True, slots=True)
class MixingState:
    """The table and the fast weights of parallel streams. Reading changes both in place; `fork` to go two ways.

    Attributes
    ----------
    table, fast
    position : tokens read when this state was handed out; an older state of the same streams is refused.
    """

    table: TableState
    fast: FastWeights
    position: int

    def reset(self, rows: Tensor) -> None:
        """Empty the rows marked in ``rows`` (B,) bool."""
        self.table.reset(rows)
        for value in self.fast.tensors().values():
            value[rows] = 0

    def fork(self) -> MixingState:
        """A copy with a life of its own."""
        copied = {name: value.clone() for name, value in self.fast.tensors().items()}
        return MixingState(self.table.fork(), FastWeights.of(copied), self.position)

    def tensors(self) -> dict[str, Tensor]:
        """All of it under flat names."""
        named = {f"table/{name}": value for name, value in self.table.tensors().items()}
        return named | {f"fast/{name}": value for name, value in self.fast.tensors().items()}


class TableMixing(nn.Module):
    """A table, its experts, and how they are mixed with a network's prediction.

    Parameters
    ----------
    spec : of the table.
    d_model : width of the encoder.
    rate : of the mixture's gradient steps while reading; 0 leaves the trained weights as they are.
    drop : share of rows and calls that train without the table, so that the network can also do without.
    """

    _offset: Tensor
    _own: Tensor

    def __init__(self, spec: TableSpec, *, d_model: int, rate: float = 0.002, drop: float = 0.1) -> None:
        super().__init__()
        self.table = Table(spec)
        self.experts = TableExperts(spec)
        self.rate, self.drop, self.off = rate, drop, False
        self.expected = SHORT
        self.count = self.experts.count + 1
        first = torch.cat([self.experts.first_weights(), torch.zeros(1, LEVELS)])
        self.by_confidence = nn.Embedding.from_pretrained(first.view(-1, 1), freeze=False)
        self.by_situation = nn.Embedding.from_pretrained(torch.zeros(SITUATIONS, self.count), freeze=False)
        self.doubt = nn.Embedding.from_pretrained(torch.full((SITUATIONS, 1), _FIRST_DOUBT), freeze=False)
        self.register_buffer("_offset", torch.arange(self.count) * LEVELS, persistent=False)
        self.register_buffer("_own", F.one_hot(torch.tensor(self.count - 1), self.count).float(), persistent=False)
        self.gate = Linear(d_model, self.count, bias=False)
        self.features = Linear(self.experts.width, d_model, bias=False)
        nn.init.zeros_(self.gate.weight)
        nn.init.normal_(self.features.weight, std=self.experts.width**-0.5)

    def initial_state(self, rows: int, *, device: torch.device) -> MixingState:
        """Empty tables for streams of `expected` tokens, and no fast weights."""
        table = self.table.initial_state(rows, tokens=self.expected, device=device)
        return MixingState(table, self._nothing_learned(rows, device=device), 0)

    def _nothing_learned(self, rows: int, *, device: torch.device) -> FastWeights:
        spec, experts = self.table.spec, self.count
        each = predictors(self.experts.orders)
        shapes = {
            "by_confidence": (experts * LEVELS,), "by_situation": (SITUATIONS * experts,),
            "slope": (spec.chunk, experts), "last_scores": (experts, spec.alphabet), "last_chance": (spec.alphabet,),
            "evidence": (each,), "last_each": (each, spec.alphabet),
        }  # fmt: skip
        numbers = {
            "where": (spec.chunk, experts),
            "situation": (spec.chunk,),
            "last_where": (experts,),
            "last_situation": (),
        }
        return FastWeights(
            **{name: torch.zeros(rows, *shape, device=device) for name, shape in shapes.items()},
            **{name: torch.zeros(rows, *shape, dtype=torch.long, device=device) for name, shape in numbers.items()},
            second=SecondWeights.none(rows, experts=self.experts.count, alphabet=spec.alphabet, device=device),
        )

    def load_state(self, tensors: Mapping[str, Tensor]) -> MixingState:
        """The inverse of `MixingState.tensors`."""
        parts: dict[str, dict[str, Tensor]] = {"table": {}, "fast": {}}
        for name, value in tensors.items():
            part, _, rest = name.partition("/")
            parts[part][rest] = value
        table = self.table.load_state(parts["table"])
        chance = parts["fast"]["last_chance"]
        fast = self._nothing_learned(len(chance), device=chance.device).tensors()
        # States saved before there was an average, or the second mixtures in it, begin those here.
        later = {name for name in fast if name in ("evidence", "last_each") or name.startswith(_SECOND)}
        fast |= {
            name: value
            for name, value in parts["fast"].items()
            if name not in later or value.shape == fast[name].shape
        }  # fmt: skip
        return MixingState(table, FastWeights.of(fast), table.position)

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Within this context the table is neither read nor written."""
        self.off = True
        try:
            yield
        finally:
            self.off = False

    def read(self, tokens: Tensor, mask: Tensor, state: MixingState) -> tuple[Experts, MixingState]:
        """Read and write ``tokens`` (B, T); masked ones are unknown.

        Raises
        ------
        StateMismatchError
            The streams have been read on since ``state`` was handed out.
        """
        if state.position != state.table.position:
            raise StateMismatchError(
                f"this state stood at token {state.position}, but its table was read on to {state.table.position}: "
                "tables are changed in place, so fork the state before it goes two ways"
            )
        with torch.no_grad():
            reading = self.table.read(torch.where(mask, tokens, self.table.spec.alphabet), state.table)
        return self.experts(reading), replace(state, position=state.table.position)

    def kept_rows(self, tokens: Tensor) -> Tensor | None:
        """Draw the rows (B,) that use the table in this call of a training; None stands for all."""
        if not self.training or not self.drop:
            return None
        return torch.rand(len(tokens), device=tokens.device) >= self.drop

    def input(self, features: Tensor, keep: Tensor | None) -> Tensor:
        """What the table adds to the encoder's input, (B, T, d_model), of `Experts.features`."""
        x = self.features(features)
        return x if keep is None else x * keep[:, None, None]

    def mix(
        self,
        logits: Tensor,
        gate: Tensor,
        experts: Experts,
        *,
        tokens: Tensor,
        mask: Tensor,
        state: MixingState,
        keep: Tensor | None = None,
    ) -> Tensor:
        """Mix the network's prediction with the experts: logits (B, T, A).

        Parameters
        ----------
        logits : (B, T, A)
            The network's.
        gate : (B, T, E)
            What the network's vectors add to the weights, by `gate`.
        tokens, mask : (B, T)
            What was read; it is what the positions before had predicted.
        state : behind these tokens, as `read` gave it; its fast weights go on in place.
        keep : (B,) bool
            Rows that are mixed; the others have the network's prediction alone and learn nothing.

        Raises
        ------
        ShapeError
            ``gate`` has not one number for each expert.
        """
        if gate.shape != (*tokens.shape, self.count):
            raise ShapeError(
                f"gate must be (batch, tokens, {self.count}), one number an expert, found {tuple(gate.shape)}"
            )
        own = F.log_softmax(logits.float(), -1)
        sure = (own.amax(-1).detach().exp() * 10).long().clamp(max=9)
        own = own - own.mean(-1, keepdim=True)
        kept = mask if keep is None else mask & keep[:, None]
        if experts.counts is not None:
            mixed = self._mix_compiled(own, sure, gate, experts, tokens=tokens, mask=kept, state=state)
            mixed = self._doubted(mixed, experts.situation)
            mixed = self._averaged(mixed, own, experts, tokens=tokens, mask=kept, state=state)
            return mixed if keep is None else torch.where(keep[:, None, None], mixed, own)
        scores = torch.cat([experts.scores, own.unsqueeze(2)], 2)
        where = torch.cat([experts.confidence, sure.unsqueeze(-1)], -1) + self._offset
        weights = self.by_confidence(where).squeeze(-1) + self.by_situation(experts.situation)
        weights = weights + gate.float() + self._own
        with torch.no_grad():
            learned = self._adapt(
                weights.detach(), scores.detach(), where, experts.situation,
                tokens=tokens, mask=kept, fast=state.fast, start=state.position - tokens.shape[1],
            )  # fmt: skip
        mixed = self._doubted(torch.einsum("bte,btea->bta", weights + learned, scores), experts.situation)
        mixed = self._averaged(mixed, own, experts, tokens=tokens, mask=kept, state=state)
        return mixed if keep is None else torch.where(keep[:, None, None], mixed, own)

    def _doubted(self, mixed: Tensor, situation: Tensor) -> Tensor:
        """Log-probabilities (B, T, A) of the mixture with its share of doubt."""
        doubt = self.doubt(situation)
        even = F.logsigmoid(doubt) - log(mixed.shape[-1])
        return torch.logaddexp(F.log_softmax(mixed, -1) + F.logsigmoid(-doubt), even)

    def _averaged(
        self, mixed: Tensor, own: Tensor, experts: Experts, *, tokens: Tensor, mask: Tensor, state: MixingState
    ) -> Tensor:
        """Log-probabilities (B, T, A) of `averaging`; in training those of the mixture, which is what learns."""
        if self.training:
            return mixed
        fast = state.fast
        again = mix_again(
            mixed, own, experts.scores, set_of(experts.confidence[:, :, self.experts.orders :]), tokens=tokens,
            mask=mask, state=fast.second, start=state.position - tokens.shape[1],
            span=gcd(SPAN, self.table.spec.chunk), rate=RATE if self.rate else 0.0,
        )  # fmt: skip
        return average(
            torch.cat([mixed.unsqueeze(2), again], 2), own, experts.scores, orders=self.experts.orders, tokens=tokens,
            mask=mask, evidence=fast.evidence, last=fast.last_each,
        )  # fmt: skip

    def _mix_compiled(
        self,
        own: Tensor,
        sure: Tensor,
        gate: Tensor,
        experts: Experts,
        *,
        tokens: Tensor,
        mask: Tensor,
        state: MixingState,
    ) -> Tensor:
        """The same as below, in one pass of compiled code: mixed logits (B, T, A)."""
        kernels = kernels_for(own)
        assert kernels is not None
        assert experts.counts is not None
        fast, chunk = state.fast, self.table.spec.chunk
        for name, value in fast.own().items():
            # The last prediction may be a view into a call whose gradients are still to come.
            own_copy = name.startswith("last_")
            setattr(fast, name, value.clone(memory_format=torch.contiguous_format) if own_copy else value.contiguous())
        names = {"by_confidence": "fast_confidence", "by_situation": "fast_situation", "situation": "fast_at"}
        call = MixCall(
            kernels=kernels, chunk=chunk, levels=LEVELS, pending=(state.position - tokens.shape[1]) % chunk,
            rate=self.rate, scores=experts.scores, confidence=experts.confidence, situation=experts.situation,
            sure=sure, tokens=tokens, mask=mask, counts=experts.counts,
            fast={names.get(name, name): value for name, value in fast.own().items()},
        )  # fmt: skip
        learned = self.by_confidence.weight, self.by_situation.weight
        mixed: Tensor = Mix.apply(own, gate.float(), *learned, self.experts.log_alpha, call)
        return mixed

    def _adapt(
        self,
        weights: Tensor,
        scores: Tensor,
        where: Tensor,
        situation: Tensor,
        *,
        tokens: Tensor,
        mask: Tensor,
        fast: FastWeights,
        start: int,
    ) -> Tensor:
        """Give what the fast weights add at each position (B, T, E), and let them learn at the borders."""
        chunk, length = self.table.spec.chunk, tokens.shape[1]
        added = torch.empty_like(weights)
        came = F.one_hot(torch.where(mask, tokens, 0).long(), scores.shape[-1])
        done = 0
        while done < length:
            pending = (start + done) % chunk
            take = min(chunk - pending, length - done)
            here = slice(done, done + take)
            delta = fast.by_confidence.gather(1, where[:, here].flatten(1)).view_as(where[:, here])
            delta += self._row_of(fast.by_situation, situation[:, here])
            added[:, here] = delta
            chance = torch.einsum("bte,btea->bta", weights[:, here] + delta, scores[:, here]).softmax(-1)
            # What comes at a position was predicted at the one before.
            before = [
                torch.cat([last[:, None], values[:, here][:, :-1]], 1)
                for last, values in (
                    (fast.last_scores, scores), (fast.last_where, where), (fast.last_situation, situation)
                )
            ]  # fmt: skip
            error = torch.cat([fast.last_chance[:, None], chance[:, :-1]], 1) - came[:, here]
            slope = torch.einsum("btea,bta->bte", before[0], error) * mask[:, here, None]
            filled = slice(pending, pending + take)
            fast.slope[:, filled], fast.where[:, filled], fast.situation[:, filled] = slope, before[1], before[2]
            fast.last_scores, fast.last_where = scores[:, done + take - 1], where[:, done + take - 1]
            fast.last_chance, fast.last_situation = chance[:, -1], situation[:, done + take - 1]
            if pending + take == chunk and self.rate:
                step = -self.rate * fast.slope
                fast.by_confidence.scatter_add_(1, fast.where.flatten(1), step.flatten(1))
                rows = fast.situation.unsqueeze(-1) * self.count + torch.arange(self.count, device=tokens.device)
                fast.by_situation.scatter_add_(1, rows.flatten(1), step.flatten(1))
            done += take
        return added

    def _row_of(self, table: Tensor, number: Tensor) -> Tensor:
        """Rows (B, T, E) of each stream's (SITUATIONS x E)."""
        rows = number.unsqueeze(-1) * self.count + torch.arange(self.count, device=number.device)
        return table.gather(1, rows.flatten(1)).view_as(rows)
