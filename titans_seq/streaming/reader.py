"""Reads passages of a genome side by side: many rows, one call of the model, nothing padded into a memory.

    for part in read_passages(model, genome, [whole_contig(genome, name) for name in genome.names], rows=8):
        part.contig, part.start, part.end, part.loss        # forward coordinates, whatever the strand

Rows take the next passage when theirs has ended. Every call ends where the first of the rows ends its stretch, filled
with masked tokens up to the next border of the encoder; there the row is reset. So thousands of short contigs share a
call, and each is read as if it were alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from titans_seq.genomics import N_TOKEN, Genome, reverse_complement
from titans_seq.streaming.model import DnaModel
from titans_seq.streaming.passages import Passage
from titans_seq.streaming.readings import Readings
from titans_seq.streaming.session import CALL, Session
from titans_seq.tasks import NextBase

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Part:
    """What the model made of bases ``start .. end`` of a contig, in the order of forward coordinates.

    Attributes
    ----------
    number
        Of the passage, in the list that was given.
    contig, start, end, strand
        Where it lies; ``strand`` is the one that was read.
    tokens
        uint8 [T], as they stand on the forward strand.
    vectors
        float32 [T, d_model] of the chosen layer, or None.
    logits
        float32 [T, 4] of the base that is read after each; letters are those of ``strand``.
    loss
        float32 [T] nats, NaN where there is no answer (N, and the first base that a memory reads).
    surprise, write, forget
        float32 [memories, T], or None where the memories were not recorded.
    ends
        Whether the passage ends with this part.
    """

    number: int
    contig: str
    start: int
    end: int
    strand: str
    tokens: npt.NDArray[np.uint8]
    vectors: Floats | None
    logits: Floats
    loss: Floats
    surprise: Floats | None
    write: Floats | None
    forget: Floats | None
    ends: bool


@dataclass(slots=True)
class _Row:
    """Which passage a row reads, and how far it is: tokens ``at`` of stretch number ``stretch``."""

    number: int
    stretch: int = 0
    at: int = 0


class PassageReader:
    """Iterates over the parts of passages; can stop between two steps and go on in another process.

    ``tokens_done`` counts the bases that were read.

    Parameters
    ----------
    model, genome
        What reads, and what is read.
    passages
        In the order in which rows take them.
    rows
        Passages read side by side, at most.
    layer, record, predict
        As of `Session`.
    device
        Where the model is.
    call
        Most row-tokens in one call of the model.
    """

    def __init__(
        self,
        model: DnaModel | NextBase,
        genome: Genome,
        passages: Sequence[Passage],
        *,
        rows: int = 1,
        layer: int | None = -1,
        record: bool = False,
        predict: bool = True,
        device: torch.device | str | None = None,
        call: int = CALL,
    ) -> None:
        self.genome, self.passages = genome, passages
        self._readable = [number for number, passage in enumerate(passages) if len(passage)]
        rows = max(1, min(rows, len(self._readable)))
        longest = max((len(passage) for passage in passages), default=1)
        self.session = Session(
            model, layer=layer, record=record, rows=rows, predict=predict, device=device, call=call, expect=longest
        )
        self._rows: list[_Row] = []
        self._next = 0
        self.tokens_done = 0

    def step(self) -> list[Part] | None:
        """One call of the model: a part for every row that read something wanted; None when all is read."""
        fresh = self._seat()
        if not self._rows:
            return None
        if any(fresh):
            self.session.reset(fresh)
        border, whole = self.session.border, self.most
        least = min(self._left(row) for row in self._rows)
        length = min(whole, -(-least // border) * border)
        block = np.full((len(self._rows), length), N_TOKEN, dtype=np.uint8)
        spans = [self._fetch(row, block[index]) for index, row in enumerate(self._rows)]
        readings = self.session.feed(block)
        parts = [self._part(readings, index, *span) for index, span in enumerate(spans)]
        return [part for part in parts if part is not None]

    @property
    def most(self) -> int:
        """Most bases of a row in one call of the model."""
        border = self.session.border
        return max(border, self.session.call // max(1, len(self._rows)) // border * border)

    @property
    def place(self) -> int:
        """Bases of the contig that lie before the next to be read, in the direction of reading; of a single passage."""
        (passage,), row = self.passages, self._rows[0] if self._rows else _Row(0)
        stretch, at = row.stretch, row.at
        if self._left(row) <= 0 and stretch + 1 < len(passage.stretches):
            stretch, at = stretch + 1, 0
        start, end = passage.stretches[stretch]
        return at + (start if passage.strand == "+" else self.genome.contig(passage.contig).length - end)

    def state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Where the reading stands: tensors, and what JSON can hold."""
        rows = [[row.number, row.stretch, row.at] for row in self._rows]
        cursor = {"rows": rows, "next": self._next, "tokens": self.session.tokens_read, "done": self.tokens_done}
        return self.session.tensors(), cursor

    def restore(self, tensors: dict[str, torch.Tensor], cursor: dict[str, Any]) -> None:
        """Go on where `state` was taken, with the same model, genome and passages."""
        self._rows = [_Row(*row) for row in cursor["rows"]]
        self._next, self.tokens_done = int(cursor["next"]), int(cursor["done"])
        self.session.rows = max(1, len(self._rows))
        self.session.take(tensors, tokens_read=int(cursor["tokens"]))

    def _seat(self) -> list[bool]:
        """Move rows to their next stretch or passage; True where a row begins one. Rows without any are given up."""
        if not self._rows and self._next == 0:
            self._next = min(self.session.rows, len(self._readable))
            self._rows = [_Row(number) for number in self._readable[: self._next]]
            return [False] * len(self._rows)
        fresh, stay = [False] * len(self._rows), []
        for index, row in enumerate(self._rows):
            if self._left(row) <= 0:
                if row.stretch + 1 < len(self.passages[row.number].stretches):
                    row.stretch, row.at, fresh[index] = row.stretch + 1, 0, True
                elif self._next < len(self._readable):
                    self._rows[index], fresh[index] = _Row(self._readable[self._next]), True
                    self._next += 1
                else:
                    continue
            stay.append(index)
        if len(stay) < len(self._rows):
            self._rows = [self._rows[index] for index in stay]
            fresh = [fresh[index] for index in stay]
            if stay:
                self.session.narrow(stay)
        return fresh

    def _left(self, row: _Row) -> int:
        start, end = self.passages[row.number].stretches[row.stretch]
        return end - start - row.at

    def _fetch(self, row: _Row, into: npt.NDArray[np.uint8]) -> tuple[int, int, int, bool]:
        """Put the row's next tokens into a line of the block; gives number, forward start and end, and whether last."""
        passage = self.passages[row.number]
        start, end = passage.stretches[row.stretch]
        size = min(len(into), end - start - row.at)
        if passage.strand == "+":
            first, last = start + row.at, start + row.at + size
            into[:size] = self.genome.tokens(passage.contig, first, last)
        else:
            first, last = end - row.at - size, end - row.at
            into[:size] = reverse_complement(self.genome.tokens(passage.contig, first, last))
        row.at += size
        self.tokens_done += size
        ends = row.stretch + 1 == len(passage.stretches) and self._left(row) == 0
        return row.number, first, last, ends

    def _part(self, readings: Readings, index: int, number: int, first: int, last: int, ends: bool) -> Part | None:
        """What a row read, cut to what is wanted and turned to forward order."""
        passage = self.passages[number]
        start = min(max(first, passage.keep[0]), last)
        end = max(start, min(last, passage.keep[1]))
        if start == end and not ends:
            return None
        forward = passage.strand == "+"
        cut = slice(start - first, end - first) if forward else slice(last - end, last - start)

        def turned(values: torch.Tensor) -> Floats:
            found: Floats = values.cpu().numpy()
            return found if forward else np.ascontiguousarray(found[::-1])

        memory = readings.memory
        surprise, write, forget = (
            None if memory is None else turned(getattr(memory, name)[:, index, cut].T).T
            for name in ("surprise", "write", "forget")
        )
        return Part(
            number, passage.contig, start, end, passage.strand,
            tokens=self.genome.tokens(passage.contig, start, end),
            vectors=None if readings.vectors is None else turned(readings.vectors[index, cut]),
            logits=turned(readings.logits[index, cut]), loss=turned(readings.loss[index, cut]),
            surprise=surprise, write=write, forget=forget, ends=ends,
        )  # fmt: skip


def read_passages(
    model: DnaModel | NextBase,
    genome: Genome,
    passages: Sequence[Passage],
    *,
    rows: int = 1,
    layer: int | None = -1,
    record: bool = False,
    device: torch.device | str | None = None,
    call: int = CALL,
) -> Iterator[Part]:
    """Every part of every passage, each passage's in reading order; see `PassageReader`."""
    reader = PassageReader(model, genome, passages, rows=rows, layer=layer, record=record, device=device, call=call)
    while (parts := reader.step()) is not None:
        yield from parts
