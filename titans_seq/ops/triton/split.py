"""How many programs share one row in the passes that go in sequence. Imports no triton.

A row (one memory: a batch row and head) is walked through chunk by chunk. With one program per row a single stream of
two heads keeps two multiprocessors at work. A `Split` gives every program of a row a slice of the memory's hidden
columns (depth 1: key columns), with its rows of W_1, columns of W_2 and momenta, which stay in registers from chunk to
chunk. All that slices need of each other is, per chunk, the sum over slices of the last layer's output (backwards: of
the adjoint of its errors), C x V numbers, added up in the slices' order, so that results repeat to the bit.

=========  ===========================================================================================================
exchange   how
=========  ===========================================================================================================
steps      one launch per chunk; launches wait for each other, which CUDA graphs (`encoder.graphs`) make short
barrier    one launch; per chunk and row a counter in global memory that all programs of the row wait for. They must all
           be at work at the same time, so it is a cooperative launch, and never of more programs than multiprocessors
=========  ===========================================================================================================

Which one, and how many slices, takes a GPU to say, and none has run them yet. So `auto` and a call without a `Split` of
its own keep to one program per row. What is to be expected, per chunk of 64 tokens in a memory of 64 x 256 with
momentum: one program reads 384 KB of state and writes 256, which is 6 us at the 110 GB/s that a multiprocessor gets
from the second-level cache, in sixteen sweeps of two to six small products; each of eight slices writes 32 KB of state
and reads 128 KB of sums, 1.5 us, in one sweep of seven. So a split should pay where rows x slices stay below the number
of multiprocessors, and cost where rows alone fill them. `split` in the report of tests/benchmarks/gpu.py says.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from titans_seq.errors import ConfigError
from titans_seq.ops.rule import MemoryRule

EXCHANGES = ("steps", "barrier")
BLOCKS = (16, 32, 64)  # hidden columns of one program


@dataclass(frozen=True)
class Split:
    """``slices`` programs per row, and how they exchange their sums: a member of `EXCHANGES`."""

    slices: int
    exchange: str = "barrier"

    def __post_init__(self) -> None:
        if self.slices < 1:
            raise ConfigError(f"slices must be at least 1, found {self.slices}")
        if self.exchange not in EXCHANGES:
            raise ConfigError(f"exchange must be one of {', '.join(EXCHANGES)}, found {self.exchange!r}")

    @property
    def waits(self) -> bool:
        """Whether programs wait for each other inside one launch."""
        return self.exchange == "barrier"

    def spans(self, chunks: int) -> list[tuple[int, int]]:
        """The launches that write ``chunks``: (first chunk, chunk to stop before); without a barrier one opens."""
        return [(0, chunks)] if self.waits else [(0, 0), *((i, i + 1) for i in range(chunks))]

    def spans_back(self, chunks: int) -> list[tuple[int, int]]:
        """The launches of the backward pass: (first step, step to stop before) of ``chunks`` + 1."""
        return [(0, chunks + 1)] if self.waits else [(i, i + 1) for i in range(chunks + 1)]


def columns_of(rule: MemoryRule) -> int:
    """Columns that a row's programs share: hidden ones, or the key's where there is no hidden layer."""
    return rule.structure.hidden if len(rule.structure.shapes) == 2 else rule.structure.key_width


def processors_of(device: torch.device) -> int:
    """Multiprocessors, each of which holds at least one program; the interpreter runs one program at a time."""
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1


def split_refusal(rule: MemoryRule, split: Split, *, rows: int, processors: int) -> str | None:
    """Why a memory that the kernels take cannot be shared in this way, or None."""
    columns = columns_of(rule)
    if not rule.retention.linear:
        return (
            f"retention {type(rule.retention).__name__} is not split: its rows and norms run through all slices where "
            "a chunk closes"
        )
    if columns % split.slices or columns // split.slices not in BLOCKS:
        fits = [columns // block for block in reversed(BLOCKS) if columns % block == 0]
        return f"{columns} columns cannot be cut into {split.slices} slices ({', '.join(map(str, fits))} can)"
    if split.exchange == "barrier" and rows * split.slices > processors:
        return (
            f"{rows} rows of {split.slices} slices cannot all be at work at once on {processors} multiprocessors, as a "
            "barrier needs; exchange 'steps' has no such limit"
        )
    return None


def check_split(rule: MemoryRule, split: Split | None, *, rows: int, device: torch.device) -> None:
    """Raise ConfigError where a split was asked for that cannot be."""
    if split is not None:
        reason = split_refusal(rule, split, rows=rows, processors=processors_of(device))
        if reason is not None:
            raise ConfigError(f"split cannot be: {reason}")
