"""Genes with introns: the decoder keeps frames across introns on both strands, and what it finds can be written."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.genomics.spliced_genome import made
from titans_seq.genomics import decode, encode, read_annotation, reverse_complement
from titans_seq.genomics.gff_writer import Prediction, bed_text, write_gff3
from titans_seq.genomics.labels import LabelScheme, transcripts
from titans_seq.genomics.open_frames import genetic_code
from titans_seq.metrics.genes import compare_parts
from titans_seq.tasks.gene_calls import ContigScores
from titans_seq.tasks.spliced_calls import AnnotatedStretch, SplicedCaller, count_genes

SCHEME = LabelScheme(("CDS", "intron"))


@pytest.fixture(scope="module")
def caller() -> SplicedCaller:
    tokens, genes, scores = made(0)
    plain = SplicedCaller(SCHEME, genetic_code(1), ("ATG",), *count_genes([(tokens, genes)], starts=("ATG",)))
    return plain.fitted([AnnotatedStretch(tokens, scores, genes)])


def test_genes_of_another_genome_are_found_whole(caller: SplicedCaller) -> None:
    tokens, genes, scores = made(1)
    found = caller.genes(tokens, scores)
    known = {(strand, parts) for strand, parts in genes}
    assert len(known & {(gene.strand, gene.parts) for gene in found}) >= 27
    for gene in found:
        pieces = [decode(tokens[a:b]) for a, b in gene.parts]
        text = "".join(pieces)
        text = text if gene.strand > 0 else decode(reverse_complement(encode(text)))
        if not gene.open_left and not gene.open_right:
            assert text[:3] == "ATG"
            assert text[-3:] in ("TAA", "TAG", "TGA")
            assert len(text) % 3 == 0
        first = gene.phases[0] if gene.strand > 0 else gene.phases[-1]
        assert first == 0
        for (_, left), (right, _) in zip(gene.parts, gene.parts[1:], strict=False):
            ends = decode(tokens[left : left + 2]), decode(tokens[right - 2 : right])
            assert ends == (("GT", "AG") if gene.strand > 0 else ("CT", "AC"))
            assert right - left >= 30


def test_the_strands_are_equal(caller: SplicedCaller) -> None:
    tokens, _, scores = made(2, genes=6)
    other = ContigScores(scores.states[::-1, ::-1].copy(), scores.sites[::-1, ::-1].copy())
    here = caller.genes(tokens, scores)
    there = caller.genes(reverse_complement(tokens), other)
    size = tokens.size
    mirrored = {(-gene.strand, tuple(sorted((size - b, size - a) for a, b in gene.parts))) for gene in there}
    assert mirrored == {(gene.strand, gene.parts) for gene in here}


def test_a_gene_that_runs_off_the_sequence_is_marked(caller: SplicedCaller) -> None:
    tokens, genes, scores = made(3, genes=8)
    strand, parts = genes[1]
    assert strand == 1
    cut = (parts[0][0] + parts[0][1]) // 2
    (first, *_) = caller.genes(tokens[cut:], scores.part(cut, tokens.size))
    assert first.open_left
    assert first.parts[0] == (0, parts[0][1] - cut)
    assert first.phases[0] == -(cut - parts[0][0]) % 3


def test_what_is_found_is_written_and_read_again(caller: SplicedCaller, tmp_path: Path) -> None:
    tokens, _, scores = made(4, genes=6)
    genes = caller.genes(tokens, scores)
    rows = [
        Prediction("c", g.parts[0][0], g.parts[-1][1], g.strand, "CDS", g.probability, parts=g.parts, phases=g.phases)
        for g in genes
    ]
    path = tmp_path / "genes.gff3"
    write_gff3(path, rows, {"c": tokens.size}, source="test", table=1)
    again = transcripts(read_annotation(path), "CDS")
    assert [(t.strand, t.parts, t.phases) for t in again] == [(g.strand, g.parts, g.phases) for g in genes]
    assert all(t.codon_positions()[1] == 0 for t in again)
    assert len(bed_text(rows).splitlines()) == sum(len(g.parts) for g in genes)


def test_the_cds_of_a_gtf_takes_its_stop_codon(tmp_path: Path) -> None:
    path = tmp_path / "made.gtf"
    rows = [
        ("CDS", 4, 9, "+", "a"), ("stop_codon", 10, 12, "+", "a"), ("CDS", 24, 29, "-", "b"),
        ("stop_codon", 21, 23, "-", "b"), ("CDS", 40, 44, "+", "c"), ("stop_codon", 45, 45, "+", "c"),
        ("stop_codon", 50, 51, "+", "c"),
    ]  # fmt: skip
    lines = [f'c\ts\t{kind}\t{a}\t{b}\t.\t{s}\t0\tgene_id "{t}"; transcript_id "{t}";' for kind, a, b, s, t in rows]
    path.write_text("\n".join(lines) + "\n")
    found = {t.start: t for t in transcripts(read_annotation(path), "CDS")}
    assert found[3].parts == ((3, 12),)
    assert found[20].parts == ((20, 29),)
    assert found[39].parts == ((39, 45), (49, 51))


def test_parts_and_genes_are_counted_apart() -> None:
    annotated = [((0, 9), (20, 30)), ((40, 50),)]
    scores = compare_parts([((0, 9), (21, 30)), ((40, 50),)], annotated)
    assert (scores["recall"], scores["precision"], scores["genes_exact"]) == (2 / 3, 2 / 3, 1 / 2)
