"""Runs become repeats: joined, grown over changed bases, stopped at ends, at N and in the middle of a palindrome."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from titans_seq.genomics import N_TOKEN, reverse_complement
from titans_seq.genomics.alphabet import Tokens
from titans_seq.genomics.repeats import Repeat, Run, grown, joined, runs_of, write_repeats


def windowed(stream: Tokens):  # type: ignore[no-untyped-def]
    def tokens(start: int, stop: int) -> Tokens:
        found = np.full(stop - start, N_TOKEN, dtype=np.uint8)
        left, right = max(start, 0), min(stop, stream.size)
        if left < right:
            found[left - start : right - start] = stream[left:right]
        return found

    return tokens


def random_bases(count: int, seed: int = 0) -> Tokens:
    return np.random.default_rng(seed).integers(0, 4, count).astype(np.uint8)


def test_pieces_join_and_far_runs_do_not() -> None:
    source = np.array([3, 4, 5, -1, 9])
    whole = runs_of(10, source, inverted=False)
    cut = [*runs_of(10, source[:2], inverted=False), *runs_of(12, source[2:], inverted=False)]
    assert whole == [Run(10, 13, -7, False), Run(14, 15, -5, False)]
    assert sorted(joined(cut, gap=0)) == whole
    assert len(list(joined([Run(0, 5, -7, False), Run(200, 210, -7, False)], gap=100))) == 2
    assert list(joined([Run(0, 5, -7, False), Run(90, 210, -7, False)], gap=100)) == [Run(0, 210, -7, False)]


def test_a_copy_with_changed_bases_is_one_repeat() -> None:
    first = random_bases(400)
    copy = first.copy()
    copy[[150, 290]] = (copy[[150, 290]] + 1) % 4
    stream = np.concatenate([random_bases(100, 1), first, random_bases(200, 2), copy, random_bases(50, 3)])
    (found,) = grown([Run(724, 840, -600, False), Run(860, 990, -600, False)], windowed(stream), seed=24, least=100)
    assert abs(found.start - 700) <= 3
    assert abs(found.end - 1100) <= 3
    assert found.source == found.start - 600
    assert found.end - found.start - found.matches == 2


def test_an_inverted_copy_points_at_the_first() -> None:
    first = random_bases(300)
    stream = np.concatenate([first, random_bases(100, 1), reverse_complement(first)])
    (found,) = grown([Run(424, 700, 699, True)], windowed(stream), seed=24, least=100)
    assert found == Repeat(400, 700, 0, True, 300)
    assert found.identity == 1.0


def test_n_and_the_middle_of_a_palindrome_stop_a_repeat() -> None:
    half = random_bases(200)
    stream = np.concatenate([half, reverse_complement(half)])
    (found,) = grown([Run(230, 400, 399, True)], windowed(stream), seed=24, least=100)
    assert (found.start, found.end, found.source) == (200, 400, 0)
    stream[50] = N_TOKEN
    (found,) = grown([Run(230, 349, 399, True)], windowed(stream), seed=24, least=100)
    assert (found.start, found.end, found.source) == (200, 349, 51)


def test_the_file(tmp_path: Path) -> None:
    path = tmp_path / "r.bed"
    write_repeats(path, [Repeat(100, 200, 10, True, 90)], lambda start, stop: ("c", start + 1))
    header, line = path.read_text().splitlines()
    assert header.split("\t")[-1] == "identity"
    assert line.split("\t") == ["c", "101", "201", "repeat_1", "900", "-", "c", "11", "111", "0.9000"]
