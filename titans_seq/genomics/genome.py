"""A genome as the rest of the package sees it: contigs by name, tokens by coordinate, nothing copied.

Coordinates are 0-based half-open. A :class:`Genome` stands on one or more token stores that are mapped into memory,
so opening it costs the same for a phage and a mammal, and every process that maps it shares the same pages.
"""

from __future__ import annotations

import mmap
from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from xxhash import xxh3_128

from titans_seq.errors import InputFileError, RangeError, UnknownNameError
from titans_seq.genomics.alphabet import Tokens

IntPairs = npt.NDArray[np.int64]


class Contig(NamedTuple):
    """One sequence of the genome.

    Attributes
    ----------
    name : str
        First word of its FASTA header, or the VERSION of its GenBank record.
    length, n_count, soft_masked : int
        Bases; how many are N (any letter but A C G T U); how many were written in lower case.
    gc : float
        Share of C and G among A, C, G, T; 0 where there are none.
    offset : int
        Position of its first base in its store.
    """

    name: str
    length: int
    offset: int
    n_count: int
    gc: float
    soft_masked: int


@dataclass(frozen=True)
class TokenStore:
    """The mapped files of one store; see :mod:`titans_seq.genomics.store` for their meaning."""

    source: str
    folder: Path
    checksum: str
    names: tuple[str, ...]
    table: npt.NDArray[np.int64]
    tokens: Tokens
    n_runs: IntPairs
    soft_runs: IntPairs
    letters: dict[str, int]


