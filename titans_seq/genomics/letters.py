"""Letters of a file into tokens, eight at a time in 64-bit words: what reading a genome spends its time on.

The table of :mod:`titans_seq.genomics.alphabet` is the definition; this gives the same tokens several times as fast
where nearly all letters are A, C, G and T, upper or lower case.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from titans_seq.genomics.alphabet import N_TOKEN, TOKEN_OF_BYTE, Tokens

Words = npt.NDArray[np.uint64]

_TABLE: Final = np.frombuffer(TOKEN_OF_BYTE, dtype=np.uint8)
_NONE: Final = np.empty(0, dtype=np.uint8)
_FEW: Final = 8
"""One letter in so many may be something else than A, C, G, T before a table is the faster way."""
_EACH_BYTE: Final = 0x0101_0101_0101_0101
_ONE: Final = np.uint64(1)
_LOW_BITS: Final = np.uint64(3 * _EACH_BYTE)
_BIT_1: Final = np.uint64(2 * _EACH_BYTE)
_BITS_OF_T: Final = np.uint64((ord("A") ^ ord("T")) & ~6)
_REST_MASK: Final = 0xD9 * _EACH_BYTE
_REST_OF_A: Final = (ord("A") & 0xD9) * _EACH_BYTE


class Coded(NamedTuple):
    """Letters and their tokens.

    Attributes
    ----------
    room : uint8 [T, filled up to a multiple of 8]
        The letters as they stand in the file, and A behind them.
    tokens : uint8 [T]
        :data:`FOREIGN` where a byte is no nucleotide code.
    others : uint8 [R]
        The letters that are neither A, C, G nor T, in their order.
    """

    room: Tokens
    tokens: Tokens
    others: Tokens

    @property
    def letters(self) -> Tokens:
        """The letters alone, uint8 [T]."""
        return self.room[: self.tokens.size]

    @property
    def foreign(self) -> bool:
        """Whether any byte is no nucleotide code."""
        return self.others.size > 0 and int(self.tokens.max()) > N_TOKEN

    def c_or_g(self) -> npt.NDArray[np.bool_]:
        """True at C and G."""
        return self.tokens - np.uint8(1) < np.uint8(2)  # A, one below C, wraps to 255

    def count_c_or_g(self) -> int:
        """How many are C or G."""
        return int(np.count_nonzero(self.c_or_g())) if self.others.size else _count_bit_1(self.room.view(np.uint64))


def letter_room(size: int) -> Tokens:
    """Room for `size` letters in whole words of 8, as :func:`code` needs; what is left over holds A."""
    room = np.empty(-(-size // 8) * 8, dtype=np.uint8)
    room[size:] = ord("A")
    return room


def code(room: Tokens, size: int) -> Coded:
    """Tokens of the first `size` letters of a :func:`letter_room`, several times as fast as a table.

    >>> room = letter_room(3)
    >>> room[:3] = list(b"cRT")
    >>> coded = code(room, 3)
    >>> coded.tokens.tolist(), coded.others.tolist(), coded.count_c_or_g()
    ([1, 4, 3], [82], 1)
    """
    letters = room[:size]
    words = room.view(np.uint64)
    tokens = _plain_words(words)
    if tokens is not None:
        return Coded(room, tokens.view(np.uint8)[:size], _NONE)
    upper = letters & np.uint8(0xDF)
    plain, same = np.equal(upper, ord("A")), np.empty(size, dtype=np.bool_)
    for base in b"CGT":
        plain |= np.equal(upper, base, out=same)
    where = np.flatnonzero(~plain)
    if where.size * _FEW > size:
        return Coded(room, _TABLE[letters], letters[where])
    others = letters[where]
    found = _gray_words(words).view(np.uint8)[:size]
    found[where] = _TABLE[others]
    return Coded(room, found, others)


def coded_bytes(letters: bytes) -> Coded:
    """Tokens of letters that lie one after the other."""
    room = letter_room(len(letters))
    room[: len(letters)] = np.frombuffer(letters, dtype=np.uint8)
    return code(room, len(letters))


def _gray_words(words: Words) -> Words:
    """Tokens of eight plain letters at a time: bits 1 and 2 of the ASCII code, read as Gray code.

    ``A 1000001 -> 00``, ``C 1000011 -> 01``, ``G 1000111 -> 10``, ``T 1010100 -> 11``.
    """
    tokens = words >> _ONE
    tokens ^= words
    tokens >>= _ONE
    tokens &= _LOW_BITS
    return tokens


def _plain_words(words: Words) -> Words | None:
    """The tokens of letters that are all A, C, G or T in either case; else None.

    Bits 1 and 2 give the token; of the other bits, bit 5 is the case and the rest are the same in A, C and G. In T,
    whose token is the only one with both bits set, two of them differ: with these turned over, all four letters agree.
    """
    tokens = _gray_words(words)
    rest = tokens >> _ONE
    rest &= tokens
    rest *= _BITS_OF_T
    rest ^= words
    if any(int(fold.reduce(rest)) & _REST_MASK != _REST_OF_A for fold in (np.bitwise_or, np.bitwise_and)):
        return None
    return tokens


def _count_bit_1(words: Words) -> int:
    """In how many bytes bit 1 is set, which is so in C and G but not in A and T.

    Words are added up byte by byte, 127 of them, before a byte could run over.
    """
    bits = words & _BIT_1
    whole = bits.size // 127 * 127
    sums = np.add.reduce(bits[:whole].reshape(127, -1), axis=0).view(np.uint8)
    return int(sums.sum(dtype=np.int64) + bits[whole:].view(np.uint8).sum(dtype=np.int64)) // 2
