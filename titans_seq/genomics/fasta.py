"""FASTA bytes into a store: headers found here, what stands between them scanned block by block.

What is accepted: `>` lines (the name is the first word, in UTF-8), `;` comment lines, blank lines, spaces and tabs
anywhere inside sequence lines, line ends of Unix, Windows and old Macintosh, upper and lower case, all IUPAC codes.
Every other byte is refused with its line and column, so no letter is ever dropped in silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Final

import numpy as np

from titans_seq.errors import InputFileError
from titans_seq.genomics.alphabet import N_TOKEN, TOKEN_OF_BYTE
from titans_seq.genomics.scan_native import text_scanner
from titans_seq.genomics.writer import Heading, StoreWriter

LONGEST_HEADER: Final = 1 << 20
_SPACE: Final = b"\n \t"
_NEWLINE, _GREATER = 10, 62
_PROTEIN: Final = frozenset("EFILPQZJO*")


def read_fasta(blocks: Iterable[bytes], writer: StoreWriter, *, path: str) -> None:
    """Feed the contigs of a FASTA stream to `writer`.

    Example: ``>a first\\nACG\\nT\\n>b\\nNN\\n`` gives contig ``a`` with tokens 0 1 2 3 and ``b`` with 4 4.

    Raises
    ------
    InputFileError
        FASTQ, protein, digits or other foreign letters (line and column), a sequence before the first header, a
        header without a name, a name that is not UTF-8, twice the same name, a contig without a sequence.
    """
    parser = _Parser(writer, path)
    for block in blocks:
        parser.feed(block, last=False)
    parser.feed(b"", last=True)


class _Parser:
    """The state between blocks: what is held back, the line reached, and the column within it."""

    def __init__(self, writer: StoreWriter, path: str) -> None:
        self._writer = writer
        self._path = path
        self._scan = text_scanner()
        self._held = b""
        self._line = 1
        self._column = 0

    def feed(self, block: bytes, *, last: bool) -> None:
        """Parse one block; an unfinished header or a lone carriage return at its end waits for the next."""
        if not self._held and self._writer.has_contig and self._feed_bases(block):
            return
        text = self._unix_lines(self._held + block if self._held else block, last=last)
        if not last:
            start = text.rfind(b"\n") + 1
            if (start or self._column == 0) and text[start : start + 1] in (b">", b";"):
                self._held = text[start:] + self._held
                text = text[:start]
                if len(self._held) > LONGEST_HEADER:
                    line = self._line + text.count(b"\n")
                    raise InputFileError(self._path, line, expected="a header below 1 MB", found="a longer one")
        if not text:
            return
        starts, ends, lines = self._headers(text)
        begins, ends_of_pieces = [0, *ends], [*starts, len(text)]
        named = [text[start] == _GREATER for start in starts]
        found = self._scan(text, begins, ends_of_pieces, list(accumulate(named, initial=0)))
        if found.counts[0, 0] and not self._writer.has_contig:
            self._refuse_headless(text)
        headings = [
            Heading(self._name(text[start + 1 : end], line), line)
            for start, end, line, is_name in zip(starts, ends, lines, named, strict=True)
            if is_name
        ]
        if found.foreign:
            self._refuse_foreign(text, begins, ends_of_pieces)
        if found.tokens.size or headings:
            self._writer.write(found, headings)
        self._advance(text, newlines=found.newlines)

    def _feed_bases(self, block: bytes) -> bool:
        """The short way for what most blocks are: letters of the open contig, and newlines. False for the rest."""
        if b">" in block or (self._column == 0 and block[:1] == b";"):
            return False
        found = self._scan(block, [0], [len(block)], [0])
        if found.foreign:
            return False
        if found.tokens.size:
            self._writer.write(found, [])
        self._advance(block, newlines=found.newlines)
        return True

    def _advance(self, text: bytes, *, newlines: int) -> None:
        newline = text.rfind(b"\n")
        self._column = len(text) - newline - 1 if newline >= 0 else self._column + len(text)
        self._line += newlines

    def _unix_lines(self, text: bytes, *, last: bool) -> bytes:
        """Line ends as one newline; a carriage return at the very end is held back, its newline may follow."""
        self._held = b""
        if b"\r" not in text:
            return text
        if text.endswith(b"\r") and not last:
            self._held, text = b"\r", text[:-1]
        return text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _headers(self, text: bytes) -> tuple[list[int], list[int], list[int]]:
        """Start, end (of the line) and line number of every header and comment in the block."""
        starts = sorted(place for mark in (b">", b";") for place in self._at_line_starts(text, mark))
        ends, lines = [], []
        line, seen = self._line, 0
        for start in starts:
            line += text.count(b"\n", seen, start)
            end = text.find(b"\n", start)
            seen = end if end >= 0 else len(text)
            ends.append(seen)
            lines.append(line)
        return starts, ends, lines

    def _at_line_starts(self, text: bytes, mark: bytes) -> Iterator[int]:
        if self._column == 0 and text.startswith(mark):
            yield 0
        place = text.find(mark, 1)
        while place > 0:
            if text[place - 1] == _NEWLINE:
                yield place
            place = text.find(mark, place + 1)

    def _name(self, header: bytes, line: int) -> str:
        words = header.split(None, 1)
        if not words or header[:1] in (b" ", b"\t"):
            raise InputFileError(self._path, line, expected="a name right after '>'", found="none")
        try:
            name = words[0].decode("utf-8")
        except UnicodeDecodeError:
            raise InputFileError(
                self._path, line, expected="a contig name in UTF-8", found=repr(words[0])[1:], hint="rename the contig"
            ) from None
        if "\0" in name:
            raise InputFileError(self._path, line, expected="a contig name", found="a zero byte", hint="binary file?")
        return name

    def _refuse_headless(self, text: bytes) -> None:
        """A sequence before the first header: say what the file rather looks like."""
        body = text.lstrip()
        line = self._line + text[: len(text) - len(body)].count(b"\n")
        if body.startswith(b"@"):
            raise InputFileError(
                self._path, line, expected="FASTA", found="FASTQ (a line that begins with '@')", hint="give an assembly"
            )
        if b"\0" in body[:4096]:
            raise InputFileError(self._path, expected="FASTA or GenBank", found="a binary file")
        shown = body.split(b"\n", 1)[0][:30].decode("utf-8", "replace")
        raise InputFileError(
            self._path, line, expected="a '>' header (FASTA) or LOCUS (GenBank) first", found=repr(shown)
        )

    def _refuse_foreign(self, text: bytes, begins: list[int], ends: list[int]) -> None:
        """Name the first byte of the block that is neither a nucleotide code nor space."""
        allowed = np.frombuffer(TOKEN_OF_BYTE, dtype=np.uint8) <= N_TOKEN
        allowed[list(_SPACE)] = True
        raw = np.frombuffer(text, dtype=np.uint8)
        for begin, end in zip(begins, ends, strict=True):
            bad = np.flatnonzero(~allowed[raw[begin:end]])
            if bad.size:
                at = begin + int(bad[0])
                break
        line = self._line + text.count(b"\n", 0, at)
        start = text.rfind(b"\n", 0, at) + 1
        column = at - start + 1 + (self._column if start == 0 else 0)
        letter = chr(text[at]) if 32 < text[at] < 127 else f"byte 0x{text[at]:02x}"
        raise InputFileError(
            self._path,
            line,
            expected="A, C, G, T, U or an IUPAC code",
            found=f"{letter!r} in column {column}",
            hint=_advice(letter),
        )


def _advice(letter: str) -> str:
    if letter.upper() in _PROTEIN:
        return "this looks like protein; a nucleotide FASTA is needed"
    if letter.isdigit():
        return "digits do not belong into FASTA; a GenBank file must begin with LOCUS"
    if letter in "-.~":
        return "this looks like an alignment; remove the gaps"
    if letter in "@+":
        return "this looks like FASTQ; give an assembly"
    return "remove or replace it"
