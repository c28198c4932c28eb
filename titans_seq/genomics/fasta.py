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
_BITE: Final = 1 << 19
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
        """Parse one block, in bites, so that tokens are still in the processor's cache when they are written."""
        at = 0
        while at < len(block):
            if not self._held and self._writer.has_contig:
                at = self._feed_bases(block, at)
            self._feed_text(block[at : at + _BITE], last=False)
            at += _BITE
        if last:
            self._feed_text(b"", last=True)

    def _feed_bases(self, block: bytes, at: int) -> int:
        """The short way for what most bites are: letters of the open contig, and newlines. The place it led to."""
        while at < len(block):
            end = min(at + _BITE, len(block))
            found = self._scan(block, [at], [end], [0])
            if found.foreign:
                break
            if found.tokens.size:
                self._writer.write(found, [])
            self._advance(block, at, end, newlines=int(found.newlines[0]))
            at = end
        return at

    def _feed_text(self, block: bytes, *, last: bool) -> None:
        """The long way: an unfinished header or a lone carriage return at the end waits for the next bite."""
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
        starts, line_ends = self._headers(text)
        begins, ends = [0, *line_ends], [*starts, len(text)]
        named = [text[start] == _GREATER for start in starts]
        found = self._scan(text, begins, ends, list(accumulate(named, initial=0)))
        if found.counts[0, 0] and not self._writer.has_contig:
            self._refuse_headless(text)
        newlines = found.newlines.tolist()
        if found.foreign:  # refused below, unless a name is; what was scanned may be cut off
            newlines = [text.count(b"\n", begin, end) for begin, end in zip(begins, ends, strict=True)]
        lines = accumulate(newlines[:-1], initial=self._line)
        next(lines)
        headings = [
            Heading(self._name(text[start + 1 : end], line), line)
            for start, end, line, is_name in zip(starts, line_ends, lines, named, strict=True)
            if is_name
        ]
        if found.foreign:
            self._refuse_foreign(text, begins, ends)
        if found.tokens.size or headings:
            self._writer.write(found, headings)
        self._advance(text, 0, len(text), newlines=sum(newlines))

    def _advance(self, text: bytes, start: int, end: int, *, newlines: int) -> None:
        newline = text.rfind(b"\n", start, end)
        self._column = end - newline - 1 if newline >= 0 else self._column + end - start
        self._line += newlines

    def _unix_lines(self, text: bytes, *, last: bool) -> bytes:
        """Line ends as one newline; a carriage return at the very end is held back, its newline may follow."""
        self._held = b""
        if b"\r" not in text:
            return text
        if text.endswith(b"\r") and not last:
            self._held, text = b"\r", text[:-1]
        return text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _headers(self, text: bytes) -> tuple[list[int], list[int]]:
        """Start and end (of the line) of every header and comment in the block."""
        starts = sorted(place for mark in (b">", b";") for place in self._at_line_starts(text, mark))
        ends = [text.find(b"\n", start) for start in starts]
        return starts, [end if end >= 0 else len(text) for end in ends]

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
