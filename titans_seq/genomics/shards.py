"""Divide the pieces of a job among processes by length, the same way on every machine.

A piece is what one process reads together: a contig, a stretch of one, or a number of them. Which pieces there are
follows from the job alone, never from the number of shards, so each is read in one way whoever reads it.

Each piece, the longest first, goes to the shard that has the fewest bases so far (Graham's rule: the fullest shard
holds at most 4/3 of what the best division would give it). Where there are more shards than pieces, the longest pieces
are shared: each of its shards gives one part of what comes out of it.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from titans_seq.errors import ConfigError

Portion = tuple[int, int]
"""Part ``number`` of ``count`` of a piece, counted from 0; (0, 1) is all of it."""


@dataclass(frozen=True, slots=True)
class Shard:
    """Part ``number`` of ``count``, counted from 1.

    >>> Shard.parse("2/3").part_of(Path("windows.parquet")).name
    'windows.2-of-3.parquet'
    """

    number: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read ``i/n``. Raises ConfigError for anything else, or an ``i`` that is not 1 to ``n``."""
        left, slash, right = text.partition("/")
        if not (slash and left.isdecimal() and right.isdecimal() and 1 <= int(left) <= int(right)):
            raise ConfigError(f"expected a shard as i/n with i from 1 to n, such as 2/8; found {text!r}")
        return cls(int(left), int(right))

    @classmethod
    def of_process(cls) -> Shard:
        """The share of this process under ``torchrun``; everything without it."""
        if "TORCHELASTIC_RUN_ID" not in os.environ:
            return cls()
        return cls(int(os.environ["RANK"]) + 1, int(os.environ["WORLD_SIZE"]))

    @classmethod
    def choose(cls, text: str | None) -> Shard:
        """What ``--shard`` says, else the share of this process."""
        return cls.of_process() if text is None else cls.parse(text)

    @property
    def whole(self) -> bool:
        """Whether there is only one."""
        return self.count == 1

    def part_of(self, out: Path) -> Path:
        """The file of this shard; ``name.*-of-n.suffix`` finds all of them."""
        if self.whole:
            return out
        suffix = "".join(out.suffixes[-2:]) if out.suffix == ".gz" else out.suffix
        return out.with_name(f"{out.name.removesuffix(suffix)}.{self.number}-of-{self.count}{suffix}")

    def portions(self, sizes: Sequence[int]) -> dict[int, Portion]:
        """Choose the pieces of this shard, by number, and which part of each is its own.

        >>> [Shard(i, 2).portions([5, 4, 3, 1]) for i in (1, 2)]
        [{0: (0, 1), 3: (0, 1)}, {1: (0, 1), 2: (0, 1)}]
        >>> [Shard(i, 3).portions([5, 2]) for i in (1, 2, 3)]
        [{0: (0, 2)}, {0: (1, 2)}, {1: (0, 1)}]
        """
        if self.count > len(sizes):
            return self._part_of_a_piece(sizes)
        loads = [(0, number) for number in range(1, self.count + 1)]
        mine = set()
        for piece in sorted(range(len(sizes)), key=lambda piece: (-sizes[piece], piece)):
            load, number = heapq.heappop(loads)
            heapq.heappush(loads, (load + max(1, sizes[piece]), number))
            if number == self.number:
                mine.add(piece)
        return dict.fromkeys(sorted(mine), (0, 1))

    def _part_of_a_piece(self, sizes: Sequence[int]) -> dict[int, Portion]:
        """Give every piece a shard, and each further shard to the piece whose parts are the longest."""
        counts = [1] * len(sizes)
        parts = [(float(-size), piece) for piece, size in enumerate(sizes)]
        heapq.heapify(parts)
        for _ in range(self.count - len(sizes) if sizes else 0):
            _, piece = heapq.heappop(parts)
            counts[piece] += 1
            heapq.heappush(parts, (-sizes[piece] / counts[piece], piece))
        before = 0
        for piece, count in enumerate(counts):
            if self.number <= before + count:
                return {piece: (self.number - before - 1, count)}
            before += count
        return {}


def part_borders(length: int, portion: Portion) -> tuple[int, int]:
    """Start and end of a part of a piece of ``length`` bases: ``(0, 3), (3, 6), (6, 10)`` for thirds of 10."""
    number, count = portion
    return length * number // count, length * (number + 1) // count
