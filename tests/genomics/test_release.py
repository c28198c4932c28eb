"""The pages of a genome can be given back at any time: views that were taken before stay what they were."""

from __future__ import annotations

from collections.abc import Callable

from titans_seq.genomics import Genome


def test_views_outlive_the_release_of_their_pages(genome_of: Callable[[dict[str, str]], Genome]) -> None:
    genome = genome_of({"a": "ACGTN" * 2000, "b": "GGT"})
    view, wanted = genome.tokens("a", 5, 9000), genome.tokens("a", 5, 9000).copy()
    genome.release()
    assert (view == wanted).all()
    assert (genome.tokens("b") == [2, 2, 3]).all()
