"""TNT: local memories that begin anew at every shard, and a global one at coarse chunks (2511.07343, stage 1).

**Another model, not a faster form of `lmm`.** At absolute positions 0, S, 2S, ... the local memory starts again from
its learned W_init, so that the shards of a stream do not wait for one another and are read side by side, as rows of a
batch. What reaches over a border is the global memory, whose gradients are taken at the same weights for a coarse chunk
of C_g tokens. With W_t and V_t as in `titans_seq.ops.recurrent`, of chunk sizes C and C_g:

    W_t : from W_init at t = 0, S, 2S, ...       (Eq. 6)      V_t : carried along the stream      (Eq. 5)
    y_t = local(W_t; x_t) + global(V_t; x_t) + read of the persistent tokens                      (Eq. 7)

each read normalised and gated as in `NeuralMemory`. Differences from the paper: both memories are any of ours, with
momentum, forgetting and a convolution (which begins anew with its shard); the global one is read after its writes, not
as it stood at the last border; each has projections of its own; there is one local memory per head rather than several
of different chunk sizes; and queries are not projected onto the span of the shard's keys.
"""

from __future__ import annotations

import torch
from torch import Tensor

from titans_seq.memory import NeuralMemory, Reading
from titans_seq.models.mixers import LayerState, MemoryMixer, join, part


class ShardedMixer(MemoryMixer):
    """TNT. ``memory`` is the global one, of chunk size C_g; ``local`` has the chunk size C, which divides ``shard``."""

    def __init__(self, memory: NeuralMemory, local: NeuralMemory, *, shard: int, persistent: int) -> None:
        super().__init__(memory, persistent=persistent)
        self.local, self.shard = local, shard

    def initial_state(self, batch: int) -> dict[str, Tensor]:
        return join(memory=super().initial_state(batch), local=self.local.initial_state(batch))

    def forward(
        self, x: Tensor, state: LayerState, mask: Tensor | None, position: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        far, carried = super().forward(x, part(state, "memory"), mask, position)
        near, local = self._shards(x, part(state, "local"), mask, position)
        return far + near, join(memory=carried, local=local)

    def _shards(
        self, x: Tensor, state: dict[str, Tensor], mask: Tensor | None, position: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Reads of the local memory: what is left of the current shard, whole shards at once, and the last one."""
        batch, tokens, _ = x.shape
        filled = position % self.shard
        first = min(self.shard - filled, tokens) if filled else 0
        last = tokens - (tokens - first) % self.shard
        fresh = self.local.initial_state(batch)
        outputs, after = [], state if filled else fresh

        def read(start: int, stop: int, before: LayerState, at: int) -> dict[str, Tensor]:
            y, end = self.local(x[:, start:stop], before, _cut(mask, start, stop), position=at)
            outputs.append(y)
            return end

        if first:
            after = read(0, first, state, filled)
            if filled + first == self.shard:
                after = fresh
        if last > first:
            outputs.append(self._side_by_side(x[:, first:last], _cut(mask, first, last)))
        if tokens > last:
            after = read(last, tokens, fresh, 0)
        return torch.cat([x[:, :0], *outputs], 1), after

    def _side_by_side(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Whole shards, folded into the batch: (B, n S, d_model) -> (B n, S, d_model) and back."""
        batch, count = x.shape[0], x.shape[1] // self.shard
        folded = x.reshape(batch * count, self.shard, x.shape[-1])
        marks = None if mask is None else mask.reshape(batch * count, self.shard)
        y, _ = self.local(folded, self.local.initial_state(batch * count), marks, position=0)
        if self.local.readings is not None and self.local.spec.structure != "none":
            self.local.readings[-1] = _unfold(self.local.readings[-1], batch)
        return y.reshape(x.shape)


def _cut(mask: Tensor | None, start: int, stop: int) -> Tensor | None:
    return None if mask is None else mask[:, start:stop]


def _unfold(reading: Reading, batch: int) -> Reading:
    """(B n, H, S) of folded shards -> (B, H, n S)."""

    def flat(t: Tensor) -> Tensor:
        return t.unflatten(0, (batch, -1)).transpose(1, 2).flatten(2)

    surprise, forget, momentum = (
        None if t is None else flat(t) for t in (reading.surprise, reading.forget, reading.momentum)
    )
    return Reading(surprise, flat(reading.learning_rate), forget, momentum)
