"""Letters to tokens and back: ``"ACGT" -> [0, 1, 2, 3]``, upper or lower case, U read as T, anything else N = 4.

The tables here are the only place that says which bytes may stand in a nucleotide sequence:

- ``A C G T U`` (both cases) are bases; ``U`` is read as ``T``;
- the other IUPAC codes ``R Y S W K M B D H V N``, and ``X`` (what masking programs write), become ``N``;
- every other byte is foreign: :func:`encode` raises, the readers say where it stands.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from titans_seq.errors import RangeError

Tokens = npt.NDArray[np.uint8]

BASES: Final = "ACGTN"
N_TOKEN: Final = 4
VOCABULARY: Final = 5
FOREIGN: Final = 255
AMBIGUOUS: Final = "RYSWKMBDHVNX"


def _token_table() -> bytes:
    """256 entries: the token of a byte, or :data:`FOREIGN`."""
    table = bytearray([FOREIGN] * 256)
    for letters, token in (("A", 0), ("C", 1), ("G", 2), ("TU", 3), (AMBIGUOUS, N_TOKEN)):
        for letter in letters:
            table[ord(letter)] = table[ord(letter.lower())] = token
    return bytes(table)


TOKEN_OF_BYTE: Final = _token_table()
BYTE_OF_TOKEN: Final = np.frombuffer(BASES.encode(), dtype=np.uint8)
_COMPLEMENT: Final = np.array([3, 2, 1, 0, N_TOKEN], dtype=np.uint8)


def encode(text: str | bytes) -> Tokens:
    """Tokens of a sequence without white space.

    >>> encode("ACgtuN").tolist()
    [0, 1, 2, 3, 3, 4]

    Raises
    ------
    RangeError
        A letter that is no nucleotide code, with its 0-based position.
    """
    raw = text.encode("utf-8") if isinstance(text, str) else text
    tokens = np.frombuffer(raw.translate(TOKEN_OF_BYTE), dtype=np.uint8)
    if tokens.size and int(tokens.max()) > N_TOKEN:
        where = int(np.flatnonzero(tokens > N_TOKEN)[0])
        letter = chr(raw[where]) if raw[where] < 128 else f"\\x{raw[where]:02x}"
        raise RangeError(f"position {where}: expected A, C, G, T, U or an IUPAC code, found {letter!r}")
    return tokens


def decode(tokens: Tokens) -> str:
    """Upper-case letters of tokens: ``[0, 1, 2, 3, 4] -> "ACGTN"``."""
    _check(tokens)
    return BYTE_OF_TOKEN[tokens].tobytes().decode("ascii")


def complement(tokens: Tokens) -> Tokens:
    """Each base by its partner, N by N, the order kept: ``A C G T N -> T G C A N``."""
    _check(tokens)
    return _COMPLEMENT[tokens]


def reverse_complement(tokens: Tokens) -> Tokens:
    """The other strand read in its own direction: ``[0, 0, 1] (AAC) -> [2, 3, 3] (GTT)``."""
    _check(tokens)
    return _COMPLEMENT[tokens[::-1]]


def _check(tokens: Tokens) -> None:
    if tokens.size and int(tokens.max()) > N_TOKEN:
        raise RangeError(f"expected tokens 0 to {N_TOKEN}, found {int(tokens.max())}")