class Genome:
    """Contigs of one or several files, in the order of the files.

    Example: for a file ``>a\\nACGTN\\n``, ``genome.tokens("a", 1, 3)`` is ``[1, 2]`` and ``genome.n_runs("a")`` is
    ``[[4, 5]]``.

    Raises
    ------
    InputFileError
        Two files hold a contig of the same name.
    """

    def __init__(self, stores: Sequence[TokenStore]) -> None:
        self._stores = tuple(stores)
        self._numbers: dict[str, int] = {}
        self._firsts: list[int] = []  # number of the first contig of each store
        for store in self._stores:
            first = len(self._numbers)
            self._refuse_shared(store)
            self._numbers.update(zip(store.names, range(first, first + len(store.names)), strict=True))
            self._firsts.append(first)

    def _refuse_shared(self, store: TokenStore) -> None:
        shared = next((name for name in store.names if name in self._numbers), None) if self._numbers else None
        if shared is not None:
            raise InputFileError(
                store.source,
                problem=f"contig name {shared!r} is also in {self._find(shared)[0].source}",
                hint="names must differ over all files; rename one or give the file once",
            )

    @property
    def paths(self) -> tuple[str, ...]:
        """The files, as they were given."""
        return tuple(store.source for store in self._stores)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of all contigs, in the order of the files."""
        return tuple(self._numbers)

    @cached_property
    def contigs(self) -> tuple[Contig, ...]:
        """All contigs, in the order of the files."""
        found: list[Contig] = []
        for store in self._stores:
            rows = store.table.tolist()
            found.extend(_contig(name, row) for name, row in zip(store.names, rows, strict=True))
        return tuple(found)

    @property
    def total(self) -> int:
        """Bases in all contigs, N included."""
        return sum(int(store.table[:, 1].sum()) for store in self._stores)

    @cached_property
    def checksum(self) -> str:
        """XXH3 (128 bits) of the file; of several files, that of their checksums."""
        sums = [store.checksum for store in self._stores]
        return sums[0] if len(sums) == 1 else xxh3_128("\n".join(sums).encode()).hexdigest()

    @cached_property
    def letters(self) -> dict[str, int]:
        """Letters other than A, C, G, T and how often each was read (U became T, the rest N)."""
        counts: dict[str, int] = {}
        for store in self._stores:
            for letter, count in store.letters.items():
                counts[letter] = counts.get(letter, 0) + count
        return dict(sorted(counts.items()))

    def __contains__(self, name: object) -> bool:
        return name in self._numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def contig(self, name: str) -> Contig:
        """The contig of that name, or :class:`UnknownNameError` with examples of what is there."""
        store, row = self._find(name)
        return _contig(name, store.table[row].tolist())

    def number(self, name: str) -> int:
        """Position of a contig in :attr:`contigs`."""
        try:
            return self._numbers[name]
        except KeyError:
            raise UnknownNameError(unknown_contig(name, self.names)) from None

    def tokens(self, name: str, start: int = 0, end: int | None = None) -> Tokens:
        """Tokens ``start .. end`` of a contig: a read-only view, uint8 [end - start].

        Raises
        ------
        UnknownNameError, RangeError
            No such contig; coordinates outside it.
        """
        store, first, last = self._span(name, start, end)
        return store.tokens[first:last]

    def n_runs(self, name: str) -> IntPairs:
        """Stretches of N in a contig, int64 [R, 2] of start and end."""
        store, first, last = self._span(name, 0, None)
        return _clip(store.n_runs, first, last)

    def soft_runs(self, name: str) -> IntPairs:
        """Soft-masked (lower-case) stretches of a contig, int64 [R, 2] of start and end."""
        store, first, last = self._span(name, 0, None)
        return _clip(store.soft_runs, first, last)

    def soft_mask(self, name: str, start: int = 0, end: int | None = None) -> npt.NDArray[np.bool_]:
        """True where a base was written in lower case, bool [end - start]."""
        store, first, last = self._span(name, start, end)
        mask = np.zeros(last - first, dtype=np.bool_)
        for run_start, run_end in _clip(store.soft_runs, first, last):
            mask[run_start:run_end] = True
        return mask

    def summary(self) -> dict[str, Any]:
        """Totals for a log or report: files, contigs, bases, N, GC share, soft-masked share, other letters."""
        sums = np.zeros(5, dtype=np.int64)
        for store in self._stores:
            sums += store.table.sum(axis=0)
        _, length, n_count, gc_count, soft = (int(value) for value in sums)
        return {
            "files": list(self.paths),
            "checksum": self.checksum,
            "contigs": len(self),
            "bases": length,
            "n": n_count,
            "gc": gc_count / max(length - n_count, 1),
            "soft_masked": soft / max(length, 1),
            "other_letters": self.letters,
        }

    def only(self, names: Collection[str]) -> Genome:
        """These contigs alone, in this genome's order, under a checksum of their own. UnknownNameError for others."""
        for name in names:
            self.number(name)
        kept = []
        for store in self._stores:
            rows = [row for row, name in enumerate(store.names) if name in names]
            if rows:
                chosen = tuple(store.names[row] for row in rows)
                words = "\n".join((store.checksum, *chosen))
                checksum = xxh3_128(words.encode()).hexdigest()
                kept.append(replace(store, names=chosen, table=store.table[rows], checksum=checksum))
        return Genome(kept)

    def release(self) -> None:
        """Give the pages that were read back to the system, so that a pass over a genome holds none of it.

        Views stay valid: what they need is mapped in again. Does nothing where the system has no such call.
        """
        for store in self._stores:
            mapped: object = store.tokens.base
            if isinstance(mapped, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
                mapped.madvise(mmap.MADV_DONTNEED)

    def _find(self, name: str) -> tuple[TokenStore, int]:
        number = self.number(name)
        place = bisect_right(self._firsts, number) - 1
        return self._stores[place], number - self._firsts[place]

    def _span(self, name: str, start: int, end: int | None) -> tuple[TokenStore, int, int]:
        store, row = self._find(name)
        offset, length = int(store.table[row, 0]), int(store.table[row, 1])
        end = length if end is None else end
        if not 0 <= start <= end <= length:
            raise RangeError(f"contig {name!r} has bases 0 to {length}, asked for {start} to {end}")
        return store, offset + start, offset + end


def unknown_contig(name: str, names: Sequence[str]) -> str:
    """One line for a contig name that is not there, with up to five that are (those alike first).

    >>> unknown_contig("1", ("chr1", "chr2"))
    "no contig '1'; there are 2, such as chr1, chr2"
    """
    alike = [known for known in names if name and (name.lower() in known.lower() or known.lower() in name.lower())][:5]
    shown = list(dict.fromkeys([*alike, *names[:5]]))[:5]
    return f"no contig {name!r}; there are {len(names)}, such as {', '.join(shown)}"


def _contig(name: str, row: list[int]) -> Contig:
    offset, length, n_count, gc_count, soft = row
    return Contig(name, length, offset, n_count, gc_count / max(length - n_count, 1), soft)


def _clip(runs: IntPairs, first: int, last: int) -> IntPairs:
    """The runs that meet first .. last, cut to it and counted from `first`."""
    begin = int(np.searchsorted(runs[:, 1], first, side="right"))
    stop = int(np.searchsorted(runs[:, 0], last, side="left"))
    return np.clip(runs[begin:stop], first, last) - first
