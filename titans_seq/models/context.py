"""MAC: memory as context (Titans Eq. 21-25), one segment after another.

At absolute positions 0, L, 2L, ... the weights are frozen for reading. Inside a segment, with x the segment's tokens:

    h = read of the frozen weights with one query per token           (Eq. 21)
    y = attention of x over [persistent | h | x]                      (Eq. 22-23)
    o = gate(y, read of the memory that y was written into)           (Eq. 24-25)

Token t sees h_j and x_j only for j <= t: h_j comes from token j's query, so that all of h, as the equations can be
read, would leak the future. For the same reason the last read is the state after writing y_t, not after the segment.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from titans_seq.memory import NeuralMemory
from titans_seq.models.attention import PersistentTokens, rotate
from titans_seq.models.layers import Gate
from titans_seq.models.mixers import LayerState, Mixer, join, part
from titans_seq.ops.linear import Linear

_CACHED = ("hk", "hv", "xk", "xv")


class ContextMixer(Mixer):
    """MAC. ``segment`` must be a multiple of the memory's chunk size, so that a segment starts on settled weights.

    State besides the memory's: ``frozen`` (B, H, size), the dual weights at the segment's start; keys and values of
    the current segment's h and x, (B, H, segment, D) each.
    """

    def __init__(self, memory: NeuralMemory, *, segment: int, persistent: int) -> None:
        super().__init__()
        d_model, heads = memory.d_model, memory.n_heads
        self.memory, self.segment, self.heads, self.width = memory, segment, heads, d_model // heads
        self.qkv = Linear(d_model, 3 * d_model, bias=False)
        self.out = Linear(d_model, d_model, bias=False)
        self.persistent = PersistentTokens(heads, persistent, self.width)
        self.gate = Gate(d_model)
        self.remembers = memory.spec.structure != "none"
        if self.remembers:
            self.query = Linear(d_model, heads * memory.key_width, bias=False)
            self.remembered = Linear(heads * memory.value_width, 2 * d_model, bias=False)

    def initial_state(self, batch: int) -> dict[str, Tensor]:
        memory = self.memory.initial_state(batch)
        empty = self.out.weight.new_zeros(batch, self.heads, self.segment, self.width)
        own = {name: empty for name in _CACHED if self.remembers or name[0] == "x"}
        frozen = {"frozen": memory["weights"]} if self.remembers else {}
        return {**join(memory=memory), **own, **frozen}

    def forward(
        self, x: Tensor, state: LayerState, mask: Tensor | None, position: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        outputs, at, current = [x[:, :0]], 0, dict(state)
        while at < x.shape[1]:
            filled = (position + at) % self.segment
            stop = min(at + self.segment - filled, x.shape[1])
            piece = None if mask is None else mask[:, at:stop]
            y, current = self._piece(x[:, at:stop], current, piece, position + at, filled)
            outputs.append(y)
            at = stop
        return torch.cat(outputs, 1), current

    def _piece(
        self, x: Tensor, state: dict[str, Tensor], mask: Tensor | None, position: int, filled: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Tokens of one segment, ``filled`` of which came in earlier calls."""
        batch, tokens, _ = x.shape
        q, xk, xv = self.qkv(x).unflatten(-1, (3, self.heads, self.width)).permute(2, 0, 3, 1, 4)
        new = {"xk": xk, "xv": xv}
        if self.remembers:
            asked = F.silu(self.query(x)).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            h = self.memory.recall(F.normalize(asked.to(state["frozen"].dtype), dim=-1), state["frozen"])
            h = self.remembered(h.transpose(1, 2).flatten(2).to(x.dtype))
            new["hk"], new["hv"] = h.unflatten(-1, (2, self.heads, self.width)).permute(2, 0, 3, 1, 4)
        full = {name: torch.cat([state[name][:, :, :filled].to(t.dtype), t], 2) for name, t in new.items()}
        total = filled + tokens
        at = torch.arange(total, device=x.device)
        sources = ("h", "x") if self.remembers else ("x",)
        n = self.persistent.count
        keys = [self.persistent.keys().to(q.dtype).expand(batch, -1, -1, -1)]
        values = [self.persistent.value.to(q.dtype).expand(batch, -1, -1, -1)]
        keys += [rotate(full[s + "k"], at) for s in sources]
        values += [full[s + "v"] for s in sources]
        visible = (at[filled:, None] >= at[None, :]).repeat(1, len(sources))
        y = F.scaled_dot_product_attention(
            rotate(q, at[filled:]), torch.cat(keys, 2), torch.cat(values, 2),
            attn_mask=F.pad(visible, (n, 0), value=True),
        )  # fmt: skip
        y = self.out(y.transpose(1, 2).flatten(2))
        m, memory = self.memory(y, part(state, "memory"), mask, position=position)
        after = join(memory=memory)
        if total == self.segment:
            after |= {name: torch.zeros_like(state[name]) for name in full}
            if self.remembers:
                after["frozen"] = memory["weights"]
        else:
            for name, t in full.items():
                after[name] = F.pad(t, (0, 0, 0, self.segment - total)).to(state[name].dtype)
            if self.remembers:
                after["frozen"] = state["frozen"]
        return self.gate(y, m), after
