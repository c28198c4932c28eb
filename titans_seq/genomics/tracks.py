"""Numbers along contigs as tracks: bigWig, or bedGraph (plain or gzip), in bins.

A bin holds the mean of the numbers that are known in it; a bin without any is left out of the file, and the last bin
of a contig ends where the contig does. Numbers may come in any order (a reverse strand runs backwards); a file is
written bin after bin, at RAM that does not grow with the genome's length, to a temporary name that is then renamed.
"""

from __future__ import annotations

import errno
import gzip
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from titans_seq.errors import ConfigError, RangeError, TitansError
from titans_seq.files import check_out, replacing, write_error

Values = npt.NDArray[np.float32]
Row = tuple[str, int, int, float]

BIGWIG: Final = (".bw", ".bigwig")
BEDGRAPH: Final = (".bedgraph", ".bg", ".bdg", ".bedgraph.gz", ".bg.gz", ".bdg.gz")
_ON_DISK: Final = 1 << 22
"""Bins from which the sums are kept in a file that the system pages in and out, not in RAM."""
_ROOM_EVERY: Final = 4096
"""Rows of a bigWig between two looks at the room that is left on the disk."""
_ROOM_LEAST: Final = 1 << 20


class TrackError(TitansError, RuntimeError):
    """A track could not be written as it should be."""


class BinMeans:
    """Means over bins of ``size`` bases of a contig of ``length`` bases; numbers are added in any order.

    With ``length=5, size=2``, adding ``[1, 3, nan, 4]`` at 0 and ``[8]`` at 4 gives the means ``[2, 4, 8]``.
    """

    def __init__(self, length: int, *, size: int) -> None:
        if length < 1 or size < 1:
            raise RangeError(f"expected a contig and a bin of at least one base, found {length} and {size}")
        self.length, self.size = length, size
        bins = -(-length // size)
        self._sums, self._counts = bins_on_disk(bins, np.float64), bins_on_disk(bins, np.int32)

    def add(self, start: int, values: npt.NDArray[Any]) -> None:
        """Take in the numbers of bases ``start ..``; NaN is a base without one."""
        if not 0 <= start <= start + len(values) <= self.length:
            raise RangeError(f"expected bases within 0 .. {self.length}, found {start} .. {start + len(values)}")
        known = np.flatnonzero(~np.isnan(values))
        if known.size == 0:
            return
        first, last = start // self.size, (start + len(values) - 1) // self.size + 1
        bins = (known + start) // self.size - first
        self._sums[first:last] += np.bincount(bins, weights=values[known], minlength=last - first)
        self._counts[first:last] += np.bincount(bins, minlength=last - first).astype(np.int32)

    def state(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int32]]:
        """Sums and counts of the bins, to go on with by `restore`."""
        return self._sums, self._counts

    def restore(self, sums: npt.NDArray[np.float64], counts: npt.NDArray[np.int32]) -> None:
        """Go on from `state`."""
        self._sums[:], self._counts[:] = sums, counts

    def means(self) -> Values:
        """Mean of each bin, float32 [bins]; NaN where nothing was added."""
        means = bins_on_disk(len(self._sums), np.float32)
        means[:] = np.nan
        np.divide(self._sums, self._counts, out=means, where=self._counts > 0, casting="same_kind")
        return means


def check_track(path: Path) -> None:
    """Refuse, before any work is done, a track that could not be written.

    Raises
    ------
    ConfigError
        The name ends like no format of ours, or bigWig is asked for and pybigtools is not installed.
    OutputError
        There is no such folder, or nothing may be written to it.
    """
    name = path.name.lower()
    if not name.endswith((*BIGWIG, *BEDGRAPH)):
        known = ", ".join((*BIGWIG, *BEDGRAPH))
        raise ConfigError(f"{path}: expected a track's name to end in one of {known}")
    if name.endswith(BIGWIG):
        _pybigtools()
    check_out(path)


def write_track(path: Path, sizes: Mapping[str, int], means: Iterable[tuple[str, Values]], *, size: int) -> int:
    """Write the bins of contigs, one contig after the other, and give how many bins were written.

    Parameters
    ----------
    path
        The format follows from its ending; see `BIGWIG` and `BEDGRAPH`.
    sizes
        Length of every contig, in bases.
    means
        ``(contig, numbers of its bins)``; NaN is left out.
    size
        Bases of a bin.

    Raises
    ------
    TrackError, OutputError
        Nothing to write, or it cannot be written; ``path`` then holds what it held before.
    """
    check_track(path)
    rows = _rows(sizes, means, size=size)
    first = next(rows, None)
    if first is None:
        raise TrackError(f"{path}: no base has a number, so there is nothing to write")
    rows = chain([first], rows)
    with replacing(path) as temporary:
        if path.name.lower().endswith(BIGWIG):
            return _write_bigwig(path, temporary, sizes, rows)
        return _write_bedgraph(temporary, rows, zipped=path.suffix.lower() == ".gz")


