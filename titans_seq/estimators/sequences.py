"""Vectors of nucleotide sequences and of regions of a genome: each its own stream, deaf to all others.

As for series, every call has a shape that follows from the sequence's own length, so a row's vector is the same to
the last bit whatever else is asked for.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from titans_seq.config import TrainDnaConfig
from titans_seq.config.encoder import EncoderSection
from titans_seq.config.sections import (
    BudgetSection,
    EvaluationSection,
    InputSection,
    OptimiserSection,
    RunSection,
    StreamsSection,
)
from titans_seq.errors import RangeError
from titans_seq.genomics import (
    N_TOKEN,
    BaseStreams,
    Genome,
    Stretch,
    decode,
    open_genome,
    reverse_complement,
)
from titans_seq.streaming import Session
from titans_seq.streaming.pool import WEIGHING, Pool
from titans_seq.tasks import NextBase
from titans_seq.training.budget import Budget
from titans_seq.training.loop import Fitting, fit
from titans_seq.training.runtime import choose_runtime

Tokens = npt.NDArray[np.uint8]

STRANDS = ("+", "-", "both")
_AT_ONCE = 1 << 16
"""Tokens of all rows that are read in one go, at most (a longer sequence is read alone, piece by piece)."""
_PIECE = 4096


@dataclass(frozen=True, slots=True)
class Read:
    """One stream: what is read, and how much of its beginning is context that is not part of the vector."""

    tokens: Tokens
    context: int = 0


def embed_reads(task: NextBase, reads: Sequence[Read], *, rows: int, pool: str, layer: int) -> npt.NDArray[np.float32]:
    """Give one vector per read, (len(reads), d_model)."""
    vectors = np.zeros((len(reads), task.encoder.d_model), dtype=np.float32)
    for length, side, group in _groups(reads, rows=rows, border=task.encoder.border):
        vectors[group] = _embed_group(task, [reads[i] for i in group], side, length, pool=pool, layer=layer)
    return vectors


def _groups(reads: Sequence[Read], *, rows: int, border: int) -> Iterator[tuple[int, int, npt.NDArray[np.intp]]]:
    """Reads of the same shape: (tokens of the whole, rows side by side, their numbers)."""
    lengths = np.array([-(-len(read.tokens) // border) * border for read in reads], dtype=np.int64)
    for length in np.unique(lengths):
        same = np.flatnonzero(lengths == length)
        side = int(np.clip(_AT_ONCE // max(length, 1), 1, rows))
        for at in range(0, len(same), side):
            yield int(length), side, same[at : at + side]


def _embed_group(
    task: NextBase, reads: Sequence[Read], side: int, length: int, *, pool: str, layer: int
) -> npt.NDArray[np.float32]:
    tokens = np.full((side, length), N_TOKEN, dtype=np.uint8)
    for row, read in enumerate(reads):
        tokens[row, : len(read.tokens)] = read.tokens
    session = Session(task, layer=layer, rows=side, predict=pool in WEIGHING, expect=length)
    width = task.encoder.d_model
    pools = [
        Pool(pool, width=width, strand="+", start=np.array([read.context]), end=np.array([len(read.tokens)]))
        for read in reads
    ]
    vectors = np.zeros((len(reads), width), dtype=np.float32)
    piece = max(_PIECE // side // task.encoder.border, 1) * task.encoder.border
    for at in range(0, length, piece):
        block = tokens[:, at : at + piece]
        seen = session.feed(block)
        assert seen.vectors is not None
        h, loss = seen.vectors.cpu().numpy(), seen.loss.cpu().numpy()
        for row, one in enumerate(pools):
            for _, vector in one.take(at, h[row], block[row] < N_TOKEN, loss[row]):
                vectors[row] = np.nan_to_num(vector)  # a row without any known base
    return vectors


def region_read(genome: Genome, contig: str, start: int, end: int, strand: str, *, context: int) -> Read:
    """Cut a region with up to ``context`` bases upstream of it; strand ``-`` is read as its reverse complement.

    Region 10..20 with context 4 reads 6..20; on strand ``-`` the reverse complement of 10..24.
    """
    inside = np.asarray(genome.tokens(contig, start, end))
    if not len(inside):
        raise RangeError(f"{contig}:{start}-{end}: expected a region of at least one base")
    if strand == "-":
        last = min(end + context, genome.contig(contig).length)
        return Read(reverse_complement(genome.tokens(contig, start, last)), last - end)
    first = max(start - context, 0)
    return Read(np.asarray(genome.tokens(contig, first, end)), start - first)


def dna_config(
    *, memory: str, d_model: int, n_layers: int, chunk_size: int, rows: int, steps: int, seed: int, device: str
) -> TrainDnaConfig:
    """Describe a network of the embedder's own as a run of ``train-dna`` would, so that it is saved like one."""
    segment = -(-256 // chunk_size) * chunk_size
    return TrainDnaConfig(
        pipeline="train_dna",
        model=EncoderSection(memory=memory, d_model=d_model, n_layers=n_layers, chunk_size=chunk_size),
        input=InputSection(kmers=(4, 6), kmer_width=8),
        streams=StreamsSection(rows=rows, length=segment),
        optimiser=OptimiserSection(warmup=min(50, steps // 4)),
        budget=BudgetSection(steps=max(steps, 1)),
        evaluation=EvaluationSection(window=8 * segment, lead_in=segment, piece=8 * segment),
        run=RunSection(seed=seed, device=device, precision="float32"),
    )


def train_on_sequences(task: NextBase, sequences: Sequence[Tokens], config: TrainDnaConfig, *, steps: int) -> None:
    """Train next-base prediction on these sequences alone, both strands, for a number of optimiser steps."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = "".join(f">s{number}\n{decode(tokens)}\n" for number, tokens in enumerate(sequences) if len(tokens))
        (folder / "sequences.fa").write_text(text)
        genome = open_genome(folder / "sequences.fa", cache_dir=folder / "cache")
        streams = BaseStreams(
            genome,
            [Stretch(contig.name, 0, contig.length) for contig in genome.contigs],
            batch=config.streams.rows,
            segment=config.streams.length,
            border=task.encoder.border,
            gap_reset=config.streams.gap_reset,
            seed=config.run.seed,
        )
        (folder / "run").mkdir()
        fitting = Fitting(folder / "run", Budget(steps, None), config.optimiser, config.run)
        fit(task, streams, fitting=fitting, runtime=choose_runtime(config.run))
    task.eval()
