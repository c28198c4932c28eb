"""`EncoderState`: all that an encoder carries from one piece of a stream to the next, at a fixed size."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor

from titans_seq.errors import ShapeError, StateMismatchError

if TYPE_CHECKING:
    from titans_seq.models.encoder import Encoder


class StreamState:
    """Per layer a dict of tensors, batch first; the absolute position; and the model it belongs to.

    Attributes
    ----------
    layers : list of dict of str to Tensor
        Running weights, momentum, anchor, convolution tails and attention windows.
    position : int
        Tokens read since the stream began; chunk and segment borders are its multiples.
    fingerprint : str or None
        Hash of the model that a loaded state was made by; checked on first use.
    """

    def __init__(
        self,
        layers: list[dict[str, Tensor]],
        position: int,
        *,
        encoder: Encoder | None = None,
        fingerprint: str | None = None,
    ) -> None:
        self.layers, self.position, self.fingerprint = layers, position, fingerprint
        self._encoder = None if encoder is None else weakref.ref(encoder)

    @property
    def batch(self) -> int:
        """Rows read side by side."""
        return next((t.shape[0] for layer in self.layers for t in layer.values()), 0)

    @property
    def nbytes(self) -> int:
        """Size of all tensors; it does not grow with the stream."""
        return sum(t.numel() * t.element_size() for layer in self.layers for t in layer.values())

    def encoder(self) -> Encoder:
        """The encoder that made this state."""
        encoder = None if self._encoder is None else self._encoder()
        if encoder is None:
            raise StateMismatchError(
                "this state is not tied to a living encoder; pass it through the encoder, or load it with encoder=..."
            )
        return encoder

    def bind(self, encoder: Encoder) -> Self:
        """This state, tied to ``encoder``. Raises StateMismatchError naming both hashes if another model made it."""
        if self.fingerprint is not None:
            found = encoder.fingerprint()
            if found != self.fingerprint:
                raise StateMismatchError(
                    f"this state was made by model {self.fingerprint[:16]}, but is used with model {found[:16]}; "
                    "load the model it was saved beside"
                )
        return type(self)(self.layers, self.position, encoder=encoder)

    def map(self, fn: Callable[[Tensor], Tensor]) -> Self:
        """The state with ``fn`` applied to every tensor."""
        layers = [{name: fn(t) for name, t in layer.items()} for layer in self.layers]
        encoder = None if self._encoder is None else self._encoder()
        return type(self)(layers, self.position, encoder=encoder, fingerprint=self.fingerprint)

    def detach(self) -> Self:
        """The same numbers outside the graph: where truncated back-propagation stops."""
        return self.map(torch.Tensor.detach)

    def clone(self) -> Self:
        """A copy that later reads cannot reach (states are never changed in place)."""
        return self.map(torch.Tensor.clone)

    def to(self, device: torch.device | str) -> Self:
        """The state on another device. Dtypes stay: fast weights are float32 or float64 whatever the compute type."""
        return self.map(lambda t: t.to(device))

    def reset(self, rows: Tensor | list[int] | None = None) -> Self:
        """Start some rows anew: all of them, from position 0, or those of ``rows`` (bool of the batch, or indices).

        Raises
        ------
        ShapeError
            Where only some rows are reset off a chunk or segment border: they would then be out of step with the
            rest. Fill the tail with masked tokens up to the next multiple of ``encoder.border`` first.
        """
        encoder = self.encoder()
        batch = self.batch
        if rows is None:
            return type(self)(encoder.initial_state(batch).layers, 0, encoder=encoder)
        if batch == 0:  # memory "none" without attention carries nothing
            return self
        fresh = encoder.initial_state(batch)
        chosen = torch.as_tensor(rows)
        if chosen.dtype != torch.bool:
            index, chosen = chosen.long(), torch.zeros(batch, dtype=torch.bool)
            if bool(((index < 0) | (index >= batch)).any()):
                raise ShapeError(f"rows must be indices from 0 to {batch - 1}, found {index.tolist()}")
            chosen[index] = True
        if chosen.shape != (batch,):
            raise ShapeError(f"rows must be bool of shape ({batch},) or indices of rows, found {tuple(chosen.shape)}")
        if not bool(chosen.any()):
            return self
        if self.position % encoder.border:
            raise ShapeError(
                f"rows can be reset only at a multiple of {encoder.border} tokens (encoder.border), but the stream is "
                f"at {self.position}; fill up with masked tokens first, or reset all rows"
            )
        layers = []
        for old, new in zip(self.layers, fresh.layers, strict=True):
            layer = {}
            for name, t in old.items():
                where = chosen.to(t.device).view(-1, *[1] * (t.ndim - 1))
                layer[name] = torch.where(where, new[name].to(t.dtype), t)
            layers.append(layer)
        return type(self)(layers, self.position, encoder=encoder)

    def tensors(self) -> dict[str, Tensor]:
        """All tensors under flat names ``layer.part``, for a file."""
        return {f"{i}.{name}": t for i, layer in enumerate(self.layers) for name, t in layer.items()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], *, position: int, n_layers: int, fingerprint: str) -> Self:
        """The inverse of `tensors`."""
        layers: list[dict[str, Tensor]] = [{} for _ in range(n_layers)]
        for key, t in tensors.items():
            index, _, name = key.partition(".")
            layers[int(index)][name] = t
        return cls(layers, position, fingerprint=fingerprint)
