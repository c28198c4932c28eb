"""Bytes of a genome file in bounded blocks: plain, gzip, bgzip or standard input; hashed in the same pass.

Nothing larger than a few blocks is ever held, whatever the size of the file or of a gzip member.
"""

from __future__ import annotations

import itertools
import os
import stat
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from xxhash import xxh3_128

from titans_seq.errors import InputFileError

try:  # about three times as fast as zlib, with the same interface
    from isal import isal_zlib as _inflate
except ImportError:  # no wheel for every platform
    import zlib as _inflate  # type: ignore[no-redef]

Progress = Callable[[int, int | None], None]

_INFLATE_ERRORS: Final[tuple[type[Exception], ...]] = (zlib.error, getattr(_inflate, "error", zlib.error))
BLOCK: Final = 1 << 20
_GZIP: Final = b"\x1f\x8b"
_FOREIGN_MAGIC: Final = (
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ", "xz"),
    (b"PK\x03\x04", "zip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
)
_UTF16: Final = (b"\xff\xfe", b"\xfe\xff")


class Source:
    """One pass over a file: :meth:`blocks` yields decompressed bytes, then :attr:`checksum` is known.

    Parameters
    ----------
    path : str or path
        A file, or ``"-"`` for standard input.
    progress : callable, optional
        Called with (compressed bytes read, file size or None) about once per block.

    Raises
    ------
    InputFileError
        Missing, a directory, unreadable, empty, another kind of compression, or a gzip stream that is damaged or cut.
    """

    def __init__(self, path: str | os.PathLike[str], *, progress: Progress | None = None) -> None:
        self.path = os.fspath(path)
        self.from_stdin = self.path == "-"
        self.size = None if self.from_stdin else check_readable(self.path)
        self._progress = progress
        # Against a file that changed, not against an attacker: SHA-256 took longer than all the rest of reading.
        self._hash = xxh3_128()
        self._read = 0

    @property
    def checksum(self) -> str:
        """XXH3 (128 bits, hexadecimal) of the bytes read so far, as they are on disk."""
        return self._hash.hexdigest()

    def blocks(self) -> Iterator[bytes]:
        """Decompressed blocks of at most about 1.5 :data:`BLOCK` bytes, a byte-order mark removed from the first."""
        first = True
        for block in self._decompressed():
            if first and block[:2] in _UTF16:
                raise InputFileError(self.path, 1, expected="plain text", found="UTF-16", hint="save the file as UTF-8")
            yield block.removeprefix(b"\xef\xbb\xbf") if first else block
            first = False

    def _decompressed(self) -> Iterator[bytes]:
        raw = self._raw()
        head = next(raw, b"")
        if not head:
            raise InputFileError(self.path, expected="sequences", found="an empty file")
        for magic, name in _FOREIGN_MAGIC:
            if head.startswith(magic):
                raise InputFileError(
                    self.path, expected="plain text, gzip or bgzip", found=name, hint="decompress it first"
                )
        if head.startswith(_GZIP):
            yield from _gathered(self._gunzip(head, raw))
        else:
            yield from _gathered(itertools.chain([head], raw))

    def _gunzip(self, data: bytes, raw: Iterator[bytes]) -> Iterator[bytes]:
        """All members of a gzip or bgzip stream, one after the other; zero padding at the end is allowed."""
        empty = True
        try:
            while data:
                member = _inflate.decompressobj(wbits=31)
                while not member.eof:
                    out = member.decompress(data, BLOCK)
                    data = member.unconsumed_tail
                    if out:
                        empty = False
                        yield out
                    if not member.eof and not data and not out:
                        data = next(raw, b"")
                        if not data:
                            raise InputFileError(
                                self.path,
                                problem="the gzip stream is cut short",
                                hint="fetch or compress the file again",
                            )
                data = member.unused_data
                while not data.lstrip(b"\0"):
                    data = next(raw, b"")
                    if not data:
                        break
                data = data.lstrip(b"\0")
        except _INFLATE_ERRORS as error:
            raise InputFileError(
                self.path, problem=f"the gzip stream is damaged ({error})", hint="fetch or compress the file again"
            ) from None
        if empty:
            raise InputFileError(self.path, expected="sequences", found="an empty gzip stream")

    def _raw(self) -> Iterator[bytes]:
        """Blocks as they are on disk."""
        with self._open() as stream:
            while data := self._read_block(stream):
                yield data

    def _read_block(self, stream: BinaryIO) -> bytes:
        try:
            data = stream.read(BLOCK)
        except OSError as error:
            raise InputFileError(self.path, problem=f"cannot be read ({error.strerror})") from None
        if data:
            self._hash.update(data)
            self._read += len(data)
            if self._progress is not None:
                self._progress(self._read, self.size)
        return data

    @contextmanager
    def _open(self) -> Iterator[BinaryIO]:
        if self.from_stdin:
            if sys.stdin is None:
                raise InputFileError(self.path, problem="standard input is closed")
            yield sys.stdin.buffer
            return
        with open_input(self.path) as stream:
            yield stream


def open_input(path: str) -> BinaryIO:
    """The file opened for reading bytes, an OSError as one clear line."""
    try:
        return Path(path).open("rb")
    except OSError as error:
        raise InputFileError(path, problem=f"cannot be opened ({error.strerror})") from None


def _gathered(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes in blocks of at least half of :data:`BLOCK` (bgzip members and pipes come in small pieces)."""
    held: list[bytes] = []
    size = 0
    for block in blocks:
        held.append(block)
        size += len(block)
        if size >= BLOCK // 2:
            yield held[0] if len(held) == 1 else b"".join(held)
            held, size = [], 0
    if held:
        yield b"".join(held)


def check_readable(path: str) -> int | None:
    """Size in bytes of a readable regular file; None for a pipe, whose size is not known.

    Raises
    ------
    InputFileError
        Missing, a directory, or no permission.
    """
    try:
        status = os.stat(path)
    except FileNotFoundError:
        raise InputFileError(path, problem="no such file") from None
    except (OSError, ValueError) as error:
        raise InputFileError(path, problem=f"cannot be opened ({error})") from None
    if stat.S_ISDIR(status.st_mode):
        raise InputFileError(path, expected="a file", found="a directory")
    if not os.access(path, os.R_OK):
        raise InputFileError(path, problem="no permission to read it")
    return status.st_size if stat.S_ISREG(status.st_mode) else None
