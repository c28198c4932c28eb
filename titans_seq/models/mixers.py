"""Token mixers: memory, attention, and the ways Titans (2501.00663, section 4) joins them.

Each takes ``x`` (B, T, d_model), its state (a dict of tensors, batch first), a mask and the absolute position, and
returns outputs and the state after. Parts are passed in, not built inside.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from titans_seq.memory import NeuralMemory
from titans_seq.models.attention import PersistentTokens, SlidingWindowAttention
from titans_seq.models.layers import Gate, RMSNorm
from titans_seq.ops.linear import Linear

LayerState = Mapping[str, Tensor]


class Mixer(nn.Module):
    """What a block expects of its mixer."""

    def initial_state(self, batch: int) -> dict[str, Tensor]:
        """State before the first token."""
        raise NotImplementedError

    def forward(
        self, x: Tensor, state: LayerState, mask: Tensor | None, position: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Outputs like ``x``, and the state after."""
        raise NotImplementedError


class MemoryMixer(Mixer):
    """LMM: memory alone, with a read of the persistent tokens beside it.

    Persistent tokens are attended to (the papers' own second reading: keys and values that do not depend on data)
    instead of being written at the start of every stream, which a learned W_0 already covers.
    """

    def __init__(self, memory: NeuralMemory, *, persistent: int) -> None:
        super().__init__()
        self.memory = memory
        d_model, heads = memory.d_model, memory.n_heads
        self.persistent = PersistentTokens(heads, persistent, d_model // heads) if persistent else None
        if persistent:
            self.query = Linear(d_model, d_model, bias=False)
            self.out = Linear(d_model, d_model, bias=False)

    def initial_state(self, batch: int) -> dict[str, Tensor]:
        return self.memory.initial_state(batch)

    def forward(
        self, x: Tensor, state: LayerState, mask: Tensor | None, position: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        y, after = self.memory(x, state, mask, position=position)
        if self.persistent is not None:
            q = self.query(x).unflatten(-1, (self.memory.n_heads, -1)).transpose(1, 2)
            y = y + self.out(self.persistent.attend(q).transpose(1, 2).flatten(2))
        return y, after


class AttentionMixer(Mixer):
    """Sliding-window attention alone (every second layer of `hybrid`)."""

    def __init__(self, attention: SlidingWindowAttention) -> None:
        super().__init__()
        self.attention = attention

    def initial_state(self, batch: int) -> dict[str, Tensor]:
        return self.attention.initial_state(batch)

    def forward(
        self, x: Tensor, state: LayerState, mask: Tensor | None, position: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        y, after = self.attention(x, state)
        return y, dict(after)


class _Joined(Mixer):
    """Memory and sliding-window attention in one mixer, their states side by side."""

    def __init__(self, memory: NeuralMemory, attention: SlidingWindowAttention) -> None:
        super().__init__()
        self.memory, self.attention = memory, attention

    def initial_state(self, batch: int) -> dict[str, Tensor]:
        return join(memory=self.memory.initial_state(batch), window=self.attention.initial_state(batch))


class GatedMixer(_Joined):
    """MAG (Eq. 26-28): attention and memory side by side, gating each other."""

    def __init__(self, memory: NeuralMemory, attention: SlidingWindowAttention) -> None:
        super().__init__(memory, attention)
        self.gate = Gate(memory.d_model)

    def forward(
        self, x: Tensor, state: LayerState, mask: Tensor | None, position: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        a, window = self.attention(x, part(state, "window"))
        m, memory = self.memory(x, part(state, "memory"), mask, position=position)
        return self.gate(a, m), join(memory=memory, window=window)


class LayeredMixer(_Joined):
    """MAL (Eq. 29-31): memory, then attention over what it gives. The residual around the memory (the paper's
    section 4.4 has residuals throughout) leaves attention its tokens when the memory is silent."""

    def __init__(self, memory: NeuralMemory, attention: SlidingWindowAttention) -> None:
        super().__init__(memory, attention)
        self.norm = RMSNorm(memory.d_model)

    def forward(
        self, x: Tensor, state: LayerState, mask: Tensor | None, position: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        m, memory = self.memory(x, part(state, "memory"), mask, position=position)
        y, window = self.attention(self.norm(x + m), part(state, "window"))
        return y, join(memory=memory, window=window)


def part(state: LayerState, name: str) -> dict[str, Tensor]:
    """The entries ``name.*`` of a state, without the prefix."""
    prefix = name + "."
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def join(**parts: LayerState) -> dict[str, Tensor]:
    """The inverse of `part`."""
    return {f"{name}.{key}": value for name, state in parts.items() for key, value in state.items()}
