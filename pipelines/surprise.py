"""Write along a genome how surprised a model was: one number per base, in bins, as bigWig or bedGraph.

Question: where does this genome differ from what the model knew, and what did reading this chromosome teach it?

What each name stands for is written down in `titans_seq.streaming.base_numbers`; ``gain`` uses the windows of the
model's own report.

Inputs: FASTA or GenBank; a run of ``titans-seq train-dna``. Output: one track. Unknown bases have no number, nor has
the first base that a memory reads. On ``--strand both`` a base has the mean of the two readings.
Launch: ``titans-seq surprise genome.fa.gz --model runs/genome-dna-small -o loss.bw``
Cost: one pass of the model per strand, two for ``gain``; figures by machine are in LOG.md.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from titans_seq.config.sections import RunSection
from titans_seq.errors import ConfigError, unknown_name
from titans_seq.genomics import Stretch, open_genome
from titans_seq.genomics.shards import Shard
from titans_seq.genomics.track_parts import TrackParts, part_of
from titans_seq.genomics.tracks import check_track, write_track
from titans_seq.ops.native.room import keep_freed_memory
from titans_seq.streaming import open_dna_model, parse_context
from titans_seq.streaming.base_numbers import WHAT
from titans_seq.streaming.relay import Leg, Relay
from titans_seq.streaming.track_reading import Count, TrackReading
from titans_seq.training.runtime import choose_runtime

_log = logging.getLogger(__name__)

Watch = Callable[[str, float, float, str], None]

STRANDS = ("+", "-", "both")
LONG = 180.0
"""Seconds from which a run says beforehand how long it will take."""


@dataclass(frozen=True)
class SurpriseJob:
    """What is read, with what, and where to; made by `prepare`."""

    reading: TrackReading
    contigs: tuple[str, ...]
    out: Path
    shard: Shard
    asked: Path

    @property
    def leg(self) -> Leg | None:
        """Its place among shards that read one contig in turn."""
        sizes = [sum(map(len, group)) for group in self.reading.groups(self.contigs)]
        cut = [number for number, (_, count) in self.shard.portions(sizes).items() if count > 1]
        if not cut:
            return None
        return Leg(Relay(self.asked, self.shard, {**self.reading.key(), "contigs": self.contigs}), cut[0])

    @property
    def groups(self) -> list[tuple[list[Stretch], list[Stretch]]]:
        """What is read together, and of each stretch the part that this shard writes."""
        groups = self.reading.groups(self.contigs)
        portions = self.shard.portions([sum(map(len, group)) for group in groups])
        shares = [(groups[number], part_of(groups[number], portion, size=self.reading.size))
                  for number, portion in portions.items()]  # fmt: skip
        return [share for share in shares if any(map(len, share[1]))]

    def key(self) -> dict[str, Any]:
        """All that the numbers follow from."""
        return {**self.reading.key(), "contigs": self.contigs, "shard": [self.shard.number, self.shard.count]}


def prepare(
    *,
    genome: str,
    model: Path,
    out: Path,
    what: str = "loss",
    size: int = 32,
    strand: str = "+",
    context: str = "contig",
    chroms: Sequence[str] = (),
    gap_reset: int = 10_000,
    device: str = "auto",
    threads: int | None = None,
    shard: str | None = None,
    watch: Watch = lambda stage, done, total, note: None,
) -> SurpriseJob:
    """Read and check everything; nothing is written but the token store's cache."""
    for kind, name, known in (("track", what, WHAT), ("strand", strand, STRANDS)):
        if name not in known:
            raise unknown_name(kind, name, known)
    bases = parse_context(context)
    if bases == 0:
        raise ConfigError("a track needs a context above 0; expected 'contig' or a number such as 10k")
    part = Shard.choose(shard)
    asked, out = out, part.part_of(out)
    check_track(out)
    runtime = choose_runtime(RunSection(device=device, threads=threads, precision="float32"))
    opened = open_dna_model(model, device=runtime.device)
    if what != "loss" and opened.config.model.memory == "none":
        raise ConfigError(f"{model}: this model has no memory, so there is no {what}; --what loss needs none")
    found = open_genome(genome, progress=lambda done, total: watch("reading", done, total or max(done, 1), ""))
    contigs = tuple(found.contig(name).name for name in dict.fromkeys(chroms)) or found.names
    strands = ("+", "-") if strand == "both" else (strand,)
    reading = TrackReading(found, opened, what, size, strands, bases, gap_reset)
    job = SurpriseJob(reading, contigs, out, part, asked)
    if not job.groups:
        raise ConfigError(f"shard {part.number} of {part.count} has no bin of {size} bases to write; take fewer shards")
    return job


def run(job: SurpriseJob, *, watch: Watch = lambda stage, done, total, note: None) -> int:
    """Read the genome and write the track; gives the number of bins written."""
    keep_freed_memory()
    reading, groups = job.reading, job.groups
    own = [[one for one in part if len(one)] for _, part in groups]
    sizes = {one.contig: reading.genome.contig(one.contig).length for part in own for one in part}
    parts = TrackParts(job.out, sizes, own, size=reading.size, key=job.key())
    leg = job.leg
    todo = [number for number in range(len(groups)) if not parts.done(number)]
    if len(todo) < len(groups):
        _log.info("going on: %d of %d parts were finished before", len(groups) - len(todo), len(groups))
    count = _counter(reading.passes * sum(len(one) for number in todo for one in own[number]), watch)
    for number in todo:
        parts.save(number, reading.means(*groups[number], count, note=partial(parts.note, number), leg=leg))
    watch("writing", 0, 1, job.out.name)
    bins = write_track(job.out, sizes, parts.means(), size=reading.size)
    parts.remove()
    if leg is not None:
        leg.relay.drop(leg.unit)
    _log.info("%s: %s bins of %d bases", job.out, f"{bins:,}", reading.size)
    return bins


def _counter(total: int, watch: Watch) -> Count:
    """Count bases for a progress line, and say once how long it will take if that is long."""
    began, done, read, said = time.monotonic(), 0, 0, False

    def count(bases: int, now: bool) -> None:
        nonlocal done, read, said
        done += bases
        if not now:
            return
        read += bases
        seconds = time.monotonic() - began
        speed = read / max(seconds, 1e-9)
        if not said and seconds > 3:
            said = True
            if (total - done) / speed > LONG:
                _log.info("about %.0f min for %s bases", (total - done) / speed / 60, f"{total - done:,}")
        watch("surprise", done, max(total, 1), f"{done:,} of {total:,} bases, {speed:,.0f} bases/s")

    return count
