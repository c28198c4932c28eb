"""GFF3, GTF and GenBank annotation into :class:`~titans_seq.genomics.regions.Features`.

Only in these files are coordinates 1-based and closed; a row ``11 20`` becomes ``10, 20``. Plain or gzip, by content.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any, Final
from urllib.parse import unquote

import numpy as np

from titans_seq.errors import InputFileError
from titans_seq.genomics.genbank import looks_like_genbank, records
from titans_seq.genomics.regions import Attributes, Features
from titans_seq.genomics.sources import Source

_STRANDS: Final = {"+": 1, "-": -1, ".": 0, "?": 0, "": 0}
_PHASES: Final = {"0": 0, "1": 1, "2": 2, ".": -1, "": -1}
_FARTHEST: Final = 1 << 48
_Row = tuple[str, str, int, int, int, int, str]


def read_annotation(path: str | os.PathLike[str], *, types: Iterable[str] | None = None) -> Features:
    """The features of a GFF3, GTF or GenBank file, plain or gzip.

    A GenBank feature of several parts gives one row per part, named by the record's VERSION. A ``##FASTA`` section
    ends the features of a GFF3 file.

    Parameters
    ----------
    path : str or path
        The file.
    types : iterable of str, optional
        Keep only rows of these types.

    Raises
    ------
    InputFileError
        A row without nine columns, a coordinate that is no number or not ``1 <= start <= end``, an unknown strand or
        phase, another kind of file; with its line.
    """
    source = Source(path)
    blocks = source.blocks()
    head = next(blocks, b"")
    stream = _chain(head, blocks)
    wanted = None if types is None else frozenset(types)
    if looks_like_genbank(head):
        rows, parse = _genbank_rows(stream, source.path), parse_gff3_attributes
    else:
        rows, parse = _table_rows(stream, source.path), _attribute_parser(source.path, head)
    kept = [row for row in rows if wanted is None or row[1] in wanted]
    columns: list[Any] = [list(column) for column in zip(*kept, strict=True)] if kept else [[] for _ in range(7)]
    return Features(
        source.path,
        np.array(columns[0], dtype=np.str_),
        np.array(columns[1], dtype=np.str_),
        np.array(columns[2], dtype=np.int64),
        np.array(columns[3], dtype=np.int64),
        np.array(columns[4], dtype=np.int8),
        np.array(columns[5], dtype=np.int8),
        np.array(columns[6], dtype=np.object_),
        parse,
    )


def parse_gff3_attributes(text: str) -> Attributes:
    """``ID=x;Note=a%2Cb,c`` -> ``{"ID": ["x"], "Note": ["a,b", "c"]}``."""
    found: Attributes = {}
    for part in text.split(";"):
        key, equals, value = part.strip().partition("=")
        if equals:
            found.setdefault(unquote(key), []).extend(unquote(item) for item in value.split(","))
    return found


def parse_gtf_attributes(text: str) -> Attributes:
    """``gene_id "x"; exon_number 2;`` -> ``{"gene_id": ["x"], "exon_number": ["2"]}``."""
    found: Attributes = {}
    rest = text.strip()
    while rest:
        key, _, rest = rest.partition(" ")
        rest = rest.lstrip()
        if rest.startswith('"'):
            value, _, rest = rest[1:].partition('"')
            rest = rest.partition(";")[2].lstrip()
        else:
            value, _, rest = rest.partition(";")
            rest = rest.lstrip()
        found.setdefault(key, []).append(value.strip())
    return found


def _attribute_parser(path: str, head: bytes) -> Any:
    """GTF by its extension, or by the look of its first row; GFF3 otherwise."""
    plain = path.lower().removesuffix(".gz").removesuffix(".bgz")
    if plain.endswith((".gff3", ".gff")) or head.startswith(b"##gff-version 3"):
        return parse_gff3_attributes
    first = next((line for line in head.split(b"\n") if line.strip() and not line.startswith(b"#")), b"")
    last = first.rsplit(b"\t", 1)[-1]
    quoted = b'"' in last and b"=" not in last
    return parse_gtf_attributes if quoted or plain.endswith(".gtf") else parse_gff3_attributes


def _table_rows(blocks: Iterable[bytes], path: str) -> Iterator[_Row]:
    for line, text in enumerate(_lines(blocks), start=1):
        if text.startswith("#"):
            if text.startswith("##FASTA"):
                return
            continue
        if not text.strip():
            continue
        if text.startswith(">"):
            if line == 1:
                raise InputFileError(path, 1, expected="GFF3, GTF or GenBank", found="FASTA")
            return
        cells = text.split("\t")
        if len(cells) != 9 and not (len(cells) == 8 or (len(cells) == 10 and not cells[9].strip())):
            hint = "columns must be separated by tabs" if len(cells) == 1 else ""
            raise InputFileError(path, line, expected="nine columns", found=f"{len(cells)}", hint=hint)
        start, end = _coordinates(cells[3], cells[4], path, line)
        strand, phase = _STRANDS.get(cells[6].strip()), _PHASES.get(cells[7].strip())
        if strand is None:
            raise InputFileError(path, line, expected="strand +, - or .", found=repr(cells[6]))
        if phase is None:
            raise InputFileError(path, line, expected="phase 0, 1, 2 or .", found=repr(cells[7]))
        attributes = cells[8] if len(cells) > 8 else ""
        yield unquote(cells[0]) if "%" in cells[0] else cells[0], cells[2], start, end, strand, phase, attributes


def _coordinates(first: str, last: str, path: str, line: int) -> tuple[int, int]:
    try:
        start, end = int(first), int(last)
    except ValueError:
        raise InputFileError(path, line, expected="start and end as numbers", found=f"{first!r} {last!r}") from None
    if not 1 <= start <= end <= _FARTHEST:
        raise InputFileError(path, line, expected="1 <= start <= end", found=f"{start} .. {end}")
    return start - 1, end


def _genbank_rows(blocks: Iterable[bytes], path: str) -> Iterator[_Row]:
    for record, _ in records(blocks, path=path):
        for feature in record.features:
            if feature.type == "source" or feature.location is None:
                continue
            codon_start = feature.qualifiers.get("codon_start", ["1"])[0]
            text = ";".join(
                f"{key}={','.join(_escaped(str(value)) for value in values)}"
                for key, values in feature.qualifiers.items()
                if key != "translation"
            )
            phase = int(codon_start) - 1 if feature.type == "CDS" and codon_start in ("1", "2", "3") else -1
            for part in feature.location.parts:  # in the order of translation, so phases run along it
                start, end = int(part.start), int(part.end)
                if end <= start:
                    continue
                yield str(record.id), feature.type, start, end, int(part.strand or 0), phase, text
                if phase >= 0:
                    phase = (phase - (end - start)) % 3


def _escaped(value: str) -> str:
    for letter in "%;,=&":
        value = value.replace(letter, f"%{ord(letter):02X}")
    return value.replace("\n", " ")


def _chain(head: bytes, blocks: Iterable[bytes]) -> Iterator[bytes]:
    yield head
    yield from blocks


def _lines(blocks: Iterable[bytes]) -> Iterator[str]:
    """Lines without their ends, whatever the line ends; bytes that are not UTF-8 become U+FFFD."""
    held = b""
    for block in blocks:
        *whole, held = (held + block).split(b"\n")
        for line in whole:
            yield line.rstrip(b"\r").decode("utf-8", "replace")
    if held:
        yield held.decode("utf-8", "replace")
