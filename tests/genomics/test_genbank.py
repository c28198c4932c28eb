from pathlib import Path

import pytest

from titans_seq.errors import InputFileError
from titans_seq.genomics import decode, open_genome

RECORD = """LOCUS       AB1          20 bp    DNA     linear   BCT 01-JAN-2020
DEFINITION  A made-up record.
ACCESSION   AB1
VERSION     AB1.2
FEATURES             Location/Qualifiers
     source          1..20
     gene            complement(3..8)
                     /gene="x"
     CDS             join(1..4,9..14)
                     /codon_start=2
                     /product="p"
ORIGIN
        1 acgtnnryac gtacgtacgt
//
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "x.gb"
    path.write_text(text)
    return path


def test_sequence_and_version(tmp_path: Path) -> None:
    path = write(tmp_path, RECORD + RECORD.replace("AB1", "AB2"))
    genome = open_genome(path, cache_dir=tmp_path / "c")
    assert genome.names == ("AB1.2", "AB2.2")
    assert decode(genome.tokens("AB1.2")) == "ACGTNNNNACGTACGTACGT"
    assert genome.contigs[0].soft_masked == 0
    assert genome.letters == {"N": 4, "R": 2, "Y": 2}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (RECORD.replace("//\n", ""), "cut short|not a GenBank"),
        (RECORD[: RECORD.index("ORIGIN")], "cut short|not a GenBank|sequence"),
        (RECORD[: RECORD.index("ORIGIN")] + "CONTIG      join(X.1:1..20)\n//\n", "sequence.*none"),
        (RECORD + RECORD, "'AB1.2' occurs twice"),
        (RECORD.replace("acgtnn", "acgt!n"), "'!' at base 5"),
        ("LOCUS", "GenBank"),
    ],
)
def test_bad_records(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InputFileError, match=words):
        open_genome(write(tmp_path, text), cache_dir=tmp_path / "c")
    assert list((tmp_path / "c").glob("stores/*")) == []
