"""What a session says of a piece, and the taps on a model that collect it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from titans_seq.errors import RangeError
from titans_seq.memory import Reading
from titans_seq.tasks import NextBase


@dataclass(frozen=True, slots=True)
class MemoryRecord:
    """What the memories did at each token, each (memories, B, T), mean over heads, 0 at masked tokens.

    Attributes
    ----------
    surprise
        Length of the gradient of the inner loss, ||u_t||.
    write
        Length of what the token wrote, theta_t ||u_t||.
    forget
        Share of the memory forgotten, alpha_t; 0 for memories that do not forget.
    """

    surprise: Tensor
    write: Tensor
    forget: Tensor


@dataclass(frozen=True, slots=True)
class Readings:
    """What the model made of a piece; tensors on its device, outside any graph. See `titans_seq.streaming.session`.

    Attributes
    ----------
    vectors
        (B, T, d_model) of the chosen layer, or None.
    logits
        (B, T, 4) of the base after each token.
    loss
        (B, T) nats: what each base cost, NaN where there is no answer.
    memory
        What the memories did, where it was asked for and the model has any.
    """

    vectors: Tensor | None
    logits: Tensor
    loss: Tensor
    memory: MemoryRecord | None = None

    @staticmethod
    def join(parts: Sequence[Readings]) -> Readings:
        """Readings of pieces that follow each other, as one: copies, which may be changed in place."""
        vectors = [part.vectors for part in parts if part.vectors is not None]
        records = [part.memory for part in parts if part.memory is not None]
        memory = None
        if records:
            names = ("surprise", "write", "forget")
            memory = MemoryRecord(*(torch.cat([getattr(r, name) for r in records], 2) for name in names))
        return Readings(
            torch.cat(vectors, 1) if vectors else None,
            torch.cat([part.logits for part in parts], 1),
            torch.cat([part.loss for part in parts], 1),
            memory,
        )


@dataclass
class Tap:
    """What was collected during one call of the model, which may read in pieces."""

    seen: list[Tensor] = field(default_factory=list)
    readings: list[list[Reading]] | None = None

    def vectors(self, given: slice) -> Tensor | None:
        """The chosen layer's vectors, in float32, of those tokens of the call."""
        return torch.cat(self.seen, 1)[:, given].float() if self.seen else None

    def memory(self, real: Tensor, given: slice) -> MemoryRecord | None:
        """What the memories did at those tokens of the call, with 0 where ``real`` (B, T) is False."""
        memories = [seen for seen in self.readings or [] if seen]
        if not memories:
            return None

        def stacked(quantity: Callable[[Reading], Tensor | None]) -> Tensor:
            return torch.where(real, torch.stack([_joined(calls, quantity)[:, given] for calls in memories]), 0.0)

        return MemoryRecord(
            surprise=stacked(lambda call: call.surprise),
            write=stacked(lambda call: None if call.surprise is None else call.learning_rate * call.surprise),
            forget=stacked(lambda call: call.forget),
        )


def _joined(calls: Sequence[Reading], quantity: Callable[[Reading], Tensor | None]) -> Tensor:
    """A quantity of one memory over the calls of a piece, (B, T), mean over heads; 0 where it has none."""
    values = [quantity(call) for call in calls]
    means = [
        call.learning_rate.new_zeros(call.learning_rate[:, 0].shape) if value is None else value.mean(1)
        for call, value in zip(calls, values, strict=True)
    ]
    return torch.cat(means, 1).float()


@contextmanager
def tapped(task: NextBase, *, layer: int | None, record: bool) -> Iterator[Tap]:
    """Within this context a call of ``task`` leaves its vectors and, if asked for, its memories' doings in the tap.

    ``layer`` is a number from `layer_number`, or None.
    """
    encoder, tap = task.encoder, Tap()

    def keep_output(module: nn.Module, inputs: Any, output: Any) -> None:
        tap.seen.append(output if isinstance(output, Tensor) else output[0])

    def keep_input(module: nn.Module, inputs: Any) -> None:
        tap.seen.append(inputs[0])

    with ExitStack() as stack:
        if layer is not None:
            if layer == 0:
                stack.callback(encoder.blocks[0].register_forward_pre_hook(keep_input).remove)
            else:
                last = layer == len(encoder.blocks)
                module = encoder.norm if last else encoder.blocks[layer - 1]
                stack.callback(module.register_forward_hook(keep_output).remove)
        if record:
            tap.readings = stack.enter_context(encoder.record())
        yield tap


def layer_number(layer: int, *, blocks: int) -> int:
    """Number of a layer from 0 (before the first block) to ``blocks`` (the output); negative ones count from it.

    >>> layer_number(-1, blocks=4), layer_number(0, blocks=4)
    (4, 0)
    """
    number = layer + blocks + 1 if layer < 0 else layer
    if not 0 <= number <= blocks:
        raise RangeError(
            f"expected a layer from 0 to {blocks} (or -{blocks + 1} to -1) for {blocks} blocks, found {layer}"
        )
    return number
