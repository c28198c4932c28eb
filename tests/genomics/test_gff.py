import gzip
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from titans_seq.errors import InputFileError
from titans_seq.genomics import read_annotation

GFF = (
    "##gff-version 3\n"
    "# a comment\n"
    "chr1\tx\tgene\t11\t20\t.\t+\t.\tID=g;Note=a%2Cb,c;Parent=p\n"
    "\n"
    "chr1\tx\tCDS\t11\t19\t.\t-\t2\tID=c\r\n"
    "chr%202\tx\tregion\t1\t1\t.\t?\t.\t.\n"
    "##FASTA\n>chr1\nACGT\n"
)


def write(tmp_path: Path, text: str, name: str = "x.gff3") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def test_columns_are_zero_based_half_open(tmp_path: Path) -> None:
    features = read_annotation(write(tmp_path, GFF))
    assert len(features) == 3
    assert features.seqid.tolist() == ["chr1", "chr1", "chr 2"]
    assert features.start.tolist() == [10, 10, 0]
    assert features.end.tolist() == [20, 19, 1]
    assert features.strand.tolist() == [1, -1, 0]
    assert features.phase.tolist() == [-1, 2, -1]
    assert features.attributes(0) == {"ID": ["g"], "Note": ["a,b", "c"], "Parent": ["p"]}
    assert features.attributes(2) == {}


def test_select_and_types(tmp_path: Path) -> None:
    path = tmp_path / "x.gff3.gz"
    path.write_bytes(gzip.compress(GFF.encode()))
    assert read_annotation(path, types=["CDS"]).type.tolist() == ["CDS"]
    features = read_annotation(path)
    assert len(features.select(seqid="chr1")) == 2
    assert len(features.select(["gene", "region"], seqid="chr1")) == 1
    assert len(features.select(["nothing"])) == 0
    assert len(read_annotation(path, types=["nothing"])) == 0


@pytest.mark.parametrize("name", ["x.gtf", "x.txt"])
def test_gtf_attributes(tmp_path: Path, name: str) -> None:
    row = 'chr1\tx\texon\t5\t9\t.\t+\t.\tgene_id "a; b"; exon_number 2; gene_id "c"\n'
    assert read_annotation(write(tmp_path, row, name)).attributes(0) == {"gene_id": ["a; b", "c"], "exon_number": ["2"]}


def test_genbank_parts_and_phases(tmp_path: Path) -> None:
    text = """LOCUS       AB1          20 bp    DNA     linear   BCT 01-JAN-2020
VERSION     AB1.2
FEATURES             Location/Qualifiers
     source          1..20
     gene            complement(3..8)
                     /gene="x=1"
     CDS             join(1..4,9..14)
                     /codon_start=2
ORIGIN
        1 acgtacgtac gtacgtacgt
//
"""
    features = read_annotation(write(tmp_path, text, "x.gb"))
    assert features.type.tolist() == ["gene", "CDS", "CDS"]
    assert list(zip(features.start.tolist(), features.end.tolist(), strict=True)) == [(2, 8), (0, 4), (8, 14)]
    assert features.strand.tolist() == [-1, 1, 1]
    assert features.phase.tolist() == [-1, 1, 0]
    assert features.attributes(0) == {"gene": ["x=1"]}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("chr1 x gene 1 2 . + . ID=a\n", "line 1: expected nine columns, found 1; columns must be separated by tabs"),
        ("chr1\tx\tgene\ta\t2\t.\t+\t.\tID=a\n", "line 1.*numbers"),
        ("chr1\tx\tgene\t0\t2\t.\t+\t.\tID=a\n", "line 1.*1 <= start <= end, found 0 .. 2"),
        ("#\nchr1\tx\tgene\t3\t2\t.\t+\t.\tID=a\n", "line 2.*found 3 .. 2"),
        ("chr1\tx\tgene\t1\t2\t.\tx\t.\tID=a\n", "line 1.*strand"),
        ("chr1\tx\tgene\t1\t2\t.\t+\t7\tID=a\n", "line 1.*phase"),
        ("chr1\tx\tgene\t1\t" + "9" * 30 + "\t.\t+\t.\tID=a\n", "line 1.*1 <= start <= end"),
        (">chr1\nACGT\n", "line 1.*found FASTA"),
        ("", "empty file"),
    ],
)
def test_bad_rows_have_their_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InputFileError, match=words):
        read_annotation(write(tmp_path, text))


PIECES = st.sampled_from(
    [b"chr1", b"\t", b"\t1", b"\t9", b"+", b".", b"\n", b"\r\n", b"#", b"ID=a;b", b"\xff", b"%2", b">x"]
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.lists(PIECES | st.just(b"chr1\tx\tCDS\t1\t9\t.\t+\t0\tID=c\n"), max_size=20))
def test_random_bytes_give_rows_or_one_clear_line(tmp_path: Path, parts: list[bytes]) -> None:
    path = tmp_path / "random.gff3"
    path.write_bytes(b"".join(parts))
    try:
        features = read_annotation(path)
    except InputFileError:
        return
    assert ((features.start >= 0) & (features.start < features.end)).all()
    for row in range(len(features)):
        features.attributes(row)
