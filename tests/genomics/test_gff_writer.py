"""GFF3 and BED that other readers take: phases, parents, partial genes, names that need escaping."""

from __future__ import annotations

from pathlib import Path

import pytest

from titans_seq.errors import RangeError
from titans_seq.genomics import read_annotation
from titans_seq.genomics.gff_writer import Prediction, bed_text, gff3_text, write_gff3

FOUND = [
    Prediction("b", 10, 40, -1, "CDS", 0.99, notes={"start_probability": "0.9"}),
    Prediction("a x", 0, 32, 1, "CDS", 0.8, open_left=True),
    Prediction("b", 50, 70, 1, "tRNA", 0.5, notes={"note": "odd; 100%,"}),
]
LENGTHS = {"a x": 50, "b": 100}


def test_read_again(tmp_path: Path) -> None:
    path = tmp_path / "out.gff3"
    write_gff3(path, FOUND, LENGTHS, source="test", table=4)
    features = read_annotation(path)
    assert features.type.tolist() == ["gene", "CDS", "gene", "CDS", "tRNA"]
    assert features.seqid.tolist() == ["a x", "a x", "b", "b", "b"]
    coding = features.select(["CDS"])
    assert (coding.start.tolist(), coding.end.tolist()) == ([0, 10], [32, 40])
    assert coding.phase.tolist() == [2, 0]  # 32 bases that begin off the sequence: two, then ten whole codons
    assert features.phase.tolist()[0] == -1
    for row in range(2):
        found = coding.attributes(row)
        (parent,) = found["Parent"]
        assert parent in {features.attributes(i)["ID"][0] for i in range(5) if features.type[i] == "gene"}
        assert found["transl_table"] == ["4"]
    assert coding.attributes(0)["partial"] == ["true"]
    assert features.attributes(4)["note"] == ["odd; 100%,"] or features.attributes(4)["note"] == ["odd; 100%", ""]
    names = [features.attributes(row)["ID"][0] for row in range(5)]
    assert len(set(names)) == 5


def test_every_row_is_what_the_specification_asks_for() -> None:
    lines = gff3_text(FOUND, LENGTHS, source="test").splitlines()
    assert lines[0] == "##gff-version 3"
    assert lines[1] == "##sequence-region a%20x 1 50"
    for line in lines:
        if not line.startswith("#"):
            cells = line.split("\t")
            assert len(cells) == 9
            assert 1 <= int(cells[3]) <= int(cells[4])
            assert cells[6] in "+-."
            assert (cells[7] in "012") == (cells[2] == "CDS")


def test_bed_is_half_open_and_sorted() -> None:
    rows = [line.split("\t") for line in bed_text(FOUND).splitlines()]
    assert [row[0] for row in rows] == ["a x", "b", "b"]
    assert rows[1][1:] == ["10", "40", "CDS_1", "990", "-"]


def test_what_cannot_be_written() -> None:
    with pytest.raises(RangeError, match="expected 0 <= start < end"):
        Prediction("b", 5, 5, 1, "CDS", 1.0)
    with pytest.raises(RangeError, match="ends beyond its contig of 20 bases"):
        gff3_text(FOUND[:1], {"b": 20}, source="test")
