"""The baselines read the whole genome where it is small, and of a larger one what stands nearest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from titans_seq.genomics import Genome, open_genome
from titans_seq.metrics import join_with_breaks, markov_bits
from titans_seq.training.arms import Held
from titans_seq.training.baselines import MIXTURE, markov_bits_held

LENGTHS = {"a": 300, "b": 400, "c": 500}


@pytest.fixture
def genome(tmp_path: Path) -> Genome:
    rng = np.random.default_rng(0)
    letters = np.frombuffer(b"ACGT", dtype=np.uint8)
    parts = [b">%s\n%s\n" % (name.encode(), rng.choice(letters, n).tobytes()) for name, n in LENGTHS.items()]
    (tmp_path / "g.fa").write_bytes(b"".join(parts))
    return open_genome(tmp_path / "g.fa", cache_dir=tmp_path / "cache")


def by_hand(genome: Genome, *parts: tuple[str, int, int]) -> tuple[np.ndarray, list[slice]]:
    tokens, slices = join_with_breaks([genome.tokens(*part) for part in parts])
    return markov_bits(tokens, order=2), slices


def test_a_small_genome_is_read_whole_with_held_out_contigs_last(genome: Genome) -> None:
    held = [Held("a", 200, 300), Held("b", 350, 380)]
    found = markov_bits_held(genome, held, orders=[2])
    bits, (_, a, b) = by_hand(genome, ("c", 0, 500), ("a", 0, 300), ("b", 0, 380))
    expected = np.concatenate([bits[a][200:300], bits[b][350:380]])
    np.testing.assert_array_equal(found["order 2"], expected)
    assert set(found) == {"order 2", "order 2, inverted repeats", MIXTURE}
    assert all(np.isfinite(values).all() for values in found.values())


def test_of_a_larger_one_the_nearest_bases_are_read(genome: Genome) -> None:
    held = [Held("a", 200, 300), Held("b", 350, 380)]
    found = markov_bits_held(genome, held, orders=[2], limit=130 + (500 + 200 + 350) // 5)
    assert len(found["order 2"]) == 130
    bits, (_, a, b) = by_hand(genome, ("c", 400, 500), ("a", 160, 300), ("b", 280, 380))
    np.testing.assert_array_equal(found["order 2"], np.concatenate([bits[a][40:], bits[b][70:]]))


def test_held_out_bases_beyond_half_of_the_limit_have_no_number(genome: Genome) -> None:
    held = [Held("a", 200, 300), Held("b", 350, 400), Held("c", 100, 500)]
    found = markov_bits_held(genome, held, orders=[2], limit=400)
    for values in found.values():
        assert len(values) == 550
        assert np.isfinite(values[:200]).all()
        assert np.isnan(values[200:]).all()
