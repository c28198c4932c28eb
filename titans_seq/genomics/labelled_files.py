"""Labelled sequences from files: a FASTA for each class, a table, or intervals of a genome with a label column.

Every reader takes plain, gzip and bgzip files and line ends of every kind, and says file and line where it cannot go
on. Letters are those of the whole project: IUPAC codes become N, anything else is refused.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from titans_seq.errors import ConfigError, InputFileError, TitansError
from titans_seq.genomics.alphabet import Tokens, encode, reverse_complement
from titans_seq.genomics.genome import Genome
from titans_seq.genomics.labelled import UNLABELLED, LabelledSequences, join_labelled
from titans_seq.genomics.labelled_rows import (
    Columns,
    Row,
    bare_name,
    fasta_rows,
    is_fasta,
    numbered_lines,
    place_of,
    table_rows,
)

_PARTS: Final = {"train": "train", "test": "test", **dict.fromkeys(("dev", "valid", "val", "validation"), "dev")}
_STRANDS: Final = {"+": 1, ".": 1, "": 1, "-": -1}


def open_labelled(
    sources: Sequence[str],
    *,
    columns: Columns = Columns(),  # noqa: B008 - frozen
    genome: Genome | None = None,
) -> LabelledSequences:
    """Read one set from what a user names: tables, or BED files of ``genome``, or a FASTA file for each class.

    ``promoter=a.fa other=b.fa`` names the classes; without names they are the stems of the files.

    Raises
    ------
    ConfigError, InputFileError
        Nothing named, tables and FASTA mixed, one FASTA file alone, and what the readers refuse.
    """
    if not sources:
        raise ConfigError("expected files with labelled sequences, found none")
    if genome is not None:
        label = None if columns.label == "label" else columns.label
        return join_labelled([read_intervals(path, genome, label_column=label) for path in sources])
    pairs = [_named(source) for source in sources]
    fasta = [is_fasta(path) for _, path in pairs]
    if not any(fasta):
        return join_labelled([read_table(path, columns) for _, path in pairs])
    if not all(fasta):
        raise ConfigError(f"expected tables only or FASTA files only, found both: {', '.join(sources)}")
    classes = dict(pairs)
    if len(classes) < len(pairs):
        raise ConfigError(f"expected one FASTA file for each class, found a name twice: {', '.join(sources)}")
    if len(classes) == 1:
        raise ConfigError(
            f"{sources[0]}: one FASTA file is one class; give one for each class (NAME=FILE ...), a table with a "
            "label column, or a BED file with --genome"
        )
    # Of two, the first named is what is looked for, and the last class is the positive one.
    return read_classes(dict(reversed(pairs)) if len(pairs) == 2 else classes)


def _named(source: str) -> tuple[str, str]:
    """Part ``name=path``; a path alone is named by its stem."""
    name, sign, path = source.partition("=")
    if sign and name and "/" not in name and not Path(source).exists():
        return name, path
    return Path(bare_name(source)).stem, source


def read_classes(paths: Mapping[str, str]) -> LabelledSequences:
    """Read one FASTA file for each class, ``{class: path}``; names need not be unique, and may be missing."""
    rows, files = [], []
    for label, path in paths.items():
        files.append(path)
        rows.append([Row(row.sequence, label, row.name, row.line) for row in fasta_rows(path)])
        if not rows[-1]:
            raise InputFileError(path, expected="FASTA", found="no sequence")
    return _collect(itertools.chain.from_iterable(rows), files, [len(part) for part in rows], classes=tuple(paths))


def read_unlabelled(path: str, columns: Columns = Columns()) -> LabelledSequences:  # noqa: B008 - frozen
    """Read sequences to be classified from FASTA or a table; a label column that is there is kept."""
    rows = list(fasta_rows(path)) if is_fasta(path) else list(table_rows(path, columns, labelled=False))
    if not rows:
        raise InputFileError(path, expected="sequences", found="none")
    return _collect(rows, [path], [len(rows)])


def read_table(path: str, columns: Columns = Columns()) -> LabelledSequences:  # noqa: B008 - frozen
    """Read a CSV, TSV or Parquet table with a sequence and a label in every row.

    Raises
    ------
    InputFileError
        A column that is not there (with those that are), a row with more or fewer fields, an empty sequence or
        label, a letter that is no nucleotide code.
    """
    rows = list(table_rows(path, columns, labelled=True))
    if not rows:
        raise InputFileError(path, expected="rows with a sequence and a label", found="none")
    return _collect(rows, [path], [len(rows)])


def read_split_table(sources: Sequence[str], columns: Columns, *, split_column: str) -> dict[str, LabelledSequences]:
    """Read tables that say in a column which part a row belongs to.

    Returns
    -------
    dict
        ``train`` and those of ``dev`` and ``test`` that are there; ``valid``, ``val`` and ``validation`` are ``dev``.

    Raises
    ------
    InputFileError
        Another word in that column, or no row for training.
    """
    found: dict[str, list[tuple[str, Row]]] = {}
    for path in sources:
        for row in table_rows(path, columns, labelled=True, split_column=split_column):
            part = _PARTS.get(row.part.lower())
            if part is None:
                raise InputFileError(path, row.line or None, expected="train, dev or test", found=repr(row.part))
            found.setdefault(part, []).append((path, row))
    if "train" not in found:
        raise InputFileError(sources[0], expected="rows with train in the split column", found="none")
    classes = tuple(sorted({row.label or "" for rows in found.values() for _, row in rows}, key=_natural))
    return {
        part: _collect([row for _, row in rows], sources, [sum(p == path for p, _ in rows) for path in sources],
                       classes=classes)
        for part, rows in found.items()
    }  # fmt: skip


def read_intervals(
    path: str, genome: Genome, *, label_column: str | None = None, labelled: bool = True
) -> LabelledSequences:
    """Cut the intervals of a BED file out of a genome.

    Coordinates are 0-based half-open; a sequence on strand ``-`` is reverse-complemented.

    Parameters
    ----------
    label_column
        Number of the label's column from 1, or its name in a ``#`` header line; by default the 4th (BED's name).
    labelled
        False reads intervals to be classified: without ``label_column`` they have no label, and the 4th is their name.
    """
    rows, spans = [], []
    named = label_column is None and not labelled
    for line, fields, at in _bed_rows(path, label_column):
        contig, start, end = _interval(path, line, fields, genome)
        sign = fields[5] if len(fields) > 5 else "."
        if sign not in _STRANDS:
            raise InputFileError(path, line, expected="strand +, - or .", found=repr(sign))
        if at >= len(fields) and not named:
            raise InputFileError(path, line, expected=f"a label in column {at + 1}", found=f"{len(fields)} columns")
        strand = _STRANDS[sign]
        tokens = genome.tokens(contig, start, end)
        spans.append((genome.number(contig), start, end, strand))
        tokens = reverse_complement(tokens) if strand < 0 else tokens.copy()
        name = fields[3] if named and len(fields) > 3 else f"{contig}:{start}-{end}({sign})"
        rows.append((tokens, None if named else fields[at], name, line))
    if not rows:
        raise InputFileError(path, expected="BED intervals with a label", found="none")
    return _assemble(rows, [path], [len(rows)], spans=np.array(spans, dtype=np.int64), contigs=genome.names)


def _bed_rows(path: str, label_column: str | None) -> Iterator[tuple[int, list[str], int]]:
    at = 3 if label_column is None else int(label_column) - 1 if label_column.isdecimal() else None
    for number, line in numbered_lines(path):
        if line.startswith("#") and at is None and label_column is not None:
            header = line.lstrip("#").strip().split("\t")
            at = place_of(path, header, label_column)
        if not line.strip() or line.startswith(("#", "track", "browser")):
            continue
        if at is None:
            raise InputFileError(
                path, number, expected=f"a '#' header line with column {label_column!r} first", found="an interval",
                hint="or give the label's column as a number from 1",
            )  # fmt: skip
        yield number, [field.strip() for field in line.split("\t")], at


def _interval(path: str, line: int, fields: list[str], genome: Genome) -> tuple[str, int, int]:
    if len(fields) < 3 or not (fields[1].isdecimal() and fields[2].isdecimal()):
        raise InputFileError(
            path, line, expected="contig, start, end with tabs between", found=repr(" ".join(fields)[:40])
        )
    contig, start, end = fields[0], int(fields[1]), int(fields[2])
    if start >= end:
        raise InputFileError(path, line, expected="start < end", found=f"{start} .. {end}")
    try:
        length = genome.contig(contig).length
    except TitansError as error:
        raise InputFileError(path, line, problem=str(error)) from None
    if end > length:
        raise InputFileError(path, line, expected=f"an end of at most {length} on {contig!r}", found=f"{end}")
    return contig, start, end


def _collect(
    rows: Iterable[Row], files: Sequence[str], sizes: Sequence[int], *, classes: tuple[str, ...] = ()
) -> LabelledSequences:
    return _assemble([(encode(r.sequence), r.label, r.name, r.line) for r in rows], files, sizes, classes=classes)


def _assemble(
    rows: Sequence[tuple[Tokens, str | None, str, int]],
    files: Sequence[str],
    sizes: Sequence[int],
    *,
    classes: tuple[str, ...] = (),
    spans: np.ndarray | None = None,
    contigs: tuple[str, ...] = (),
) -> LabelledSequences:
    # Classes in sorted order, so that the order of rows in a file is not part of a model.
    classes = classes or tuple(sorted({label for _, label, _, _ in rows if label is not None}, key=_natural))
    number = {name: index for index, name in enumerate(classes)}
    if len(number) != len(classes):
        raise ConfigError(f"expected a name for each class, found {', '.join(classes)}")
    return LabelledSequences(
        tokens=np.concatenate([row[0] for row in rows]),
        offsets=np.concatenate([[0], np.cumsum([len(row[0]) for row in rows])]).astype(np.int64),
        labels=np.array([UNLABELLED if row[1] is None else number[row[1]] for row in rows], dtype=np.int64),
        classes=classes,
        names=tuple(row[2] for row in rows),
        files=tuple(files),
        file=np.repeat(np.arange(len(files)), sizes).astype(np.int64),
        line=np.array([row[3] for row in rows], dtype=np.int64),
        spans=spans,
        contigs=contigs,
    )


def _natural(label: str) -> tuple[int, str]:
    """Sort ``2`` before ``10``."""
    return (int(label), "") if label.isdecimal() else (1 << 62, label)
