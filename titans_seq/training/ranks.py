"""The processes of one training job: what each reads, what they agree on, who writes.

``torchrun --nproc-per-node N`` starts N processes (ranks). Each reads its own rows of the same global batch with its
own carried memory. Gradients are summed over ranks and divided by the global number of targets, so the step is that
of one process with all the rows, also where ranks have unequal numbers of targets (plain averaging of means would
weigh them wrongly). Rank 0 alone writes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from titans_seq.errors import ConfigError, TitansError


class LostRankError(TitansError, RuntimeError):
    """Another process of the job has ended, so this one cannot go on."""


_SENT_AS = {torch.bool: torch.uint8, torch.int16: torch.int32, torch.uint16: torch.int32}
"""gloo knows neither bool nor 16-bit integers."""


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among those of its job; one process alone is rank 0 of 1."""

    fabric: Fabric

    @property
    def rank(self) -> int:
        """Number of this process, from 0."""
        return self.fabric.global_rank

    @property
    def world(self) -> int:
        """How many there are."""
        return self.fabric.world_size

    @property
    def writes(self) -> bool:
        """Whether files are this process's to write."""
        return self.rank == 0

    def total(self, *numbers: float) -> list[float]:
        """Sum each number over the ranks, in float64."""
        if self.world == 1:
            return list(numbers)
        return self._summed(torch.tensor(numbers, dtype=torch.float64)).tolist()

    def meet(self) -> None:
        """Wait until every rank is here: what the first wrote before, the others find from now on."""
        self.total(0.0)

    def sum_gradients(self, module: nn.Module) -> None:
        """Replace each gradient by its sum over the ranks, all in one message.

        A parameter without a gradient here may have one elsewhere (a row that holds no target, or none that begins
        anew), so it counts as 0; without one anywhere it stays without, and AdamW leaves it alone as in one process.
        """
        if self.world == 1:
            return
        trained = [p for p in module.parameters() if p.requires_grad]
        flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in trained])
        known = flat.new_tensor([p.grad is not None for p in trained])
        *parts, counts = self._summed(torch.cat([flat, known])).split([*(p.numel() for p in trained), len(trained)])
        for parameter, part, count in zip(trained, parts, counts.tolist(), strict=True):
            parameter.grad = part.view_as(parameter) if count else None

    def gather_rows(self, state: Mapping[str, Tensor], *, rows: int) -> dict[str, Tensor]:
        """Put the rows of a carried state of ``rows`` rows side by side, those of rank 0 first.

        A tensor may hold several groups of rows one behind the other (both strands of each): groups stay apart.
        """
        if self.world == 1:
            return dict(state)
        return {name: self._gathered(value, rows) if _by_row(value, rows) else value for name, value in state.items()}

    def own_rows(self, state: Mapping[str, Tensor], *, rows: int) -> dict[str, Tensor]:
        """Undo `gather_rows`: cut this rank's ``rows`` rows out of everybody's."""
        every = rows * self.world
        mine = slice(self.rank * rows, (self.rank + 1) * rows)
        return {
            name: value.unflatten(0, (-1, every))[:, mine].flatten(0, 1).clone() if _by_row(value, every) else value
            for name, value in state.items()
        }

    def _summed(self, tensor: Tensor) -> Tensor:
        with losing_ranks():
            summed = self.fabric.all_reduce(tensor.to(self._wire(tensor)), reduce_op="sum")
        assert isinstance(summed, Tensor)
        return summed.to(tensor.device)

    def _gathered(self, value: Tensor, rows: int) -> Tensor:
        sent = _SENT_AS.get(value.dtype, value.dtype)
        with losing_ranks():
            found = self.fabric.all_gather(value.to(sent).contiguous().to(self._wire(value)))
        assert isinstance(found, Tensor)
        # (world, groups x rows, ...) -> (groups x world x rows, ...)
        return found.unflatten(1, (-1, rows)).movedim(1, 0).flatten(0, 2).to(value.device, value.dtype)

    def _wire(self, tensor: Tensor) -> torch.device:
        """Where tensors must lie to be sent: nccl knows no CPU tensors."""
        return self.fabric.device if self.fabric.device.type == "cuda" else tensor.device


class OwnRows:
    """The rows of one rank, out of streams that lay out the global batch.

    Every rank keeps the cursor of all rows (it follows from the plan, not from what was read), so a run resumes on
    another number of ranks.

    Parameters
    ----------
    streams
        Endless segments: dataclasses of numpy arrays with the batch first, ``reset`` (B,) among them.
    rank, world
        Which share is read here; ``world`` must divide the rows of the global batch.
    """

    def __init__(self, streams: Any, *, rank: int, world: int) -> None:
        self._streams, self._rank, self._world = streams, rank, world

    @property
    def epoch(self) -> int:
        """Passes over the data that are done."""
        return int(self._streams.epoch)

    def __next__(self) -> Any:
        segment = next(self._streams)
        rows = segment.reset.shape[0]
        if rows % self._world:
            raise ConfigError(
                f"expected the rows of a batch (streams.rows, blocks.rows, batches.size) to be a multiple of the "
                f"{self._world} processes, found {rows}"
            )
        share = rows // self._world
        mine = slice(self._rank * share, (self._rank + 1) * share)
        arrays = {field.name: getattr(segment, field.name) for field in fields(segment)}
        own = {
            name: value[mine]
            for name, value in arrays.items()
            if isinstance(value, np.ndarray) and value.ndim and value.shape[0] == rows
        }
        return replace(segment, **own)

    def state_dict(self) -> dict[str, Any]:
        """Give the cursor of all rows."""
        cursor: dict[str, Any] = self._streams.state_dict()
        return cursor

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a cursor."""
        self._streams.load_state_dict(state)


def first_process() -> bool:
    """Whether this is the process that writes, before the processes have met."""
    return launched_ranks()[0] == 1 or os.environ.get("RANK", "0") == "0"


def launched_ranks() -> tuple[int, int]:
    """Give processes in all and on this machine, as torchrun tells them; 1 and 1 without it."""
    world = int(os.environ.get("WORLD_SIZE", "1")) if "TORCHELASTIC_RUN_ID" in os.environ else 1
    return world, int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if world > 1 else 1


def same_start(module: nn.Module, ranks: Ranks) -> None:
    """Give every rank the weights of rank 0 (equal seeds give them already, on equal machines)."""
    if ranks.world > 1:
        for tensor in _tensors(module):
            tensor.data.copy_(ranks.fabric.broadcast(tensor.data.contiguous()))


def _tensors(module: nn.Module) -> Iterable[Tensor]:
    yield from module.parameters()
    yield from module.buffers()


def _by_row(value: Tensor, rows: int) -> bool:
    return value.ndim > 0 and value.shape[0] > 0 and value.shape[0] % rows == 0


@contextmanager
def losing_ranks() -> Iterator[None]:
    """Within this context, an error that means that another process has ended says so, and how to go on."""
    try:
        yield
    except RuntimeError as error:
        lost = "onnection" in str(error) or "timed out" in str(error).lower()
        if isinstance(error, TitansError) or not lost:
            raise
        raise LostRankError(
            "another process of this job has ended; the run can go on from its last checkpoint with --resume, on any "
            f"number of processes that divides its rows ({str(error).splitlines()[0][:120]})"
        ) from None
