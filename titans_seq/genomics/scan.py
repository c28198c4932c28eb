"""The sequence lines of a block of text at once: tokens, counts, runs of N and of lower case, foreign bytes.

:func:`scan_text` is the definition, with numpy; :mod:`titans_seq.genomics.scan_native` does the same in C, several
times as fast and without holding up other threads.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from titans_seq.genomics.alphabet import N_TOKEN, Tokens
from titans_seq.genomics.letters import Coded, code, coded_bytes, letter_room

_SPACE: Final = b"\n \t"
_NEWLINE: Final = 10
_FEW_ROWS: Final = 4


class Scan(NamedTuple):
    """What stands in a block.

    Attributes
    ----------
    tokens : uint8 [T]
        Good until the scanner's next call, which may use the same room.
    counts : int64 [rows, 4]
        Letters of each contig; how many are N, C or G, and lower case.
    n_edges, soft_edges : int64, ascending
        Positions where N, and lower case, begin or end, a beginning first; a run that reaches the end has no end.
    letters : int64 [256]
        How often each letter other than A, C, G and T occurs, as upper case.
    newlines : int64 [pieces]
        Line ends in each.
    foreign : bool
        Whether any byte is neither a nucleotide code nor space. Then the other fields are of no use, but for this:
        ``counts[0, 0]`` is 0 only where the first contig has no letter at all.
    """

    tokens: Tokens
    counts: npt.NDArray[np.int64]
    n_edges: npt.NDArray[np.int64]
    soft_edges: npt.NDArray[np.int64]
    letters: npt.NDArray[np.int64]
    newlines: npt.NDArray[np.int64]
    foreign: bool


Scanner = Callable[[bytes, Sequence[int], Sequence[int], Sequence[int]], Scan]
"""Takes a text, the begins and ends of the pieces of it to read, and the contig each belongs to: 0 0 1 2 2 ..."""


def scan_text(text: bytes, begins: Sequence[int], ends: Sequence[int], rows: Sequence[int]) -> Scan:
    """Scan pieces of a text whose line ends are newlines.

    >>> found = scan_text(b"AC\\nnT >x\\nG", [0, 8], [6, 10], [0, 1])
    >>> found.tokens.tolist(), found.counts.tolist(), found.n_edges.tolist(), found.newlines.tolist()
    ([0, 1, 4, 3, 2], [[4, 1, 1, 1], [1, 0, 1, 0]], [2, 3], [1, 1])
    """
    whole = max(zip(begins, ends, strict=True), key=lambda piece: piece[1] - piece[0])
    lengths = [0] * len(begins)
    if sum(ends) - sum(begins) == whole[1] - whole[0] and (even := _even_lines(text[slice(*whole)])) is not None:
        coded = even
        lengths[begins.index(whole[0])] = coded.tokens.size
    else:
        pieces = [text[a:b].translate(None, _SPACE) for a, b in zip(begins, ends, strict=True)]
        coded = coded_bytes(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        lengths = [len(piece) for piece in pieces]
    newlines = [text.count(b"\n", a, b) for a, b in zip(begins, ends, strict=True)]
    return scan_letters(coded, lengths, rows)._replace(newlines=np.array(newlines, dtype=np.int64))


def scan_letters(coded: Coded, lengths: Sequence[int], rows: Sequence[int]) -> Scan:
    """The same of letters that lie one after the other, so many for each piece."""
    letters, tokens, others = coded.letters, coded.tokens, coded.others
    bounds = np.concatenate([[0], np.cumsum(lengths)])
    counts = np.zeros((len(lengths), 4), dtype=np.int64)
    counts[:, 0] = lengths
    counts[:, 2] = _counts_between(coded.c_or_g(), bounds) if len(lengths) > 1 else coded.count_c_or_g()
    edges = [np.empty(0, dtype=np.int64)] * 2
    if others.size:
        flags = np.equal(tokens, N_TOKEN)
        counts[:, 1] = _counts_between(flags, bounds)
        edges[0] = _edges(flags)
    if letters.max(initial=0) >= ord("a"):
        flags = np.greater_equal(letters, ord("a"))
        counts[:, 3] = _counts_between(flags, bounds)
        edges[1] = _edges(flags)
    by_row = np.zeros((rows[-1] + 1, 4), dtype=np.int64)
    np.add.at(by_row, np.asarray(rows), counts)
    histogram = np.bincount(others & np.uint8(0xDF), minlength=256)
    newlines = np.zeros(len(lengths), dtype=np.int64)
    return Scan(tokens, by_row, edges[0], edges[1], histogram, newlines, coded.foreign)


def _even_lines(block: bytes) -> Coded | None:
    """The letters of a block whose lines are all as long as its second one, but the first and the last; else None.

    What is cut out between the lines are newlines for certain; None too where anything else is no letter.
    """
    raw = np.frombuffer(block, dtype=np.uint8)
    head = block.find(b"\n")
    if head < 0:
        head, width = raw.size, 1
    else:
        width = block.find(b"\n", head + 1) - head - 1
    if width < 1:
        return None
    start = min(head + 1, raw.size)
    count = (raw.size - start) // (width + 1)
    end = start + count * (width + 1)
    lines = raw[start:end].reshape(count, width + 1)
    if not np.equal(lines[:, width], _NEWLINE).all():
        return None
    tail = raw[end : raw.size - block.endswith(b"\n")] if end < raw.size else raw[end:]
    size = head + count * width + tail.size
    room = letter_room(size)
    room[:head] = raw[:head]
    room[head : size - tail.size].reshape(count, width)[:] = lines[:, :width]
    room[size - tail.size : size] = tail
    coded = code(room, size)
    return None if coded.foreign else coded


def _edges(flags: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    edges = np.flatnonzero(flags[1:] != flags[:-1]) + 1
    return np.concatenate([[0], edges]) if flags[:1].any() else edges


def _counts_between(flags: npt.NDArray[np.bool_], bounds: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """How many flags are set between one bound and the next."""
    if len(bounds) <= _FEW_ROWS:
        pairs = itertools.pairwise(bounds)
        return np.array([np.count_nonzero(flags[start:end]) for start, end in pairs], dtype=np.int64)
    sums = np.zeros(flags.size + 1, dtype=np.int64)
    np.cumsum(flags, out=sums[1:])
    return np.diff(sums[bounds])
