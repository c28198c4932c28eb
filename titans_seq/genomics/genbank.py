"""GenBank flat files: their sequences into a store, their features into columns. The only file that needs biopython.

Both readers take the blocks of a :class:`~titans_seq.genomics.sources.Source`, so `.gb.gz` works like `.gb`. One
record at a time is held in RAM.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from titans_seq.errors import InputFileError
from titans_seq.genomics.alphabet import N_TOKEN
from titans_seq.genomics.letters import coded_bytes
from titans_seq.genomics.scan import scan_letters
from titans_seq.genomics.writer import Heading, StoreWriter

if TYPE_CHECKING:
    from Bio.SeqRecord import SeqRecord

_PIECE: Final = 1 << 20


def looks_like_genbank(head: bytes) -> bool:
    """Whether the first bytes of a file are those of a GenBank record."""
    return head.lstrip().startswith(b"LOCUS")


def read_genbank(blocks: Iterable[bytes], writer: StoreWriter, *, path: str) -> None:
    """Feed the sequences of GenBank records to `writer`; a contig is named by its VERSION (or LOCUS).

    Raises
    ------
    InputFileError
        A record without a sequence, cut short, of protein, or with a name seen before.
    """
    for record, line in records(blocks, path=path):
        letters = bytes(record.seq or b"")
        name = str(record.id)
        if record.annotations.get("molecule_type") == "protein":
            raise InputFileError(path, line, expected="DNA or RNA", found=f"protein record {name!r}")
        headings = [Heading(name, line)]
        for start in range(0, len(letters), _PIECE):
            # GenBank prints its sequence in lower case throughout: that is no soft mask.
            coded = coded_bytes(letters[start : start + _PIECE].upper())
            if coded.foreign:
                at = start + int(np.flatnonzero(coded.tokens > N_TOKEN)[0])
                raise InputFileError(
                    path,
                    line,
                    expected="A, C, G, T, U or an IUPAC code",
                    found=f"{chr(letters[at])!r} at base {at + 1} of {name!r}",
                )
            writer.write(scan_letters(coded, [coded.tokens.size], [len(headings)]), headings)
            headings = []


def records(blocks: Iterable[bytes], *, path: str) -> Iterator[tuple[SeqRecord, int]]:
    """Records with a sequence, each with the line of its end.

    Raises
    ------
    InputFileError
        What biopython refuses, a record without a sequence, a last record that is cut short, or no record at all.
    """
    from Bio import BiopythonWarning, SeqIO
    from Bio.Seq import UndefinedSequenceError

    handle = _CountingText(blocks)
    parsed = SeqIO.parse(handle, "genbank")
    found = False
    while True:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", BiopythonWarning)
                record = next(parsed, None)
        except InputFileError:
            raise
        except Exception as error:  # biopython raises ValueError, AssertionError and others on damaged records
            problem = " ".join(str(error).split()) or type(error).__name__
            raise InputFileError(path, handle.line, problem=f"not a GenBank record ({problem[:200]})") from None
        if record is None:
            break
        found = True
        try:
            length = len(bytes(record.seq or b""))
        except UndefinedSequenceError:
            length = 0
        if length == 0:
            raise InputFileError(
                path,
                handle.line,
                expected=f"a sequence (ORIGIN) in record {record.id!r}",
                found="none",
                hint="download the record with its sequence (GenBank full)",
            )
        yield record, handle.line
    if not found:
        raise InputFileError(path, expected="GenBank records", found="none")
    if handle.last.strip() != "//":
        raise InputFileError(path, handle.line, expected="'//' at the end", found="a GenBank record that is cut short")


class _Blocks(io.RawIOBase):
    """An iterator of blocks as a raw stream."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._blocks = iter(blocks)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            block = next(self._blocks, None)
            if block is None:
                return 0
            self._rest = memoryview(block)
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


class _CountingText:
    """A text stream, as far as biopython uses one, that counts its lines and keeps the last one with content."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        raw = io.BufferedReader(_Blocks(blocks), 1 << 16)
        self._text = io.TextIOWrapper(raw, encoding="utf-8", errors="replace")
        self.line = 0
        self.last = ""

    def read(self, size: int = -1) -> str:
        return self._text.read(size)

    def readline(self) -> str:
        text = self._text.readline()
        self.line += bool(text)
        if text.strip():
            self.last = text
        return text

    def __iter__(self) -> Iterator[str]:
        return iter(self.readline, "")

    def close(self) -> None:
        self._text.close()
