"""The start model: classes by hand, a planted motif, determinism, and tables of another genome."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.genomics.made_starts import made_genome
from titans_seq.genomics import encode
from titans_seq.genomics.gene_fitting import fit_weights
from titans_seq.genomics.gene_neighbours import NEIGHBOURS
from titans_seq.genomics.gene_weights import GeneWeights
from titans_seq.genomics.labels import LabelScheme
from titans_seq.genomics.open_frames import genetic_code
from titans_seq.genomics.start_sites import StartSites, motif_classes
from titans_seq.tasks import self_training
from titans_seq.tasks.gene_calls import GeneCaller, count_tables, strand_genes

CODE = genetic_code(11)
Places = list[tuple[int, int, int]]


def caller_of(tokens: np.ndarray, genes: Places) -> GeneCaller:
    codons, sites = count_tables(strand_genes(tokens, genes, CODE, min_length=90), CODE, min_length=90)
    caller = GeneCaller(LabelScheme(("CDS",), ("CDS",)), CODE, codons, sites=sites)
    return replace(caller, weights=fit_weights(caller.known(tokens, None, genes)))


def exact(caller: GeneCaller, tokens: np.ndarray, genes: Places) -> float:
    return len({gene[:3] for gene in caller.genes(tokens, None)} & set(genes)) / len(genes)


@pytest.fixture(scope="module")
def trained() -> GeneCaller:
    return caller_of(*made_genome(160, motif="AGGAGG", spacer=7, seed=0))


@pytest.mark.parametrize(
    ("upstream", "found"),
    [
        ("CCCCCCCCCCCAGGAGGCTTCTCT", 1 + 3 * 6 + 2),  # six letters, seven bases in front
        ("CCCCCCCCCCCCAGGAGCTCCTTC", 1 + 2 * 6 + 2),  # five of them
        ("CCCCCCGGACCCCCCCCGGATTTTT", 1 + 0 * 6 + 1),  # three, five bases in front; the other is further
        ("CCCCCCCCCCCCCCCAGGAGGC", 1 + 1 * 6 + 0),  # its last letters are too near, AGGA is not
        ("CCCCCCCCCCCCCCCCCCGGAC", 0),
        ("GG", 0),
        ("NNNNNNNNNNAGGANNNNNNN", 1 + 1 * 6 + 2),
    ],
)
def test_the_longest_piece_of_the_motif_and_its_distance(upstream: str, found: int) -> None:
    tokens = encode(upstream + "ATG")
    assert motif_classes(tokens, np.array([len(upstream)])).tolist() == [found]


def test_the_planted_motif_is_found_and_tells_the_start(trained: GeneCaller) -> None:
    assert trained.sites is not None
    assert int(np.argmax(trained.sites.motif)) == 1 + 3 * 6 + 2
    tokens, genes = made_genome(60, motif="AGGAGG", spacer=7, seed=1)
    assert exact(trained, tokens, genes) >= 0.95
    blind = replace(trained, sites=replace(trained.sites, motif=np.zeros(25, np.float32)))
    blind = replace(blind, codons=replace(blind.codons, motif=np.zeros_like(blind.codons.motif)))
    assert exact(blind, tokens, genes) < exact(trained, tokens, genes) - 0.1


def test_a_genome_of_another_motif_teaches_it(trained: GeneCaller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(self_training, "FEWEST", 40)
    tokens, genes = made_genome(160, motif="TAAGGA", spacer=13, decoy="CCAGGA", seed=2)
    adapted = self_training.adapt_to_genome(trained, [(tokens, None)], rounds=2)
    assert adapted.sites is not None
    assert exact(trained, tokens, genes) < 0.8
    assert exact(adapted, tokens, genes) >= 0.95
    again = self_training.adapt_to_genome(trained, [(tokens, None)], rounds=2)
    assert again.genes(tokens, None) == adapted.genes(tokens, None)


def test_weights_from_before_the_tables_still_load() -> None:
    starts, genes = ["start/binding", "coding/hexamer", "GTG", "TTG", "length"], ["one", "mean/hexamer"]
    sizes = {"start": 5, "gene": 2, "start_near": 5 + NEIGHBOURS, "gene_near": 2 + NEIGHBOURS, "gene_open": 2}
    record = {"start_names": starts, "gene_names": genes, "share": 0.1}
    weights = GeneWeights.from_json({**record, **{name: [0.5] * size for name, size in sizes.items()}})
    assert weights.start_near.size == 5 + NEIGHBOURS


def test_weights_and_tables_of_another_version_are_refused(trained: GeneCaller) -> None:
    assert trained.weights is not None
    assert trained.sites is not None
    record = trained.weights.to_json()
    assert np.allclose(GeneWeights.from_json(record).start_near, trained.weights.start_near, atol=1e-5)
    with pytest.raises(ValueError, match="another version"):
        GeneWeights.from_json({**record, "start_near": record["start"]})
    with pytest.raises(ValueError, match="'room' of start sites belongs to another version"):
        StartSites(**{**vars(trained.sites), "room": np.zeros(3, np.float32)})


def test_the_mean_of_two_sets_of_weights(trained: GeneCaller) -> None:
    weights = trained.weights
    assert weights is not None
    fewer = replace(
        weights, start_names=weights.start_names[1:], start=weights.start[1:], start_near=weights.start_near[1:]
    )
    mean = weights.mean_with(fewer)
    assert mean.start[0] == weights.start[0] / 2
    assert np.allclose(mean.start_near[1:], weights.start_near[1:])
    assert np.allclose(mean.gene_near, weights.gene_near)


def test_a_genome_without_genes_has_tables_of_nothing() -> None:
    tokens = np.random.default_rng(0).integers(0, 4, 3000).astype(np.uint8)
    sites = StartSites.fit(strand_genes(tokens, [], CODE, min_length=90), CODE)
    assert all((table == 0).all() for table in vars(sites).values())
