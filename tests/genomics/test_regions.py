from collections.abc import Callable
from pathlib import Path

import pytest

from titans_seq.errors import InputFileError, RangeError
from titans_seq.genomics import CLASS_NAMES, Features, Genome, check_names, class_track, read_annotation


def features_of(tmp_path: Path, *rows: str) -> Features:
    path = tmp_path / "x.gff3"
    path.write_text(
        "".join("\t".join([r[0], "x", r[1], r[2], r[3], ".", "+", ".", r[4]]) + "\n" for r in map(split, rows))
    )
    return read_annotation(path)


def split(row: str) -> list[str]:
    cells = row.split()
    return cells if len(cells) == 5 else [*cells, "."]


def test_the_last_class_wins(tmp_path: Path) -> None:
    rows = ["a gene 1 9", "a CDS 3 5", "a rRNA 5 6", "a mobile_genetic_element 4 7", "a match 1 12", "b CDS 1 2"]
    track = class_track(features_of(tmp_path, *rows), "a", 12)
    named = [CLASS_NAMES[code] for code in track]
    assert named == ["genic"] * 2 + ["CDS", "repeat", "rRNA", "rRNA", "repeat", "genic", "genic"] + ["intergenic"] * 3


def test_circular_contigs_wrap(tmp_path: Path, genome_of: Callable[[dict[str, str]], Genome]) -> None:
    rows = ["a region 1 6 Is_circular=true", "a CDS 5 8"]
    features = features_of(tmp_path, *rows)
    assert class_track(features, "a", 6).tolist() == [2, 2, 0, 0, 2, 2]
    check_names(features, genome_of({"a": "ACGTAC"}))


def test_a_feature_beyond_its_contig(tmp_path: Path, genome_of: Callable[[dict[str, str]], Genome]) -> None:
    features = features_of(tmp_path, "a CDS 5 8")
    with pytest.raises(RangeError, match="ends at 8, beyond 6"):
        class_track(features, "a", 6)
    with pytest.raises(InputFileError, match=r"CDS at 5-8 of 'a' ends beyond its 6 bases.*another assembly"):
        check_names(features, genome_of({"a": "ACGTAC"}))


def test_names_that_do_not_match(tmp_path: Path, genome_of: Callable[[dict[str, str]], Genome]) -> None:
    features = features_of(tmp_path, "1 CDS 1 3", "2 CDS 1 3")
    with pytest.raises(InputFileError, match="expected names such as 'chr1', 'chr2', found '1', '2'"):
        check_names(features, genome_of({"chr1": "ACGT", "chr2": "ACGT"}))
    check_names(features, genome_of({"2": "ACGT", "chr2": "ACGT"}))
    with pytest.raises(InputFileError, match="expected features, found none"):
        check_names(features.select([]), genome_of({"a": "ACGT"}))
