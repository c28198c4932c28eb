"""What a forecaster leaves over, forecast again by an encoder with a memory carried over the whole history.

Token n of a stream stands at origin row o_n = o_0 + n P (patch P). It is made of what is known at o_n: the last patch,
the forecast beneath, and errors *already realised* (`series_tokens`). From it the encoder corrects the whole path at
once, in units of the carried scale s of realised errors::

    y, state = encoder(embed(f_n), state)
    corrected path(o_n) = path(o_n) + gate s(o_n) (W norm(y) + b)          W and b start at 0: no correction

The cost is the error of ``[v(o+1 .. o+H) - path(o)] / s(o)`` at every token (dense supervision), squared, or absolute
beyond one scale. Rows of the batch are tracks and offsets, so channels share the weights and know nothing of each
other. ``gate`` is fitted on rows or series held out and is 0 where the correction does not help there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import huber_loss

from titans_seq.models import Encoder
from titans_seq.tasks.encoder_state import EncoderOnly
from titans_seq.tasks.trainable import Cost, Units


@dataclass(frozen=True, slots=True)
class ResidualSegment:
    """A piece of parallel streams.

    Attributes
    ----------
    features
        (B, T, F) float32.
    targets
        Residual of every step of the path over the carried scale, (B, T, H) float32; NaN where unknown.
    mask
        True at tokens that are there, (B, T) bool.
    reset
        True where a row's stream begins, (B,) bool.
    """

    features: NDArray[np.float32]
    targets: NDArray[np.float32]
    mask: NDArray[np.bool_]
    reset: NDArray[np.bool_]


class SeriesResidual(nn.Module):
    """Correct a forecaster's paths.

    Parameters
    ----------
    encoder
        Maps (B, T, d_model) to the same shape and carries a state.
    features
        Numbers of a token, F.
    horizon
        Steps of a path, H.
    dropout
        Share of the encoder's output that training leaves out.
    huber
        Whether errors beyond one scale cost their size instead of their square, as MASE counts them.
    """

    units: ClassVar[Units] = Units(targets="steps", score="squared_error", scale=1.0, short="squared error / scale^2")

    def __init__(
        self, *, encoder: Encoder, features: int, horizon: int, dropout: float = 0.0, huber: bool = False
    ) -> None:
        super().__init__()
        self.huber = huber
        self.encoder = encoder
        self.embed = nn.Linear(features, encoder.d_model)
        self.norm = nn.RMSNorm(encoder.d_model)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(encoder.d_model, horizon)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(
        self, features: Tensor, mask: Tensor | None = None, state: EncoderOnly | None = None
    ) -> tuple[Tensor, EncoderOnly]:
        """Give corrections in units of the carried scale, (B, T, H), and the state after.

        Parameters
        ----------
        features
            (B, T, F).
        mask
            (B, T) bool, False at tokens that write nothing.
        state
            Where the streams stand; None begins them.
        """
        y, after = self.encoder(self.embed(features), state=None if state is None else state.encoder, mask=mask)
        return self.head(self.dropout(self.norm(y))), EncoderOnly(after)

    def cost(self, segment: Any, *, state: EncoderOnly | None, device: torch.device) -> Cost:
        """Give the error of a `ResidualSegment`."""
        features, targets, mask = (
            torch.as_tensor(array).to(device) for array in (segment.features, segment.targets, segment.mask)
        )
        correction, after = self(features, mask, state)
        known = torch.isfinite(targets) & mask[..., None]
        error = torch.where(known, correction - torch.nan_to_num(targets), torch.zeros_like(correction))
        total = huber_loss(error, torch.zeros_like(error), reduction="sum") if self.huber else error.square().sum()
        return Cost(total, int(known.sum()), after)

    def load_state(self, tensors: Mapping[str, Tensor]) -> EncoderOnly:
        """Rebuild a state from its tensors; the weights must be those it was saved beside."""
        return EncoderOnly.load(tensors, encoder=self.encoder)
