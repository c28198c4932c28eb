"""Divide contigs among processes by length, the same way on every machine.

Each contig, the longest first, goes to the shard that has the fewest bases so far (Graham's rule: the fullest shard
holds at most 4/3 of what the best division would give it).
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from titans_seq.errors import ConfigError


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
        return out if self.whole else out.with_name(f"{out.stem}.{self.number}-of-{self.count}{out.suffix}")

    def contigs(self, lengths: Mapping[str, int]) -> tuple[str, ...]:
        """Choose the contigs of this shard, in the order of ``lengths``.

        Raises
        ------
        ConfigError
            For more shards than contigs.

        >>> [Shard(i, 2).contigs({"a": 5, "b": 4, "c": 3, "d": 1}) for i in (1, 2)]
        [('a', 'd'), ('b', 'c')]
        """
        if self.count > max(1, len(lengths)):
            raise ConfigError(f"{self.count} shards for {len(lengths)} contigs; expected no more shards than contigs")
        loads = [(0, number) for number in range(1, self.count + 1)]
        mine = set()
        for name in sorted(lengths, key=lambda name: (-lengths[name], name)):
            load, number = heapq.heappop(loads)
            heapq.heappush(loads, (load + lengths[name], number))
            if number == self.number:
                mine.add(name)
        return tuple(name for name in lengths if name in mine)
