"""How genes with introns are scored: what lies on bases that do not count is neither right nor wrong."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from titans_seq.genomics import Stretch
from titans_seq.genomics.labels import LabelScheme, LabelTracks
from titans_seq.tasks.spliced_calls import PlacedGene
from titans_seq.training.regions_evaluate import decoded_classes, exon_table
from titans_seq.training.regions_job import ContigGenes

SCHEME = LabelScheme(("CDS", "exon", "intron"))


def gene(*parts: tuple[int, int], strand: int = 1) -> PlacedGene:
    return PlacedGene(parts, (0,) * len(parts), strand, 0.9, False, False)


def job() -> Any:
    """A contig of 300 bases held out whole: one gene on each strand, and a pseudogene at 200..260 of strand +1."""
    states = np.zeros((2, 300), dtype=np.int8)
    states[0, 200:260] = -1
    spliced = ((1, ((10, 40), (70, 100))), (-1, ((120, 150),)))
    return SimpleNamespace(
        scheme=SCHEME,
        parts=SimpleNamespace(valid=[Stretch("c", 0, 300)]),
        genes={"c": ContigGenes((), (), spliced)},
        tracks={"c": LabelTracks(states, np.zeros_like(states))},
    )


def test_a_gene_called_on_a_pseudogene_is_not_wrong() -> None:
    right, wrong = gene((10, 40), (70, 100)), gene((120, 150))
    on_pseudogene = gene((205, 230), (240, 258))
    scores = exon_table(job(), [[right, on_pseudogene, wrong]])
    assert (scores["annotated"], scores["predicted"], scores["genes_predicted"]) == (3, 3, 2)
    assert scores["precision"] == 2 / 3
    assert scores["genes_exact"] == 1 / 2
    assert exon_table(job(), [[gene((205, 230), strand=-1)]])["predicted"] == 1  # its other strand counts


def test_genes_say_what_is_coding_and_intron_and_labels_the_rest() -> None:
    labels = np.tile(np.array([0, 1, 2, 3], dtype=np.int8), 150)
    found = decoded_classes(job(), [[gene((10, 40), (70, 100), strand=-1)]], labels).reshape(2, 300)
    assert (found[1, 10:40] == 1).all()
    assert (found[1, 40:70] == 3).all()
    assert found[0, :4].tolist() == [0, 0, 2, 0]
    assert set(decoded_classes(job(), [[]]).tolist()) == {0}
