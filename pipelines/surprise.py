"""Write along a genome how surprised a model was: one number per base, in bins, as bigWig or bedGraph.

Question: where does this genome differ from what the model knew, and what did reading this chromosome teach it?

    loss        bits that each base cost, given all before it within the context
    gradient    length of the memory's surprise ||u_t||, mean over heads and memories
    write       length of what each base wrote, theta_t ||u_t||, mean likewise
    forget      share of the memory that each base made it forget, alpha_t, mean likewise
    gain        bits saved by the memory that was carried: loss with the memory begun afresh in every window, minus
                loss with it carried; windows and the bases read before each are those of the model's own report

Inputs: FASTA or GenBank; a run of ``titans-seq train-dna``. Output: one track. Unknown bases have no number, nor has
the first base that a memory reads. On ``--strand both`` a base has the mean of the two readings.
Launch: ``titans-seq surprise genome.fa.gz --model runs/genome-dna-small -o loss.bw``
Cost: one pass of the model per strand, two for ``gain``; figures by machine are in LOG.md.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from titans_seq.config.sections import RunSection
from titans_seq.errors import ConfigError, unknown_name
from titans_seq.genomics import N_TOKEN, Genome, open_genome
from titans_seq.genomics.track_parts import TrackParts, group_contigs
from titans_seq.genomics.tracks import BinMeans, Values, check_track, write_track
from titans_seq.streaming import (
    DnaModel,
    Part,
    Passage,
    in_blocks,
    open_dna_model,
    parse_context,
    read_passages,
    whole_contig,
)
from titans_seq.streaming.session_file import model_hash
from titans_seq.training.runtime import choose_runtime

_log = logging.getLogger(__name__)

Watch = Callable[[str, float, float, str], None]

WHAT = ("loss", "gradient", "write", "forget", "gain")
STRANDS = ("+", "-", "both")
GROUP = 1_000_000
"""Bases of contigs that are read together and written down as one finished part, at least."""
ROWS = 16
LONG = 180.0
"""Seconds from which a run says beforehand how long it will take."""


@dataclass(frozen=True)
class SurpriseJob:
    """What is read, with what, and where to; made by `prepare`."""

    genome: Genome
    model: DnaModel
    out: Path
    contigs: tuple[str, ...]
    what: str
    size: int
    strands: tuple[str, ...]
    context: int | None
    gap_reset: int

    @property
    def sizes(self) -> dict[str, int]:
        """Length of every contig of the track."""
        return {name: self.genome.contig(name).length for name in self.contigs}

    def key(self) -> dict[str, Any]:
        """All that the numbers follow from."""
        device = next(self.model.task.parameters()).device.type
        return {
            "version": 1, "genome": self.genome.checksum, "model": model_hash(self.model.task), "device": device,
            "contigs": self.contigs, "what": self.what, "size": self.size, "strands": self.strands,
            "context": self.context, "gap_reset": self.gap_reset, "group": GROUP, "rows": ROWS,
        }  # fmt: skip


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
    watch: Watch = lambda stage, done, total, note: None,
) -> SurpriseJob:
    """Read and check everything; nothing is written but the token store's cache."""
    for kind, name, known in (("track", what, WHAT), ("strand", strand, STRANDS)):
        if name not in known:
            raise unknown_name(kind, name, known)
    bases = parse_context(context)
    if bases == 0:
        raise ConfigError("a track needs a context above 0; expected 'contig' or a number such as 10k")
    check_track(out)
    runtime = choose_runtime(RunSection(device=device, threads=threads, precision="float32"))
    opened = open_dna_model(model, device=runtime.device)
    if what != "loss" and opened.config.model.memory == "none":
        raise ConfigError(f"{model}: this model has no memory, so there is no {what}; --what loss needs none")
    found = open_genome(genome, progress=lambda done, total: watch("reading", done, total or max(done, 1), ""))
    contigs = tuple(found.contig(name).name for name in dict.fromkeys(chroms)) or found.names
    strands = ("+", "-") if strand == "both" else (strand,)
    return SurpriseJob(found, opened, out, contigs, what, size, strands, bases, gap_reset)


