"""What a task carries whose only memory is its encoder's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from titans_seq.models import Encoder, StreamState


@dataclass(frozen=True, slots=True)
class EncoderOnly:
    """The encoder's state and nothing else."""

    encoder: StreamState

    def detach(self) -> EncoderOnly:
        """Cut the state from the graph."""
        return EncoderOnly(self.encoder.detach())

    def reset(self, rows: Tensor) -> EncoderOnly:
        """Start the rows marked in ``rows`` (B,) bool afresh; allowed at the encoder's borders."""
        return EncoderOnly(self.encoder.reset(rows)) if self.encoder.tensors() else self

    def tensors(self) -> dict[str, Tensor]:
        """Name every tensor; `load` undoes it."""
        return {"position": torch.tensor(self.encoder.position), **self.encoder.tensors()}

    @classmethod
    def load(cls, tensors: Mapping[str, Tensor], *, encoder: Encoder) -> EncoderOnly:
        """Rebuild a state from its tensors; the encoder's weights must be those it was saved beside."""
        inner = {name: value for name, value in tensors.items() if name != "position"}
        state = encoder.state_type.from_tensors(
            inner,
            position=int(tensors["position"]),
            n_layers=len(encoder.blocks),
            fingerprint=encoder.fingerprint(),
        )
        return cls(state.bind(encoder))
