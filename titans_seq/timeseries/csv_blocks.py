"""CSV in blocks of whole records, so that a file of any size is read at constant memory, with the line of every row."""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from titans_seq.errors import InputFileError

BLOCK: Final = 4 << 20
"""Bytes read at once; parsing takes some twenty times as much for a moment."""
LONGEST: Final = 64 << 20
"""Bytes in which a record must end; one that does not has a quotation mark too many, or is no text."""
ROW: Final = "__row__"
_NEWLINE, _QUOTE = b"\n"[0], b'"'[0]


@dataclass(frozen=True, slots=True)
class CsvTable:
    """A CSV file, plain or gzip, whose cells stay text.

    Attributes
    ----------
    path
        The file.
    header
        Its first line, without a byte order mark.
    separator
        Between two cells.
    """

    path: Path
    header: str
    separator: str

    @property
    def schema(self) -> pl.Schema:
        """Every column is text."""
        return self._parse(b"", 0, None).drop(ROW).schema

    @property
    def first_line(self) -> int:
        """Line of the first row; the header is line 1."""
        return 2

    def blocks(self, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Give the rows in order, some thousands at once: the columns, and as `ROW` the lines between header and row.

        Blank lines are no rows. A quoted cell may span lines.

        Raises
        ------
        InputFileError
            With the line that has more cells than the header, a stray quotation mark, or bytes that are not UTF-8.
        """
        before = 0
        with open_text(self.path) as file:
            file.readline()
            for block in records(file, path=self.path):
                yield self._parse(block, before, columns)
                before += block.count(b"\n")

    def _parse(self, block: bytes, before: int, columns: Sequence[str] | None) -> pl.DataFrame:
        # Without quotes a blank line is two newlines in a row; with them, only outside of a cell.
        text = self.header.encode() + b"\n" + block
        try:
            frame = pl.read_csv(
                text, separator=self.separator, infer_schema=False, columns=None if columns is None else list(columns)
            )
        except pl.exceptions.PolarsError as error:
            raise self._offender(block, before, str(error)) from None
        starts, lengths = _lines(block)
        if len(starts) != len(frame):
            raise self._offender(block, before, f"{len(frame)} rows in {len(starts)} lines")
        return frame.with_columns(pl.Series(ROW, starts + before)).filter(pl.Series(lengths > 0))

    def _offender(self, block: bytes, before: int, error: str) -> InputFileError:
        """Find the line that the parser stumbled over."""
        cells = len(next(csv.reader([self.header], delimiter=self.separator)))
        opens = re.compile(rf'(^|{re.escape(self.separator)})"')
        quoted: list[int] = []
        for number, raw in enumerate(block.split(b"\n"), start=self.first_line + before):
            try:
                line = raw.decode().rstrip("\r")
            except UnicodeDecodeError as wrong:
                return not_utf8(self.path, number, raw[wrong.start : wrong.start + 1])
            if line.count('"') % 2:
                # What opens a cell may go on in the next line; a mark elsewhere may not.
                quoted.insert(len(quoted) if opens.search(line) or line.endswith('"') else 0, number)
            elif not quoted:
                found = len(next(csv.reader([line], delimiter=self.separator), []))
                if found > cells:
                    return InputFileError(
                        self.path, number, expected=f"{cells} cells, as in the header", found=str(found),
                        hint="a number written 3,14 needs quotation marks, or a table separated by semicolons"
                        if self.separator == "," else "quote cells that hold the separator",
                    )  # fmt: skip
        if quoted:
            return InputFileError(
                self.path, quoted[0], problem="a quotation mark that is not closed",
                hint='double it inside a quoted cell ("" for one), or remove it',
            )  # fmt: skip
        return InputFileError(self.path, expected="a table separated by " + repr(self.separator), found=error)


def open_text(path: Path) -> BinaryIO:
    """Open a file, through gzip where its first bytes say so."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return cast("BinaryIO", gzip.open(path, "rb")) if packed else path.open("rb")


def records(file: BinaryIO, *, path: Path) -> Iterator[bytes]:
    r"""Cut what is left of a file behind ends of lines that lie outside of quoted cells.

    ``1,"2\n3"\n4,5\n6`` in blocks of 8 bytes gives ``1,"2\n3"\n`` and ``4,5\n6``.

    Raises
    ------
    InputFileError
        A broken gzip stream; a record longer than `LONGEST`.
    """
    rest = b""
    while True:
        try:
            part = file.read(BLOCK)
        except (OSError, EOFError, zlib.error) as error:
            raise InputFileError(
                path, problem=f"cannot be read to its end ({error})", hint="fetch or pack the file again"
            ) from None
        data = rest + part
        end = _last_end(data) if part else len(data)
        if end:
            yield data[:end]
        if not part:
            return
        rest = data[end:]
        if len(rest) > LONGEST:
            raise InputFileError(
                path, problem=f"a row of more than {LONGEST >> 20} MB", hint="is a quotation mark not closed?"
            )


def not_utf8(path: Path, line: int, found: bytes) -> InputFileError:
    """The error for bytes that are no text in UTF-8."""
    return InputFileError(
        path, line, expected="text in UTF-8", found=f"the byte 0x{found.hex()}",
        hint="convert it, e.g. iconv -f latin1 -t utf-8 OLD.csv > NEW.csv (utf-16 for a table saved as Unicode)",
    )  # fmt: skip


def _last_end(data: bytes) -> int:
    """Give the position behind the last newline outside of quotes; 0 without one."""
    end = data.rfind(b"\n")
    inside = data.count(b'"', 0, end + 1) % 2
    while end >= 0 and inside:
        earlier = data.rfind(b"\n", 0, end)
        inside ^= data.count(b'"', earlier + 1, end + 1) % 2
        end = earlier
    return end + 1


def _lines(block: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    r"""Give each record's line, from 0, and its length in bytes; ``1,"2\n3"\n\n4`` gives ``0 2 3`` and ``7 0 1``."""
    if not block:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    view = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(view == _NEWLINE)
    lines = np.arange(1, len(ends) + 1)
    if b'"' in block:
        outside = np.searchsorted(np.flatnonzero(view == _QUOTE), ends) % 2 == 0
        ends, lines = ends[outside], lines[outside]
    begins = np.r_[0, ends + 1]
    closed = begins[-1] == len(view)
    stops = ends if closed else np.r_[ends, len(view)]
    begins, lines = begins[: len(stops)], np.r_[0, lines][: len(stops)]
    lengths = stops - begins
    if b"\r" in block:
        lengths = lengths - ((lengths > 0) & (view[np.maximum(stops - 1, 0)] == b"\r"[0]))
    return lines, lengths
