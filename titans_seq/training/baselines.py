"""The cheap baselines on the held-out part: Markov models of single orders, and their adaptive mixture.

Each coder reads the training part first and then the held-out part, and goes on learning in both; it is the fair
counterpart of the arm that carries its memory from the start, and it has seen every contig before the last.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from titans_seq.genomics import Genome
from titans_seq.metrics import join_with_breaks, markov_bits, mixture_bits
from titans_seq.training.arms import Held

_log = logging.getLogger(__name__)

Bits = NDArray[np.float32]

MIXTURE = "mixture, inverted repeats"
LIMIT = 8_000_000
"""Bases that the coders read at most: each takes up to 275 bytes and, all orders and the mixture together, 11 us."""


def markov_bits_held(
    genome: Genome,
    held: Sequence[Held],
    *,
    orders: Sequence[int],
    limit: int = LIMIT,
    watch: Callable[[str, float, float, str], None] = lambda stage, done, total, note: None,
) -> dict[str, Bits]:
    """Give bits for each base of ``held``, laid end to end, by the name of the coder.

    Parameters
    ----------
    orders
        Context lengths; each gives one row without and one with inverted repeats. None at all: no baselines.
    limit
        Read at most this many bases; of a larger genome the beginning of every contig is left out.

    Returns
    -------
    dict
        ``order k``, ``order k, inverted repeats`` and `MIXTURE`; NaN at unknown bases and at those beyond the limit.
    """
    if not orders:
        return {}
    tokens, where, missing = _laid_out(genome, held, limit=limit)
    gaps = [np.full(count, np.nan, dtype=np.float32) for count in missing.tolist()]
    jobs = [(order, inverted) for inverted in (False, True) for order in orders]
    found: dict[str, Bits] = {}

    def keep(name: str, bits: Bits) -> None:
        found[name] = np.concatenate([part for at, gap in zip(where, gaps, strict=True) for part in (bits[at], gap)])
        watch("baselines", len(found), len(jobs) + 1, name)

    for order, inverted in jobs:
        name = f"order {order}, inverted repeats" if inverted else f"order {order}"
        keep(name, markov_bits(tokens, order=order, inverted_repeats=inverted))
    keep(MIXTURE, mixture_bits(tokens))
    return found


def _laid_out(
    genome: Genome, held: Sequence[Held], *, limit: int
) -> tuple[NDArray[np.uint8], list[slice], NDArray[np.int64]]:
    """Lay the genome end to end, contigs with held-out bases last; where ``held`` is in it, and how much of each.

    Of a genome beyond the limit, the held-out part gets at most half of it, from its beginning; the rest goes to what
    stands before, the last bases of every contig in proportion.
    """
    lengths = np.array([stretch.length for stretch in held])
    whole = genome.total <= limit
    covered = lengths if whole else np.clip(limit // 2 - (np.cumsum(lengths) - lengths), 0, lengths)
    stops = {s.contig: s.start + n for s, n in zip(held, covered.tolist(), strict=True)}
    starts = {stretch.contig: stretch.start for stretch in held}
    before = {contig.name: starts.get(contig.name, contig.length) for contig in genome.contigs}
    share = 1.0 if whole else min(1.0, (limit - int(covered.sum())) / max(sum(before.values()), 1))
    names = [*(name for name in before if name not in starts), *starts]
    firsts = {name: before[name] - int(before[name] * share) for name in names}
    tokens, slices = join_with_breaks(
        [genome.tokens(name, firsts[name], stops.get(name, before[name])) for name in names]
    )
    if not whole:
        _log.info("baselines read %s of %s bases", f"{len(tokens):,}", f"{genome.total:,}")
    begins = {name: part.start - firsts[name] for name, part in zip(names, slices, strict=True)}
    where = [slice(begins[s.contig] + s.start, begins[s.contig] + stops[s.contig]) for s in held]
    return tokens, where, lengths - covered
