"""The decoder on a made genome: it finds what was put in, keeps frames, and its parts do what they say."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from titans_seq.errors import RangeError
from titans_seq.genomics import decode, encode, reverse_complement
from titans_seq.genomics.codon_scores import CodonScores, StrandGenes, fit_motif
from titans_seq.genomics.gene_decoder import Strand, both_strands, decode_genes, frame_odds, gap_free
from titans_seq.genomics.gene_fitting import Known, fit_weights
from titans_seq.genomics.gene_weights import (
    Choices,
    GeneWeights,
    fit_choices,
    fit_logistic,
    prior_shift,
    softmax_in_groups,
)
from titans_seq.genomics.open_frames import genetic_code, open_frames
from titans_seq.genomics.runs import best_runs

CODE = genetic_code(11)
CODONS = ["GCG", "CTG", "GAA", "AAA", "GAT", "GGC", "ACC", "CAG"]
Gene = tuple[int, int, int]


def made_genome(genes: int, seed: int) -> tuple[np.ndarray, list[Gene]]:
    """Genes of few codons behind AGGAGG, on both strands, in random letters."""
    random = np.random.default_rng(seed)
    pieces: list[str] = []
    places: list[Gene] = []
    at = 0
    for number in range(genes):
        spacer = "".join(random.choice(list("ACGT"), int(random.integers(60, 160))))
        body = "".join(random.choice(CODONS, int(random.integers(60, 200))))
        gene = "ATG" + body + "TAA"
        unit, lead = "AGGAGG" + "TATACAT" + gene, 13
        if number % 2:
            unit = decode(reverse_complement(encode(unit)))
        pieces += [spacer, unit]
        start = at + len(spacer) + (0 if number % 2 else lead)
        places.append((start, start + len(gene), -1 if number % 2 else 1))
        at += len(spacer) + len(unit)
    return encode("".join(pieces)), places


def on_strand(genes: list[Gene], number: int, size: int) -> np.ndarray:
    own = [(a, b) for a, b, s in genes if s == (-1 if number else 1)]
    return np.array(sorted((size - b, size - a) for a, b in own) if number else sorted(own))


def counted(tokens: np.ndarray, genes: list[Gene]) -> list[StrandGenes]:
    found = []
    for number, letters in enumerate(both_strands(tokens)):
        own = on_strand(genes, number, tokens.size)
        starts = np.unique(open_frames(letters, CODE).start)
        found.append(
            StrandGenes(letters, own[:, 0], own[:, 1], starts[~np.isin(starts, own[:, 0])], np.ones(tokens.size, bool))
        )
    return found


def read(tokens: np.ndarray, model: CodonScores) -> tuple[Strand, Strand]:
    forward, backward = (Strand.read(t, model.scores(t), CODE, min_length=90) for t in both_strands(tokens))
    return forward, backward


@pytest.fixture(scope="module")
def trained() -> tuple[CodonScores, GeneWeights]:
    tokens, genes = made_genome(80, seed=0)
    model = CodonScores.fit(counted(tokens, genes))
    strands = read(tokens, model)
    chosen, used = [], []
    for number, strand in enumerate(strands):
        wanted = {tuple(row) for row in on_strand(genes, number, tokens.size).tolist()}
        pairs = zip(strand.frames.start.tolist(), strand.frames.end.tolist(), strict=True)
        chosen.append(np.array([pair in wanted for pair in pairs]))
        used.append(np.ones(strand.frames.stop_end.size, bool))
    return model, fit_weights([Known(strands, (chosen[0], chosen[1]), (used[0], used[1]))])


def test_finds_the_genes_of_a_genome_it_has_not_seen(trained: tuple[CodonScores, GeneWeights]) -> None:
    model, weights = trained
    tokens, genes = made_genome(40, seed=1)
    found = {gene[:3] for gene in decode_genes(read(tokens, model), weights)}
    assert len(found & set(genes)) >= 38
    assert len(found - set(genes)) <= 4


def test_the_other_strand_gives_the_same_genes(trained: tuple[CodonScores, GeneWeights]) -> None:
    model, weights = trained
    tokens, _ = made_genome(12, seed=2)
    size = tokens.size
    there = {gene[:3] for gene in decode_genes(read(tokens, model), weights)}
    back = decode_genes(read(reverse_complement(tokens), model), weights)
    assert {(size - gene.end, size - gene.start, -gene.strand) for gene in back} == there


def test_genes_have_a_start_a_stop_and_whole_codons(trained: tuple[CodonScores, GeneWeights]) -> None:
    model, weights = trained
    tokens, places = made_genome(24, seed=3)
    first = max(places[:12], key=lambda gene: (gene[2], gene[1] - gene[0]))  # of strand +1, so it loses its start
    last = max(places[12:], key=lambda gene: (gene[2], gene[1] - gene[0]))  # and this one its stop
    cut = tokens[first[0] + 100 : last[1] - 100]
    genes = decode_genes(read(cut, model), weights, max_overlap=30)
    assert genes[0].open_left
    assert genes[0].end == first[1] - first[0] - 100
    assert genes[-1].open_right
    for gene in genes:
        letters = cut[gene.start : gene.end]
        text = decode(letters if gene.strand > 0 else reverse_complement(letters))
        assert len(text) % 3 == 0
        assert not any(text[i : i + 3] in CODE.stops for i in range(0, len(text) - 3, 3))
        begins, ends = (gene.open_left, gene.open_right) if gene.strand > 0 else (gene.open_right, gene.open_left)
        assert begins or text[:3] in CODE.starts
        assert ends or text[-3:] in CODE.stops
    assert all(left.end - right.start <= 30 for left, right in itertools.pairwise(genes))
    with pytest.raises(RangeError, match="overlap of at least 0"):
        decode_genes(read(cut, model), weights, max_overlap=-1)


def test_more_genes_where_their_share_is_higher(trained: tuple[CodonScores, GeneWeights]) -> None:
    model, weights = trained
    strands = read(made_genome(20, seed=4)[0], model)
    odds = frame_odds(strands, weights)
    assert odds.size == sum(strand.frames.stop_end.size for strand in strands)
    assert len(decode_genes(strands, weights, shift=3.0)) >= len(decode_genes(strands, weights))
    assert len(decode_genes(strands, weights, shift=-50.0)) == 0


def test_weights_survive_json(trained: tuple[CodonScores, GeneWeights]) -> None:
    weights = trained[1]
    again = GeneWeights.from_json(weights.to_json())
    assert np.allclose(again.gene_near, weights.gene_near, atol=1e-5)
    with pytest.raises(ValueError, match="another version"):
        GeneWeights.from_json({**weights.to_json(), "start": [1.0]})


def test_the_motif_is_found() -> None:
    random = np.random.default_rng(0)
    upstream = random.integers(0, 4, (200, 25)).astype(np.uint8)
    for row in upstream:
        at = int(random.choice([9, 10, 11]))
        row[at : at + 6] = encode("TGGTGG")  # not what it begins with
    motif, distance = fit_motif(upstream, np.full(4, 100.0))
    assert decode(motif[:, :4].argmax(1).astype(np.uint8)) == "TGGTGG"
    assert set(np.argsort(distance)[-3:].tolist()) == {9, 10, 11}


def test_conditional_logit_and_logistic_find_the_optimum() -> None:
    random = np.random.default_rng(0)
    group = np.repeat(np.arange(60), 4)
    x = random.normal(size=(240, 2))
    noise = random.gumbel(size=240)
    chosen = np.zeros(240, bool)
    for g in range(60):
        rows = np.flatnonzero(group == g)
        chosen[rows[np.argmax((x @ [2.0, -1.0] + noise)[rows])]] = True
    a = fit_choices([Choices(x, group, chosen)], ridge=1e-6)

    def cost(weights: np.ndarray) -> float:
        return -float(softmax_in_groups(x @ weights, group)[chosen].sum())

    assert all(cost(a) <= cost(a + step) for step in np.array([[0.05, 0], [-0.05, 0], [0, 0.05], [0, -0.05]]))
    truth = random.random(240) < 1 / (1 + np.exp(-(x @ [1.0, 2.0])))
    b = fit_logistic(x, truth, ridge=1e-6)
    p = 1 / (1 + np.exp(-(x @ b)))
    assert np.abs(x.T @ (truth - p)).max() < 1e-4


def test_the_share_of_positives_is_found_without_labels() -> None:
    random = np.random.default_rng(0)
    truth = random.random(20_000) < 0.4
    odds = random.normal(np.where(truth, 2.0, -2.0), 2.0) + np.log(0.1 / 0.9)  # as learned where a tenth is positive
    shift = prior_shift(odds, 0.1)
    assert abs(shift - (np.log(0.4 / 0.6) - np.log(0.1 / 0.9))) < 0.15


def test_gaps_part_a_sequence() -> None:
    assert gap_free(encode("ACGT" + "N" * 30 + "AC" + "N" * 5 + "GT"), gap=20) == [(0, 4), (34, 43)]
    assert gap_free(encode("ACGT")) == [(0, 4)]
    assert gap_free(encode("N" * 30)) == []


def test_runs_are_the_best_of_all_choices() -> None:
    random = np.random.default_rng(0)
    masks = np.array(list(itertools.product([0, 1], repeat=8)))
    starts = (np.diff(np.c_[np.zeros(len(masks)), masks], axis=1) > 0).sum(1)
    for _ in range(50):
        values = random.normal(size=8)
        best = (masks @ values - 0.8 * starts).max()
        runs = best_runs(values, penalty=0.8)
        assert sum(values[a:b].sum() for a, b, _ in runs) - 0.8 * len(runs) == pytest.approx(best)
    assert best_runs(np.array([np.nan, 5.0, np.nan]), penalty=1.0, min_length=2) == []
