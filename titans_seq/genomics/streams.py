"""A genome as parallel streams of segments, for training with a memory that is carried from segment to segment.

Each row of a batch walks along one piece of the genome, `segment` bases at a time. At the end of its piece it is filled
with masked tokens up to the end of the segment, so that all rows stay on the same borders; its next segment begins
another piece with ``reset`` set. Order and cuts follow from the seed, and a small cursor resumes a run exactly.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from titans_seq.errors import RangeError, StateMismatchError
from titans_seq.genomics.alphabet import N_TOKEN, Tokens, reverse_complement
from titans_seq.genomics.genome import Genome
from titans_seq.genomics.pieces import Piece, plan_epoch, without_gaps
from titans_seq.genomics.splits import Stretch

CURSOR_VERSION: Final = 1
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Segment:
    """One step of all rows.

    Attributes
    ----------
    tokens, mask : uint8 and bool [B, L]
        Bases, and True where they are real (not N, not padding).
    targets, target_mask : uint8 and bool [B, L]
        The base after each token on the same piece, also across the end of the segment; N where there is none.
    reset : bool [B]
        The row begins a new piece: its memory must be reset before this segment.
    contig : int32 [B]
        Number of the contig in ``genome.contigs``.
    start : int64 [B]
        Forward coordinate of the row's first token; token t stands at ``start + strand * t``.
    strand : int8 [B]
        +1, or -1 where the row reads the reverse complement.
    """

    tokens: Tokens
    mask: Flags
    targets: Tokens
    target_mask: Flags
    reset: Flags
    contig: npt.NDArray[np.int32]
    start: npt.NDArray[np.int64]
    strand: npt.NDArray[np.int8]


class BaseStreams:
    """Endless segments of a training part; an epoch passes every base once per strand.

    Parameters
    ----------
    genome : Genome
        Where the bases come from.
    stretches : sequence of Stretch
        The training part, without overlaps.
    batch, segment : int
        Rows B and bases per row and step L.
    border : int
        Chunk and segment borders of the model; `segment` must be a multiple of it.
    gap_reset : int
        A run of more N than this ends a piece; shorter runs are streamed as masked tokens.
    both_strands : bool
        Also stream the reverse complement of every piece.
    seed : int
        Same seed, same segments.

    Raises
    ------
    RangeError
        A size below 1, a segment off the border, or stretches that overlap, leave their contig or hold no base.
    """

    def __init__(
        self,
        genome: Genome,
        stretches: Sequence[Stretch],
        *,
        batch: int,
        segment: int,
        border: int = 1,
        gap_reset: int = 10_000,
        both_strands: bool = True,
        seed: int = 0,
    ) -> None:
        for what, value, least in (("batch", batch, 1), ("segment", segment, 1), ("border", border, 1)):
            if value < least:
                raise RangeError(f"expected {what} of at least {least}, found {value}")
        if segment % border:
            raise RangeError(f"expected a segment that is a multiple of the border {border}, found {segment}")
        self._genome = genome
        self._names = genome.names
        self._parts = without_gaps(genome, stretches, gap_reset=gap_reset)
        self._batch, self._length = batch, segment
        self._both, self._seed = both_strands, seed
        layout = [genome.checksum, batch, segment, both_strands, seed, self._parts]
        self._fingerprint = hashlib.sha256(json.dumps(layout).encode()).hexdigest()[:16]
        self.epoch = 0
        self._plan = self._planned(0)
        self._next_piece = 0
        self._rows: list[tuple[Piece, int]] = []

    @property
    def bases_per_epoch(self) -> int:
        """Bases of the training part, counted once per strand."""
        return sum(part.end - part.start for part in self._parts) * (2 if self._both else 1)

    @property
    def longest(self) -> int:
        """Bases of the longest piece of this epoch's plan: the most that a row reads between two resets."""
        return max(piece.end - piece.start for piece in self._plan)

    @property
    def segments_per_epoch(self) -> int:
        """About how many segments one epoch takes."""
        return max(1, round(self._row_segments() / self._batch))

    @property
    def fill(self) -> float:
        """Share of tokens that are not padding, in this epoch's plan."""
        return self.bases_per_epoch / (self._row_segments() * self._length)

    def __iter__(self) -> Iterator[Segment]:
        return self

    def __next__(self) -> Segment:
        read = np.full((self._batch, self._length + 1), N_TOKEN, dtype=np.uint8)
        reset = np.zeros(self._batch, dtype=np.bool_)
        contig = np.empty(self._batch, dtype=np.int32)
        start = np.empty(self._batch, dtype=np.int64)
        strand = np.empty(self._batch, dtype=np.int8)
        rows = self._rows or [(Piece(0, 0, 0, 1), 0)] * self._batch
        for row, (piece, at) in enumerate(rows):
            if at >= piece.end - piece.start:
                piece, at = self._take(), 0
                reset[row] = True
            found = _read(self._genome, self._names[piece.contig], piece, at, self._length + 1)
            read[row, : found.size] = found
            contig[row], strand[row] = piece.contig, piece.strand
            start[row] = piece.start + at if piece.strand > 0 else piece.end - 1 - at
            rows[row] = (piece, at + self._length)
        self._rows = rows
        real = read != N_TOKEN
        tokens, targets = read[:, :-1], read[:, 1:]
        return Segment(tokens, real[:, :-1], targets, real[:, 1:], reset, contig, start, strand)

    def state_dict(self) -> dict[str, Any]:
        """Where the streams stand, a few hundred bytes of JSON."""
        return {
            "version": CURSOR_VERSION,
            "fingerprint": self._fingerprint,
            "epoch": self.epoch,
            "next_piece": self._next_piece,
            "rows": [[*piece, at] for piece, at in self._rows],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state` was taken.

        Raises
        ------
        StateMismatchError
            The cursor belongs to another genome, split, batch, segment or seed.
        """
        if state.get("version") != CURSOR_VERSION or state.get("fingerprint") != self._fingerprint:
            raise StateMismatchError(
                f"the stream cursor is of {state.get('fingerprint')} (version {state.get('version')}), these streams "
                f"are {self._fingerprint} (version {CURSOR_VERSION}): genome, split, batch, segment and seed must agree"
            )
        self.epoch = int(state["epoch"])
        self._plan = self._planned(self.epoch)
        self._next_piece = int(state["next_piece"])
        self._rows = [(Piece(*row[:4]), int(row[4])) for row in state["rows"]]

    def _planned(self, epoch: int) -> list[Piece]:
        rng = np.random.default_rng([self._seed, epoch])
        return plan_epoch(self._parts, rows=self._batch, segment=self._length, both_strands=self._both, rng=rng)

    def _take(self) -> Piece:
        if self._next_piece >= len(self._plan):
            self.epoch += 1
            self._plan = self._planned(self.epoch)
            self._next_piece = 0
        self._next_piece += 1
        return self._plan[self._next_piece - 1]

    def _row_segments(self) -> int:
        return sum(-(-(piece.end - piece.start) // self._length) for piece in self._plan)


def stream_segments(genome: Genome, stretch: Stretch, *, segment: int, strand: int = 1) -> Iterator[Segment]:
    """One stretch from its first base to its last (strand -1: from its last to its first), as one row.

    N is kept and masked, whatever its length. The tail is filled with masked tokens.

    Raises
    ------
    RangeError, UnknownNameError
        A segment below 1; coordinates outside the contig; no such contig.
    """
    if segment < 1 or strand not in (1, -1):
        raise RangeError(f"expected a segment of at least 1 and strand 1 or -1, found {segment} and {strand}")
    genome.tokens(stretch.contig, stretch.start, stretch.end)
    piece = Piece(genome.number(stretch.contig), stretch.start, stretch.end, strand)
    for at in range(0, len(stretch), segment):
        read = np.full((1, segment + 1), N_TOKEN, dtype=np.uint8)
        found = _read(genome, stretch.contig, piece, at, segment + 1)
        read[0, : found.size] = found
        real = read != N_TOKEN
        yield Segment(
            read[:, :-1],
            real[:, :-1],
            read[:, 1:],
            real[:, 1:],
            np.array([at == 0]),
            np.array([piece.contig], dtype=np.int32),
            np.array([piece.start + at if strand > 0 else piece.end - 1 - at], dtype=np.int64),
            np.array([strand], dtype=np.int8),
        )


def _read(genome: Genome, name: str, piece: Piece, at: int, size: int) -> Tokens:
    """Up to `size` tokens of a piece from its position `at` on, in reading direction."""
    if piece.strand > 0:
        return genome.tokens(name, piece.start + at, min(piece.start + at + size, piece.end))
    return reverse_complement(genome.tokens(name, max(piece.end - at - size, piece.start), piece.end - at))
