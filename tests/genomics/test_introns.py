"""What introns are made of and how long they are, and that the decoder goes by it."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from tests.genomics.spliced_genome import made
from titans_seq.genomics import encode
from titans_seq.genomics.introns import NEAR, SHORTEST, TYPICAL, Introns
from titans_seq.genomics.labels import LabelScheme
from titans_seq.genomics.open_frames import genetic_code
from titans_seq.genomics.splice_sites import SplicedParts
from titans_seq.tasks.spliced_calls import SplicedCaller, count_genes


def fitted(lengths: list[int], letters: str = "ACGT") -> Introns:
    """Introns of `letters` over and over between coding parts of ten G, and as much of C outside."""
    text, parts = "C" * 4000, [(0, 1)]
    genes = []
    for length in lengths:
        start = len(text)
        text += "G" * 10 + (letters * length)[:length] + "G" * 10
        parts = [(start, start + 10), (start + 10 + length, start + 20 + length)]
        genes.append(SplicedParts(tuple(parts)))
    return Introns.fit([(encode(text).copy(), [*genes, genes[0]])])


def test_lengths_are_a_density() -> None:
    introns = fitted([47] * 60 + [50] * 30 + [700, 900])
    assert 46 <= int(introns.near[:NEAR].argmax()) <= 49
    tail = np.exp(introns.near[NEAR] + introns.slope * np.arange(20_000)).sum() / TYPICAL
    assert np.exp(introns.near[:NEAR]).sum() / TYPICAL + tail == pytest.approx(1, abs=0.01)
    assert introns.slope == pytest.approx(-1 / (800 - NEAR))


def test_an_intron_of_isoforms_counts_once() -> None:
    once, twice = fitted([47, 100, 100]), fitted([47, 47, 100, 100])
    assert once.near[47] < twice.near[47]


def test_letters_tell_introns_from_what_lies_between_genes() -> None:
    introns = fitted([90] * 20, "TA")
    inside = introns.inside(encode("TATATATATACCCCCCCCCCC"))
    assert (inside[:5] > 0.3).all()
    assert (inside[10:16] < -0.3).all()
    assert inside[-1] == 0


def test_few_introns_say_nothing_of_lengths() -> None:
    assert (fitted([50]).near == 0).all()


@pytest.fixture(scope="module")
def caller() -> SplicedCaller:
    tokens, genes, _ = made(0)
    tables = count_genes([(tokens, genes)], starts=("ATG",))
    return SplicedCaller(LabelScheme(("CDS", "intron")), genetic_code(1), ("ATG",), *tables)


def test_near_and_tail_are_one_score(caller: SplicedCaller) -> None:
    tokens, _, scores = made(1)
    steps = np.arange(NEAR + 1)
    near = replace(caller, introns=replace(caller.introns, near=-0.01 * steps, slope=-0.01))
    tail = replace(caller, introns=replace(caller.introns, near=-0.01 * steps[: SHORTEST + 1], slope=-0.01))
    assert near.genes(tokens, scores) == tail.genes(tokens, scores)


def test_common_lengths_are_taken_and_others_left(caller: SplicedCaller) -> None:
    tokens, genes, _ = made(1)
    known = {b[0] - a[1] for _, parts in genes for a, b in pairwise(parts)}
    near = np.full(NEAR + 1, -1000.0)
    near[sorted(known)[: len(known) // 2]] = 3.0
    allowed = set(np.flatnonzero(near > 0).tolist())
    found = replace(caller, introns=replace(caller.introns, near=near, slope=-1.0)).genes(tokens, None)
    gaps = [b[0] - a[1] for gene in found for a, b in pairwise(gene.parts)]
    assert len(gaps) > 5
    assert set(gaps) <= allowed