def run(job: SurpriseJob, *, watch: Watch = lambda stage, done, total, note: None) -> int:
    """Read the genome and write the track; gives the number of bins written."""
    sizes = job.sizes
    groups = group_contigs(sizes, at_least=GROUP)
    parts = TrackParts(job.out, sizes, groups, size=job.size, key=job.key())
    finished = sum(parts.done(number) for number in range(len(groups)))
    if finished:
        _log.info("going on: %d of %d parts were finished before", finished, len(groups))
    todo = [number for number in range(len(groups)) if not parts.done(number)]
    passes = len(job.strands) * (2 if job.what == "gain" else 1)
    total = passes * sum(sizes[name] for number in todo for name in groups[number])
    count = _counter(total, watch)
    for number in todo:
        parts.save(number, _group_means(job, groups[number], count))
    watch("writing", 0, 1, job.out.name)
    bins = write_track(job.out, sizes, parts.means(), size=job.size)
    parts.remove()
    _log.info("%s: %s bins of %d bases", job.out, f"{bins:,}", job.size)
    return bins


def _group_means(job: SurpriseJob, names: Sequence[str], count: Callable[[int], None]) -> list[Values]:
    """Means of the bins of some contigs; for ``gain``, of the memory begun afresh minus carried."""
    means = _read(job, [p for name in names for p in _carried(job, name)], names, count)
    if job.what != "gain":
        return means
    afresh = _read(job, [p for name in names for p in _windows(job, name)], names, count)
    return [reset - carried for reset, carried in zip(afresh, means, strict=True)]


def _read(
    job: SurpriseJob, passages: Sequence[Passage], names: Sequence[str], count: Callable[[int], None]
) -> list[Values]:
    held = {name: BinMeans(job.genome.contig(name).length, size=job.size) for name in names}
    record = job.what in ("gradient", "write", "forget")
    for part in read_passages(job.model, job.genome, passages, rows=ROWS, layer=None, record=record):
        held[part.contig].add(part.start, _numbers(part, job.what))
        count(part.end - part.start)
    return [bins.means() for bins in held.values()]


def _numbers(part: Part, what: str) -> npt.NDArray[np.float32]:
    """The track's number of every base of a part."""
    if what in ("loss", "gain"):
        return part.loss / np.float32(log(2))
    values = {"gradient": part.surprise, "write": part.write, "forget": part.forget}[what]
    assert values is not None
    mean: npt.NDArray[np.float32] = np.where(part.tokens < N_TOKEN, values.mean(axis=0), np.float32(np.nan))
    return mean


def _carried(job: SurpriseJob, contig: str) -> Iterator[Passage]:
    for strand in job.strands:
        yield from in_blocks(job.genome, contig, context=job.context, strand=strand, gap_reset=job.gap_reset)


def _windows(job: SurpriseJob, contig: str) -> Iterator[Passage]:
    """Windows of a contig in reading order, each with the memory begun afresh a little before it."""
    settings = job.model.config.evaluation
    for strand in job.strands:
        for start, end in whole_contig(job.genome, contig, strand=strand, gap_reset=job.gap_reset).stretches:
            for begin in range(0, end - start, settings.window):
                first, last = max(0, begin - max(settings.lead_in, 1)), min(begin + settings.window, end - start)
                if strand == "+":
                    read, keep = (start + first, start + last), (start + begin, start + last)
                else:
                    read, keep = (end - last, end - first), (end - last, end - begin)
                yield Passage(contig, strand, (read,), keep)


def _counter(total: int, watch: Watch) -> Callable[[int], None]:
    """Count bases for a progress line, and say once how long it will take if that is long."""
    began, done, said = time.monotonic(), 0, False

    def count(bases: int) -> None:
        nonlocal done, said
        done += bases
        seconds = time.monotonic() - began
        speed = done / max(seconds, 1e-9)
        if not said and seconds > 3:
            said = True
            if total / speed > LONG:
                _log.info("about %.0f min for %s bases", total / speed / 60, f"{total:,}")
        watch("surprise", done, max(total, 1), f"{done:,} of {total:,} bases, {speed:,.0f} bases/s")

    return count
