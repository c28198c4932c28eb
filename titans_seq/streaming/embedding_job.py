"""What an embedding is: model, genome, regions, and the share of them that one process computes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch

from titans_seq.errors import ConfigError
from titans_seq.genomics import Genome
from titans_seq.genomics.intervals import Intervals
from titans_seq.genomics.shards import Shard
from titans_seq.streaming.model import DnaModel
from titans_seq.streaming.relay import Handing
from titans_seq.streaming.units import Numbers, Pace, Reading, Unit, units


@dataclass(frozen=True)
class Embedding:
    """What is to be computed.

    Attributes
    ----------
    model, genome, regions
        What reads, what is read, and what gets a vector.
    reading
        Strand, context, gaps.
    rows
        Numbers of the regions that are computed here, ascending; by default all. What is read together follows from
        all of them, so a region has the same vector whoever computes it.
    pool
        One of `titans_seq.streaming.pool.POOLS`.
    layer
        As of `Session`.
    readers_on
        By strand, who goes on where this one's part of a unit ends: which shard from here, +1 or -1, and its regions.
    """

    model: DnaModel
    genome: Genome
    regions: Intervals
    reading: Reading
    pool: str = "mean"
    layer: int = -1
    rows: Numbers | None = None
    readers_on: Mapping[str, tuple[int, Numbers]] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.task.parameters()).device

    @property
    def width(self) -> int:
        """Numbers in a vector."""
        return self.model.task.encoder.d_model

    @property
    def slots(self) -> int:
        """Vectors kept for each region: one for each strand that reads it."""
        return 2 if self.reading.strand == "both" else 1

    @cached_property
    def mine(self) -> Numbers:
        """Numbers of the regions that are computed here."""
        return np.arange(len(self.regions)) if self.rows is None else self.rows

    @cached_property
    def place(self) -> Numbers:
        """Of each region, its place in the work folder; -1 where another process computes it."""
        found = np.full(len(self.regions), -1)
        found[self.mine] = np.arange(len(self.mine))
        return found

    def all_units(self) -> Iterator[Unit]:
        """The units of work of all regions, always the same."""
        return units(self.genome, self.regions, reading=self.reading, pace=Pace.of(self.device))

    def units(self) -> Iterator[Unit]:
        """Those that hold a region that is computed here."""
        return (unit for unit in self.all_units() if any((self.place[rows] >= 0).any() for rows in unit.regions))

    def share(self, shard: Shard) -> Embedding:
        """The same job for one of several processes.

        Each unit is one process's; where processes are more than units, its regions are cut into parts in the order of
        reading, and whoever has a later part reads what comes before it too, or goes on where another has left a
        snapshot (`Relay`). Of ``both`` strands, the units of the forward one decide.

        Raises
        ------
        ConfigError
            More shards than regions.
        """
        if shard.whole:
            return self
        found = list(self.all_units())
        if self.slots == 2:
            found = [unit for unit in found if unit.passages[0].strand == "+"]
        own: list[Numbers] = []
        readers_on: dict[str, tuple[int, Numbers]] = {}
        for number, (part, count) in shard.portions([len(unit) for unit in found]).items():
            parts = np.array_split(self._in_reading_order(found[number]), count)
            own.append(parts[part])
            if part + 1 < count:
                readers_on[found[number].passages[0].strand] = 1, parts[part + 1]
            if part and self.slots == 2:
                readers_on["-"] = -1, parts[part - 1]
        rows = np.sort(np.concatenate(own)) if own else np.empty(0, dtype=np.int64)
        if not len(rows):
            raise ConfigError(
                f"shard {shard.number} of {shard.count} has nothing to do: {len(self.regions)} regions in "
                f"{len(found)} pieces; expected fewer shards"
            )
        return replace(self, rows=rows, readers_on=readers_on)

    def handed_on(self, unit: Unit) -> Handing | None:
        """Where and to whom the reading of a unit of one passage is handed on, if to anybody."""
        one = unit.passages[0]
        if len(unit.passages) != 1 or one.strand not in self.readers_on:
            return None
        towards, rows = self.readers_on[one.strand]
        rows = np.intersect1d(rows, unit.regions[0])
        if not len(rows):
            return None
        if one.strand == "+":
            return Handing(int(self.regions.start[rows].min()), towards)
        return Handing(self.genome.contig(one.contig).length - int(self.regions.end[rows].max()), towards)

    def _in_reading_order(self, unit: Unit) -> Numbers:
        ordered = [
            rows[np.argsort(self.regions.start[rows] if one.strand == "+" else -self.regions.end[rows], kind="stable")]
            for one, rows in zip(unit.passages, unit.regions, strict=True)
        ]
        return np.concatenate(ordered)

    def apart(self, threads: int) -> bool:
        """Whether each thread reads units of its own: on a CPU, where there are enough of them."""
        enough = sum(1 for _ in itertools.islice(self.units(), threads)) == threads
        return threads > 1 and self.device.type == "cpu" and enough

    @cached_property
    def tokens(self) -> int:
        """Bases that are read in all, at most."""
        return sum(len(unit) for unit in self.units())
