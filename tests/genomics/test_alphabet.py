import numpy as np
import pytest

from titans_seq.errors import RangeError
from titans_seq.genomics.alphabet import complement, decode, encode, reverse_complement


def test_letters_become_tokens_whatever_their_case() -> None:
    assert encode("ACGTacgtuU").tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 3, 3]
    assert set(encode(b"RYSWKMBDHVNXryswkmbdhvnx").tolist()) == {4}
    assert encode("").size == 0


def test_decode_is_the_inverse() -> None:
    assert decode(encode("ACGTN")) == "ACGTN"


def test_reverse_complement() -> None:
    assert decode(reverse_complement(encode("AACNG"))) == "CNGTT"
    assert decode(complement(encode("AACNG"))) == "TTGNC"
    tokens = np.random.default_rng(0).integers(0, 5, 100).astype(np.uint8)
    assert np.array_equal(reverse_complement(reverse_complement(tokens)), tokens)


@pytest.mark.parametrize("text", ["ACE", "AC-", "AC GT", "A\u00e9"])
def test_foreign_letters_are_named(text: str) -> None:
    with pytest.raises(RangeError, match="position"):
        encode(text)


def test_foreign_tokens_are_refused() -> None:
    with pytest.raises(RangeError, match="found 5"):
        decode(np.array([5], dtype=np.uint8))
