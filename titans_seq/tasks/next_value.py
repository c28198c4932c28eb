"""Next-value prediction: numbers in, an encoder that carries a memory, the next numbers out.

A token is a patch: the V numbers of one or several time steps, of all channels, laid side by side.

    x_t = P [v_t * known_t ; known_t]        y = encoder(x)        v_{t+1} ~ v_t + H norm(y_t)

``P`` (d, 2 V) maps a patch and which of it is known; ``H`` (V, d) starts at zero, so that training begins at "nothing
changes". The cost is the squared error of the known numbers of the next patch. A token of which nothing is known
writes nothing to the memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from titans_seq.models import Encoder
from titans_seq.tasks.encoder_state import EncoderOnly
from titans_seq.tasks.trainable import Cost, Units


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

    def read(self, values: Tensor, known: Tensor, *, state: EncoderOnly | None = None) -> tuple[Tensor, EncoderOnly]:
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
        return y, EncoderOnly(after)

    def forward(self, values: Tensor, known: Tensor, *, state: EncoderOnly | None = None) -> tuple[Tensor, EncoderOnly]:
        """Give the patch expected after each, (B, T, V), and the state; arguments as for `read`."""
        y, after = self.read(values, known, state=state)
        return torch.where(known, values, torch.zeros_like(values)) + self.head(self.norm(y)), after

    def cost(self, segment: Any, *, state: EncoderOnly | None, device: torch.device) -> Cost:
        """Give the squared error of a segment with ``values``, ``known``, ``targets`` and ``target_known``."""
        values, known, targets, wanted = (
            torch.as_tensor(array).to(device)
            for array in (segment.values, segment.known, segment.targets, segment.target_known)
        )
        expected, after = self(values, known, state=state)
        error = torch.where(wanted, expected - targets, torch.zeros_like(targets))
        return Cost(error.square().sum(), int(wanted.sum()), after)

    def load_state(self, tensors: Mapping[str, Tensor]) -> EncoderOnly:
        """Rebuild a state from its tensors; the weights must be those it was saved beside."""
        return EncoderOnly.load(tensors, encoder=self.encoder)
