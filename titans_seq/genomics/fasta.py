"""FASTA bytes into a store: headers found and letters checked block by block, with numpy and bytes operations only.

What is accepted: `>` lines (the name is the first word, in UTF-8), `;` comment lines, blank lines, spaces and tabs
anywhere inside sequence lines, line ends of Unix, Windows and old Macintosh, upper and lower case, all IUPAC codes.
Every other byte is refused with its line and column, so no letter is ever dropped in silence.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np

from titans_seq.errors import InputFileError
from titans_seq.genomics.alphabet import N_TOKEN, TOKEN_OF_BYTE
from titans_seq.genomics.letters import Coded, code, coded_bytes, letter_room
from titans_seq.genomics.writer import Heading, StoreWriter

LONGEST_HEADER: Final = 1 << 20
_SPACE: Final = b"\n \t"
_NEWLINE, _GREATER, _SEMICOLON = 10, 62, 59
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
        self._held = b""
        self._line = 1
        self._column = 0

    def feed(self, block: bytes, *, last: bool) -> None:
        """Parse one block; an unfinished header or a lone carriage return at its end waits for the next."""
        if not self._held:
            if self._writer.has_contig and self._feed_bases(block):
                return
            if self._column == 0 and block[:1] == b">" and (cut := _end_of_only_header(block)):
                self.feed(block[:cut], last=False)
                self.feed(block[cut:], last=False)
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
        begins = [0, *ends]
        ends_of_pieces = [*starts, len(text)]
        pieces = [text[a:b].replace(b"\n", b"") for a, b in zip(begins, ends_of_pieces, strict=True)]
        if any(b" " in piece or b"\t" in piece for piece in pieces):
            pieces = [piece.translate(None, _SPACE) for piece in pieces]
        if pieces[0] and not self._writer.has_contig:
            self._refuse_headless(text)
        headings = []
        cut = len(pieces[0])
        for start, end, line, piece in zip(starts, ends, lines, pieces[1:], strict=True):
            if text[start] == _GREATER:
                headings.append(Heading(self._name(text[start + 1 : end], line), line, cut))
            elif piece and not headings and not self._writer.has_contig:
                self._refuse_headless(text)
            cut += len(piece)
        coded = coded_bytes(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if coded.foreign:
            self._refuse_foreign(text, begins, ends_of_pieces)
        if coded.tokens.size or headings:
            self._writer.write(coded, headings)
        self._advance(text, newlines=text.count(b"\n"))

    def _feed_bases(self, block: bytes) -> bool:
        """The short way for what most blocks are: lines of one width that hold letters alone. False for the rest."""
        coded = _even_lines(block)
        if coded is None or coded.foreign:
            return False
        self._writer.write(coded, [])
        self._advance(block, newlines=len(block) - coded.tokens.size)
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
        if b">" not in text and b";" not in text:
            return [], [], []
        raw = np.frombuffer(text, dtype=np.uint8)
        marks = np.flatnonzero((raw == _GREATER) | (raw == _SEMICOLON))
        before = np.where(marks > 0, raw[marks - 1], _NEWLINE if self._column == 0 else 0)
        marks = marks[before == _NEWLINE]
        starts: list[int] = marks.tolist()
        ends, lines = [], []
        line, seen = self._line, 0
        for start in starts:
            line += text.count(b"\n", seen, start)
            end = text.find(b"\n", start)
            seen = end if end >= 0 else len(text)
            ends.append(seen)
            lines.append(line)
        return starts, ends, lines

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


def _end_of_only_header(block: bytes) -> int:
    """Where the letters begin in a block that opens with a header and has no other; else 0."""
    cut = block.find(b"\n") + 1
    return cut if 0 < cut < len(block) and block.find(b">", cut) < 0 else 0


def _even_lines(block: bytes) -> Coded | None:
    """The letters of a block whose lines are all as long as its second one, but the first and the last; else None.

    What is cut out between the lines are newlines for certain; what stands in the lines is not looked at.
    """
    raw = np.frombuffer(block, dtype=np.uint8)
    head = block.find(b"\n")
    if head < 0:
        return coded_bytes(block)
    width = block.find(b"\n", head + 1) - head - 1
    if width < 1:
        return None
    count = (raw.size - head - 1) // (width + 1)
    end = head + 1 + count * (width + 1)
    lines = raw[head + 1 : end].reshape(count, width + 1)
    if not np.equal(lines[:, width], _NEWLINE).all():
        return None
    tail = raw[end : raw.size - block.endswith(b"\n")] if end < raw.size else raw[end:]
    size = head + count * width + tail.size
    room = letter_room(size)
    room[:head] = raw[:head]
    room[head : size - tail.size].reshape(count, width)[:] = lines[:, :width]
    room[size - tail.size : size] = tail
    return code(room, size)


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
