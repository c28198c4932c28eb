"""Next-value prediction: numbers in, an encoder that carries a memory, the next numbers out.

A token is a patch: the V numbers of one or several time steps, of all channels, laid side by side.

    x_t = P [v_t * known_t ; known_t]        y = encoder(x)        v_{t+1} ~ v_t + H norm(y_t)

``P`` (d, 2 V) maps a patch and which of it is known; ``H`` (V, d) starts at zero, so that training begins at "nothing
changes". The cost is the squared error of the known numbers of the next patch. A token of which nothing is known
writes nothing to the memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from titans_seq.models import Encoder, StreamState
from titans_seq.tasks.trainable import Cost, Units


@dataclass(frozen=True, slots=True)
class NextValueState:
    """What is carried from one call to the next: the encoder's state and nothing else."""

    encoder: StreamState

    def detach(self) -> NextValueState:
        """Cut the state from the graph."""
        return replace(self, encoder=self.encoder.detach())

    def reset(self, rows: Tensor) -> NextValueState:
        """Start the rows marked in ``rows`` (B,) bool afresh; allowed at the encoder's borders."""
        return replace(self, encoder=self.encoder.reset(rows))

    def tensors(self) -> dict[str, Tensor]:
        """Name every tensor; `NextValue.load_state` undoes it."""
        return {"position": torch.tensor(self.encoder.position), **self.encoder.tensors()}


class NextValue(nn.Module):
    """Predict the next patch of parallel series.

    Parameters
    ----------
    encoder
        Maps (B, T, d_model) to the same shape and carries a state.
    values
        Numbers in a patch: time steps times channels.
    """

    units: ClassVar[Units] = Units(targets="values", score="squared_error", scale=1.0, short="squared error")

    def __init__(self, *, encoder: Encoder, values: int) -> None:
        super().__init__()
        self.encoder, self.values = encoder, values
        self.embed = nn.Linear(2 * values, encoder.d_model)
        self.norm = nn.RMSNorm(encoder.d_model)
        self.head = nn.Linear(encoder.d_model, values)
        # Of unit variance for numbers of unit variance, whatever the patch is made of.
        nn.init.normal_(self.embed.weight, std=values**-0.5)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def read(
        self, values: Tensor, known: Tensor, *, state: NextValueState | None = None
    ) -> tuple[Tensor, NextValueState]:
        """Give the encoder's vectors.

        Parameters
        ----------
        values
            (B, T, V); what stands where ``known`` is False is not looked at.
        known
            (B, T, V) bool.
        state
            Where the series stand; None begins them.

        Returns
        -------
        tuple
            (B, T, d_model), and the state after the last token.
        """
        clean = torch.where(known, values, torch.zeros_like(values))
        x = self.embed(torch.cat([clean, known.to(clean.dtype)], dim=-1))
        before = None if state is None else state.encoder
        y, after = self.encoder(x, state=before, mask=known.any(-1))
        return y, NextValueState(after)

    def forward(
        self, values: Tensor, known: Tensor, *, state: NextValueState | None = None
    ) -> tuple[Tensor, NextValueState]:
        """Give the patch expected after each, (B, T, V), and the state; arguments as for `read`."""
        y, after = self.read(values, known, state=state)
        return torch.where(known, values, torch.zeros_like(values)) + self.head(self.norm(y)), after

    def cost(self, segment: Any, *, state: NextValueState | None, device: torch.device) -> Cost:
        """Give the squared error of a segment with ``values``, ``known``, ``targets`` and ``target_known``."""
        values, known, targets, wanted = (
            torch.as_tensor(array).to(device)
            for array in (segment.values, segment.known, segment.targets, segment.target_known)
        )
        expected, after = self(values, known, state=state)
        error = torch.where(wanted, expected - targets, torch.zeros_like(targets))
        return Cost(error.square().sum(), int(wanted.sum()), after)

    def load_state(self, tensors: Mapping[str, Tensor]) -> NextValueState:
        """Rebuild a state from its tensors; the weights must be those it was saved beside."""
        inner = {name: value for name, value in tensors.items() if name != "position"}
        state = self.encoder.state_type.from_tensors(
            inner,
            position=int(tensors["position"]),
            n_layers=len(self.encoder.blocks),
            fingerprint=self.encoder.fingerprint(),
        )
        return NextValueState(state.bind(self.encoder))
