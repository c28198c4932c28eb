"""Labelled sequences: every layout gives the same set, parts never share a sequence, bad input names file and line."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import polars
import pytest

from titans_seq.errors import TitansError
from titans_seq.genomics.alphabet import decode, reverse_complement
from titans_seq.genomics.labelled import (
    LabelledSequences,
    check_parts,
    check_trainable,
    drop_repeated,
    drop_seen,
    fold_numbers,
    held_out_rows,
    keys,
)
from titans_seq.genomics.labelled_files import (
    Columns,
    open_labelled,
    read_intervals,
    read_split_table,
    read_unlabelled,
)
from titans_seq.genomics.store import open_genome

ROWS = [("ACGTAC", "no"), ("TTTGACA", "yes"), ("GGGN", "no"), ("CATCAT", "yes")]


def write(path: Path, text: str) -> str:
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return str(path)


def table(tmp_path: Path, rows: list[tuple[str, str]] = ROWS, *, end: str = "\n", name: str = "a.csv") -> str:
    return write(tmp_path / name, end.join(["sequence,label", *(f"{s},{y}" for s, y in rows)]) + end)


def pairs(data: LabelledSequences) -> set[tuple[str, str]]:
    return {(decode(s), data.classes[y]) for s, y in zip(data, data.labels, strict=True)}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_a_table_with_any_line_ends(tmp_path: Path, end: str, name: str) -> None:
    data = open_labelled([table(tmp_path, end=end, name=name)])
    assert pairs(data) == {(s, y) for s, y in ROWS}
    assert (data.classes, data.labels.tolist()) == (("no", "yes"), [0, 1, 0, 1])
    assert data.line.tolist() == [2, 3, 4, 5]


def test_every_layout_gives_the_same_set(tmp_path: Path) -> None:
    first = open_labelled([table(tmp_path)])
    tabs = write(tmp_path / "b.tsv", "y\tid\tseq\n" + "".join(f"{y}\t1\t {s.lower()} \n" for s, y in ROWS))
    bare = write(tmp_path / "c.csv", "".join(f"{y},   NAME-1,   {s}\n" for s, y in ROWS))
    frame = tmp_path / "d.parquet"
    polars.DataFrame({"sequence": [s for s, _ in ROWS], "label": [y for _, y in ROWS]}).write_parquet(frame)
    yes = write(tmp_path / "yes.fa", "".join(f"> 12\n{s[:3]}\n{s[3:]}\n\n" for s, y in ROWS if y == "yes"))
    no = write(tmp_path / "no.fa.gz", "".join(f">same\r\n{s}\r\n" for s, y in ROWS if y == "no"))
    for data in (
        open_labelled([tabs], columns=Columns("seq", "y", "id")),
        open_labelled([bare], columns=Columns(header=("label", "name", "sequence"))),
        open_labelled([str(frame)]),
        open_labelled([yes, no]),
        open_labelled([f"yes={yes}", f"no={no}"]),
    ):
        assert pairs(data) == pairs(first)
        assert data.classes[-1] == "yes"


def test_numbered_labels_sort_as_numbers(tmp_path: Path) -> None:
    assert open_labelled([table(tmp_path, [("A", "10"), ("C", "2"), ("G", "0")])]).classes == ("0", "2", "10")


def test_intervals_of_a_genome(tmp_path: Path) -> None:
    fasta = write(tmp_path / "g.fa", ">one\nAACCGGTT\n>two\nACGTNACG\n")
    genome = open_genome(fasta, cache_dir=tmp_path / "cache")
    bed = write(
        tmp_path / "x.bed", "#c\ts\te\tname\tscore\tstrand\tkind\none\t0\t3\ta\t0\t-\tp\r\ntwo\t3\t6\tb\t0\t.\tq\n"
    )
    data = open_labelled([bed], genome=genome)
    assert [decode(s) for s in data] == ["GTT", "TNA"]
    assert data.spans is not None
    assert data.spans.tolist() == [[0, 0, 3, -1], [1, 3, 6, 1]]
    assert pairs(open_labelled([bed], genome=genome, columns=Columns(label="kind"))) == {("GTT", "p"), ("TNA", "q")}
    assert open_labelled([bed], genome=genome, columns=Columns(label="7")).classes == ("p", "q")
    bare = read_intervals(write(tmp_path / "y.bed", "one\t0\t3\none\t2\t5\tb\n"), genome, labelled=False)
    assert (bare.names, bare.labels.tolist()) == (("one:0-3(.)", "b"), [-1, -1])
    wrong = {
        "one\t5\t9\ta": "at most 8",
        "chr1\t0\t1\ta": "no contig 'chr1'",
        "one\t3\t3\ta": "start < end",
        "one\t0\t3": "label in column 4",
        "one\t0\t3\ta\t0\t?": "strand",
    }
    for line, words in wrong.items():
        with pytest.raises(TitansError, match=words) as problem:
            open_labelled([write(tmp_path / "bad.bed", f"one\t0\t3\ta\n{line}\n")], genome=genome)
        assert "bad.bed, line 2" in str(problem.value)


BAD = {
    "no label column": ("seq,y\nACGT,1\n", r"no column 'sequence'; there are 'seq', 'y'"),
    "empty": ("", "empty file"),
    "header only": ("sequence,label\n", "found none"),
    "letters": ("sequence,label\nACGT,1\nACGJ,0\n", r"line 3: position 3: .*'J'"),
    "fields": ("sequence,label\nACGT,1\nACGT\n", r"line 3: expected 2 fields, found 1"),
    "no label": ("sequence,label\nACGT,1\nACG,\n", r"line 3: expected a label"),
    "no sequence": ("sequence,label\n,1\n", r"line 2: expected a sequence"),
    "one class": ("sequence,label\nACGT,1\nACG,1\n", r"two classes, found 2 of one \('1'\)"),
    "two labels": ("sequence,label\nACGT,1\nAAA,0\nacgt,0\n", r"line 4: .*'0' here and '1' at line 2"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_table_that_cannot_be_used(tmp_path: Path, kind: str) -> None:
    text, words = BAD[kind]
    path = write(tmp_path / "bad.csv", text)
    with pytest.raises(TitansError, match=words) as problem:
        check_trainable(open_labelled([path]))
    assert "bad.csv" in str(problem.value)
    assert "\n" not in str(problem.value)


def test_other_sources_that_cannot_be_used(tmp_path: Path) -> None:
    fasta, csv = write(tmp_path / "a.fa", ">x\nACGT\n"), table(tmp_path)
    for sources, words in (([fasta], "one FASTA file is one class"), ([fasta, csv], "found both"), ([], "found none"),
                           ([f"a={fasta}", f"a={fasta}"], "a name twice"), (["no.csv"], "no such file")):  # fmt: skip
        with pytest.raises(TitansError, match=words):
            open_labelled(sources)
    bad = write(tmp_path / "b.fa", ">x\nACGT\n>y\nACGQ\n")
    with pytest.raises(TitansError, match=r"b.fa, line 4"):
        open_labelled([fasta, bad])
    with pytest.raises(TitansError, match=r"b.fa, line 3: expected a sequence"):
        open_labelled([fasta, write(tmp_path / "b.fa", ">x\nACGT\n>y\n")])


def test_sequences_with_two_labels_can_be_dropped(tmp_path: Path) -> None:
    data = open_labelled([table(tmp_path, [*ROWS, ("ACGTAC", "yes")])])
    assert pairs(check_trainable(data, conflicts="drop")) == {(s, y) for s, y in ROWS[1:]}


def test_a_split_column(tmp_path: Path) -> None:
    text = "sequence,label,part\nAC,1,train\nGT,0,train\nAA,1,valid\nCC,0,TEST\n"
    parts = read_split_table([write(tmp_path / "s.csv", text)], Columns(), split_column="part")
    assert {name: len(data) for name, data in parts.items()} == {"train": 2, "dev": 1, "test": 1}
    assert parts["dev"].classes == parts["train"].classes == ("0", "1")
    assert parts["dev"].labels.tolist() == [1]
    with pytest.raises(TitansError, match=r"line 2: expected train, dev or test, found 'x'"):
        read_split_table([write(tmp_path / "t.csv", "sequence,label,part\nAC,1,x\n")], Columns(), split_column="part")


def test_a_test_part_that_is_the_training_part(tmp_path: Path) -> None:
    data = open_labelled([table(tmp_path)])
    with pytest.raises(TitansError, match="every sequence of the test part is also in the training part"):
        check_parts(data, data.take(np.array([2, 0])), name="test")


def random_set(count: int = 60, *, seed: int = 0) -> LabelledSequences:
    random = np.random.default_rng(seed)
    lengths = random.integers(5, 30, count)
    tokens = random.integers(0, 4, lengths.sum()).astype(np.uint8)
    offsets = np.r_[0, np.cumsum(lengths)]
    zeros = np.zeros(count, dtype=np.int64)
    labels = (np.arange(count) % 3 == 0).astype(np.int64)
    data = LabelledSequences(tokens, offsets, labels, ("a", "b"), ("",) * count, ("x.csv",), zeros, zeros)
    # A copy of the first, and the other strand of the fourth (of one class each).
    pieces = [*data, data[0], reverse_complement(data[3])]
    return LabelledSequences(
        np.concatenate(pieces), np.r_[0, np.cumsum([len(p) for p in pieces])], np.r_[labels, labels[0], labels[3]],
        ("a", "b"), ("",) * len(pieces), ("x.csv",), np.r_[zeros, 0, 0], np.r_[zeros, 0, 0],
    )  # fmt: skip


def test_parts_never_share_a_sequence_of_either_strand() -> None:
    data = random_set()
    held = held_out_rows(data, fraction=0.25, seed=1)
    rest = np.setdiff1d(np.arange(len(data)), held)
    strands = keys(data, both_strands=True)
    assert not {strands[row] for row in held} & {strands[row] for row in rest}
    assert np.bincount(data.labels[held]).tolist() == pytest.approx([10, 5], abs=2)
    assert held_out_rows(data, fraction=0.25, seed=1).tolist() == held.tolist()
    fold = fold_numbers(data, folds=5, seed=0)
    assert fold[0] == fold[60]
    assert fold[3] == fold[61]
    assert np.bincount(fold).min() >= 10
    with pytest.raises(TitansError, match="class 'b' has 20 different sequences, too few"):
        fold_numbers(data, folds=30, seed=0)


def test_what_is_held_out_leaves_the_training_part() -> None:
    data = random_set()
    held = data.take(np.array([0, 5]))
    left = drop_seen(data, held)
    assert len(left) == len(data) - 3  # the first has a copy
    assert not set(keys(left)) & set(keys(held))
    assert len(drop_repeated(data)) == len(data) - 1


def test_to_be_classified(tmp_path: Path) -> None:
    fasta = read_unlabelled(write(tmp_path / "a.fa", ">x one\nACGT\n>y\nAC\n"))
    assert (fasta.names, fasta.labels.tolist(), fasta.lengths.tolist()) == (("x", "y"), [-1, -1], [4, 2])
    assert read_unlabelled(table(tmp_path)).labels.tolist() == [0, 1, 0, 1]
    assert read_unlabelled(write(tmp_path / "b.csv", "sequence\nACGT\n")).labels.tolist() == [-1]
