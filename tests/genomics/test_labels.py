"""Labels of bases: frames on both strands, splicing, overlaps, what is left out; bad annotations with their line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from titans_seq.errors import ConfigError, InputFileError, UnknownNameError
from titans_seq.genomics.bed_features import read_labels
from titans_seq.genomics.labels import IGNORED, LabelCounts, LabelScheme, LabelTracks, check_classes, label_tracks

Make = Callable[..., LabelTracks]
CDS = LabelScheme(("CDS",))


@pytest.fixture
def tracks(tmp_path: Path) -> Make:
    def make(
        rows: list[str],
        *,
        length: int = 30,
        scheme: LabelScheme = CDS,
        counts: LabelCounts | None = None,
        end: str = "\n",
    ) -> LabelTracks:
        path = tmp_path / "made.gff3"
        cells = ["\t".join(row.split(maxsplit=8)) for row in rows]
        path.write_text(end.join(["##gff-version 3", *cells, ""]), newline="")
        features = read_labels(path)
        return label_tracks(features, "c", length, scheme, LabelCounts() if counts is None else counts)

    return make


def text(row: np.ndarray) -> str:
    return "".join("." if value == 0 else "x" if value == IGNORED else str(value) for value in row.tolist())


def test_codon_positions_run_with_the_strand(tracks: Make) -> None:
    found = tracks(["c s CDS 4 9 . + 0 ID=a", "c s CDS 13 18 . - 0 ID=b"], length=20)
    assert text(found.states[0]) == "...123123..........."
    assert text(found.states[1]) == "............321321.."
    assert np.flatnonzero(found.sites[0]).tolist() == [3]
    assert np.flatnonzero(found.sites[1]).tolist() == [17]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_phases_carry_a_frame_across_introns(tracks: Make, end: str) -> None:
    given = tracks(["c s CDS 1 4 . + 0 ID=a", "c s CDS 11 15 . + 2 ID=a"], length=16, end=end)
    assert text(given.states[0]) == "1231......23123."
    counts = LabelCounts()
    missing = tracks(["c s CDS 1 4 . + . ID=a", "c s CDS 11 15 . + . ID=a"], length=16, counts=counts)
    assert text(missing.states[0]) == text(given.states[0])
    assert counts.without_phase == 2
    reverse = tracks(["c s CDS 2 6 . - 2 ID=a", "c s CDS 13 16 . - 0 ID=a"], length=16)
    assert text(reverse.states[1])[::-1] == "1231......23123."


def test_the_first_class_wins_and_within_it_the_longer(tracks: Make) -> None:
    scheme = LabelScheme(("tRNA", "CDS"))
    found = tracks(["c s tRNA 5 7 . + . ID=t", "c s CDS 1 12 . + 0 ID=a", "c s CDS 8 13 . + 0 ID=b"], scheme=scheme)
    assert scheme.states == ("none", "tRNA", "CDS/0", "CDS/1", "CDS/2")
    assert text(found.states[0][:14]) == "2342111342344."  # b shows only where a has ended


def test_what_is_not_learned_from(tracks: Make) -> None:
    counts = LabelCounts()
    rows = ["c s CDS 1 4 . + 0 ID=a", "c s CDS 7 12 . + 0 ID=b;pseudo=true", "c s pseudogene 14 16 . + . ID=p"]
    found = tracks(rows, length=18, counts=counts)
    assert text(found.states[0]) == "xxxx..xxxxxx.xxx.."
    assert len(counts.broken) == 1
    assert counts.pseudo == 2


def test_introns_lie_between_exons(tracks: Make) -> None:
    rows = ["c s exon 1 3 . + . ID=e1;Parent=t", "c s exon 8 10 . + . ID=e2;Parent=t", "c s intron 20 25 . + . ID=i"]
    found = tracks(rows, scheme=LabelScheme(("exon", "intron"), ()), length=26)
    assert text(found.states[0]) == "1112222111................"


def test_a_feature_of_a_circular_contig_goes_on_at_its_start(tracks: Make) -> None:
    rows = ["c s region 1 12 . + . ID=c;Is_circular=true", "c s CDS 10 15 . + 0 ID=a"]
    assert text(tracks(rows, length=12).states[0]) == "123......123"


def test_a_feature_beyond_the_end_is_named_with_its_line(tracks: Make) -> None:
    with pytest.raises(InputFileError, match=r"made.gff3, line 3: CDS at 25-33 of 'c' ends beyond its 30 bases"):
        tracks(["c s CDS 1 3 . + 0 ID=a", "c s CDS 25 33 . + 0 ID=b"])


def test_an_unknown_class_lists_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "some.bed"
    path.write_text("c\t0\t9\tCDS\t0\t+\nc\t3\t6\trRNA\n")
    features = read_labels(path)
    with pytest.raises(UnknownNameError, match=r"no row of class 'tRNA'; there are CDS \(1\), rRNA \(1\)"):
        check_classes(features, LabelScheme(("tRNA",), ()))
    with pytest.raises(ConfigError, match="different class names"):
        LabelScheme(("CDS", "CDS"))
    found = label_tracks(features, "c", 10, LabelScheme(("CDS", "rRNA")), LabelCounts())
    assert text(found.states[0]) == "123123123."
    assert text(found.states[1]) == "...444...."  # a feature without a strand is on both


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("c\t5\t9", "line 1: expected contig, start, end and a class"),
        ("c\tfive\t9\tCDS", "line 1: expected start and end as numbers"),
        ("c\t9\t5\tCDS", "line 1: expected 0 <= start < end, found 9 .. 5"),
        ("c\t1\t5\tCDS\t0\t*", r"line 1: expected strand \+, - or ., found '\*'"),
    ],
)
def test_bad_bed_rows(tmp_path: Path, row: str, message: str) -> None:
    path = tmp_path / "bad.bed"
    path.write_text(row + "\r\n")
    with pytest.raises(InputFileError, match=message):
        read_labels(path)
