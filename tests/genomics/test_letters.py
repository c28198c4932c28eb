"""The fast way from letters to tokens agrees with the table, byte for byte."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from titans_seq.genomics.alphabet import FOREIGN, TOKEN_OF_BYTE
from titans_seq.genomics.letters import coded_bytes


def check(text: bytes) -> None:
    coded = coded_bytes(text)
    assert coded.letters.tobytes() == text
    assert coded.tokens.tobytes() == text.translate(TOKEN_OF_BYTE)
    assert coded.others.tobytes() == bytes(letter for letter in text if letter not in b"ACGTacgt")
    assert coded.foreign == (FOREIGN in text.translate(TOKEN_OF_BYTE))
    assert coded.count_c_or_g() == coded.c_or_g().sum() == sum(text.upper().count(base) for base in (b"C", b"G"))


@pytest.mark.parametrize("size", [1, 7, 8, 17, 64])
def test_every_byte_at_every_place(size: int) -> None:
    for value in range(256):
        for at in {0, size // 2, size - 1}:
            text = bytearray(b"TGCAtgca" * 8)[:size]
            text[at] = value
            check(bytes(text))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=40) | st.text("ACGTacgtN", max_size=400).map(str.encode))
def test_any_bytes(text: bytes) -> None:
    check(text)


def test_long_stretches_and_nothing_at_all() -> None:
    rng = np.random.default_rng(0)
    plain = rng.choice(np.frombuffer(b"ACGTacgt", dtype=np.uint8), 10_003).tobytes()
    for text in (b"", plain, b"G" * 5000, b"C" * 1016, b"N" * 3000, plain + b"N" * 50 + plain, plain + b"u"):
        check(text)
