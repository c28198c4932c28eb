"""Open frames and their starts: by hand, against a plain search, under several tables."""

from __future__ import annotations

import numpy as np
import pytest

from titans_seq.errors import ConfigError, RangeError
from titans_seq.genomics import encode, reverse_complement
from titans_seq.genomics.open_frames import genetic_code, open_frames


def plain(text: str, starts: tuple[str, ...], stops: tuple[str, ...], least: int) -> set[tuple[int, int]]:
    found = set()
    for start in range(len(text) - 2):
        if text[start : start + 3] in starts:
            for at in range(start, len(text) - 2, 3):
                if text[at : at + 3] in stops:
                    if at + 3 - start >= least:
                        found.add((start, at + 3))
                    break
    return found


def test_agrees_with_a_plain_search() -> None:
    random = np.random.default_rng(1)
    code = genetic_code(11)
    for _ in range(5):
        text = "".join(random.choice(list("ACGT"), 400))
        frames = open_frames(encode(text), code, min_length=12, partial=False)
        assert set(zip(frames.start.tolist(), frames.end.tolist(), strict=True)) == plain(
            text, code.starts, code.stops, 12
        )
        assert (frames.stop_end[frames.frame] == frames.end).all()


def test_partial_frames_run_off_both_ends() -> None:
    frames = open_frames(encode("AAAAAATAACCC"), genetic_code(11), min_length=9)
    rows = list(zip(*(a.tolist() for a in (frames.start, frames.end, frames.open_start, frames.open_end)), strict=True))
    assert (0, 9, True, False) in rows  # no start, a stop
    assert (1, 10, True, True) in rows  # neither


def test_unknown_bases_begin_and_end_nothing() -> None:
    assert len(open_frames(encode("NTGAAANAA"), genetic_code(11), min_length=6, partial=False)) == 0


def test_tables_differ_where_they_should() -> None:
    assert "TGA" in genetic_code(11).stops
    assert "TGA" not in genetic_code(4).stops
    assert genetic_code(1).starts == ("ATG", "TTG")
    assert genetic_code(11, starts=["AUU"]).starts == ("ATT",)
    with pytest.raises(ConfigError, match=r"translation table .* found 99"):
        genetic_code(99)
    with pytest.raises(ConfigError, match=r"start codons of translation table 11 .* found CCC"):
        genetic_code(11, starts=["ATG", "CCC"])
    with pytest.raises(RangeError, match="minimum length"):
        open_frames(encode("ATG"), genetic_code(11), min_length=3)


def test_both_strands_see_the_same_gene() -> None:
    tokens = encode("CCATGAAACCCTAACC")
    other = open_frames(reverse_complement(tokens), genetic_code(11), min_length=9, partial=False)
    assert len(other) == 0
    assert len(open_frames(tokens, genetic_code(11), min_length=9, partial=False)) == 1
