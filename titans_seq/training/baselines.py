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
LIMIT = 60_000_000
"""Bases that the coders read at most: their counts take about 100 bytes for each."""


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
        Read at most this many bases; of a larger genome the beginning is left out.

    Returns
    -------
    dict
        ``order k``, ``order k, inverted repeats`` and `MIXTURE`; NaN at unknown bases.
    """
    if not orders:
        return {}
    tokens, where = _laid_out(genome, held, limit=limit)
    jobs = [(order, inverted) for inverted in (False, True) for order in orders]
    found: dict[str, Bits] = {}

    def keep(name: str, bits: Bits) -> None:
        found[name] = np.concatenate([bits[part] for part in where])
        watch("baselines", len(found), len(jobs) + 1, name)

    for order, inverted in jobs:
        name = f"order {order}, inverted repeats" if inverted else f"order {order}"
        keep(name, markov_bits(tokens, order=order, inverted_repeats=inverted))
    keep(MIXTURE, mixture_bits(tokens))
    return found


def _laid_out(genome: Genome, held: Sequence[Held], *, limit: int) -> tuple[NDArray[np.uint8], list[slice]]:
    """Lay the genome end to end, contigs with held-out bases last, and say where ``held`` is in it."""
    stops = {stretch.contig: stretch.stop for stretch in held}
    names = [name for name in genome.names if name not in stops]
    names += [name for name in genome.names if name in stops]
    parts = [genome.tokens(name, 0, stops.get(name)) for name in names]
    tokens, slices = join_with_breaks(parts)
    begins = {name: part.start for name, part in zip(names, slices, strict=True)}
    where = [slice(begins[s.contig] + s.start, begins[s.contig] + s.stop) for s in held]
    first = min(max(0, len(tokens) - limit), min(part.start for part in where))
    if first:
        _log.info("baselines read the last %s bases of %s", f"{len(tokens) - first:,}", f"{len(tokens):,}")
    return tokens[first:], [slice(part.start - first, part.stop - first) for part in where]