def _rows(sizes: Mapping[str, int], means: Iterable[tuple[str, Values]], *, size: int) -> Iterator[Row]:
    """``("c", [2, nan, 8])`` of a contig of 5 bases in bins of 2 gives ``("c", 0, 2, 2)`` and ``("c", 4, 5, 8)``."""
    for contig, values in means:
        length = sizes[contig]
        if len(values) != -(-length // size):
            raise RangeError(f"{contig}: expected {-(-length // size)} bins of {size} bases, found {len(values)}")
        for at in np.flatnonzero(~np.isnan(values)).tolist():
            yield contig, at * size, min((at + 1) * size, length), float(values[at])


def _write_bedgraph(path: Path, rows: Iterator[Row], *, zipped: bool) -> int:
    count = 0
    with path.open("wb") as raw:
        # Neither name nor time in the gzip header: the same track is the same file, byte for byte.
        file: BinaryIO | gzip.GzipFile = gzip.GzipFile("", "wb", fileobj=raw, mtime=0) if zipped else raw
        for contig, start, end, value in rows:
            file.write(f"{contig}\t{start}\t{end}\t{value:.6g}\n".encode())
            count += 1
        file.close()
    return count


def _write_bigwig(path: Path, temporary: Path, sizes: Mapping[str, int], rows: Iterator[Row]) -> int:
    """Write through pybigtools, which reports no error to its caller: ours are kept, its own are found by reading."""
    library = _pybigtools()
    named = Path(f"{temporary}.bw")  # pybigtools goes by the name
    _check_room(path, named)
    failed: list[BaseException] = []
    count = bases = 0

    def watched() -> Iterator[Row]:
        nonlocal count, bases
        try:
            for row in rows:
                yield row
                count, bases = count + 1, bases + row[2] - row[1]
                if count % _ROOM_EVERY == 0:
                    _check_room(path, named)
            _check_room(path, named)
        except BaseException as error:
            failed.append(error)

    try:
        try:
            library.open(str(named), "w").write(dict(sizes), watched())
        except BaseException as error:
            if type(error).__name__ != "PanicException":  # of Rust; not an Exception, and told by its name alone
                raise
            failed.append(TrackError(f"{path}: the library that writes bigWig failed ({error}); is the disk full?"))
        if failed:
            raise failed[0]
        written = _bases_written(library, named)
        if written != bases:
            raise TrackError(f"{path}: {written} of {bases} bases were written; is the disk full?")
        os.replace(named, temporary)
    finally:
        with suppress(OSError):
            named.unlink(missing_ok=True)
    return count


def _check_room(path: Path, written: Path) -> None:
    """Stop while there is still room for what the library holds back: coarser copies of what it wrote, and an index.

    It does not survive a full disk: it panics, in many lines.
    """
    needed = _ROOM_LEAST + (written.stat().st_size // 2 if written.exists() else 0)
    if shutil.disk_usage(path.absolute().parent).free < needed:
        raise write_error(path, OSError(errno.ENOSPC, ""))


def _bases_written(library: Any, path: Path) -> int:
    try:
        reader = library.open(str(path))
        covered = int(reader.info()["summary"]["basesCovered"])
        reader.close()
    except Exception:
        return 0
    return covered


def _pybigtools() -> Any:
    try:
        import pybigtools
    except ImportError:
        raise ConfigError(
            'bigWig needs pybigtools: pip install "titans-seq[tracks]"; or write a .bedgraph, which needs nothing'
        ) from None
    return pybigtools


def bins_on_disk(count: int, dtype: Any) -> npt.NDArray[Any]:
    """So many zeros, in a file that is gone with the array where they are many."""
    if count < _ON_DISK:
        return np.zeros(count, dtype=dtype)
    try:
        with tempfile.TemporaryFile() as file:
            if hasattr(os, "posix_fallocate"):  # else a disk that is full ends the process when a page is written
                os.posix_fallocate(file.fileno(), 0, count * np.dtype(dtype).itemsize)
            return np.memmap(file, dtype=dtype, shape=(count,))
    except OSError as error:
        raise write_error(Path(tempfile.gettempdir()), error) from None
