from collections.abc import Callable

import pytest

from titans_seq.errors import RangeError, UnknownNameError
from titans_seq.genomics import Genome, Stretch, split_by_contigs, split_by_fraction

Make = Callable[[dict[str, str]], Genome]


def test_by_contigs(genome_of: Make) -> None:
    genome = genome_of({"a": "ACGT", "b": "AC", "c": "G"})
    split = split_by_contigs(genome, ["b"])
    assert split.train == (Stretch("a", 0, 4), Stretch("c", 0, 1))
    assert split.valid == (Stretch("b", 0, 2),)
    assert split.to_json()["train_bases"] == 5
    with pytest.raises(UnknownNameError, match="no contig 'd'; there are 3, such as a, b, c"):
        split_by_contigs(genome, ["d"])
    with pytest.raises(RangeError, match="nothing to train on"):
        split_by_contigs(genome, ["a", "b", "c"])
    with pytest.raises(RangeError, match="nothing to evaluate on"):
        split_by_contigs(genome, [])


def test_by_fraction(genome_of: Make) -> None:
    genome = genome_of({"a": "ACGTACGTAC", "b": "A"})
    split = split_by_fraction(genome, 0.2, margin=1)
    assert split.train == (Stretch("a", 0, 7),)
    assert split.valid == (Stretch("a", 8, 10), Stretch("b", 0, 1))
    with pytest.raises(RangeError, match="between 0 and 1"):
        split_by_fraction(genome, 1.0)
    with pytest.raises(RangeError, match="margin"):
        split_by_fraction(genome, 0.5, margin=-1)
    with pytest.raises(RangeError, match="nothing to train on"):
        split_by_fraction(genome, 0.5, margin=10)
