"""Every piece is in the shards once, shards are about equally long, and a shard that is none is refused."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from titans_seq.errors import ConfigError
from titans_seq.genomics import Stretch
from titans_seq.genomics.shards import Shard
from titans_seq.genomics.track_parts import cut_contigs, part_of

SIZES = some.lists(some.integers(1, 10**6), min_size=1, max_size=40)


@given(SIZES, some.integers(1, 60))
def test_shards_divide_the_pieces(sizes: list[int], count: int) -> None:
    shares = [Shard(number, count).portions(sizes) for number in range(1, count + 1)]
    whole = dict.fromkeys(range(len(sizes)), Fraction(0))
    for share in shares:
        for piece, (number, parts) in share.items():
            assert 0 <= number < parts
            whole[piece] += Fraction(1, parts)
    assert set(whole.values()) == {Fraction(1)}
    assert all(shares)
    loads = [sum(Fraction(sizes[piece], parts) for piece, (_, parts) in share.items()) for share in shares]
    if count <= len(sizes):
        assert max(loads) - min(loads) <= max(sizes)
    else:
        assert max(loads) <= Fraction(sum(sizes), count - len(sizes))


@given(some.lists(some.integers(1, 300), min_size=1, max_size=6), some.integers(1, 9), some.integers(1, 40))
def test_parts_of_stretches_are_all_of_them(lengths: list[int], count: int, size: int) -> None:
    sizes = {str(number): length for number, length in enumerate(lengths)}
    for group in cut_contigs(sizes, every=2 * size, at_least=3 * size):
        parts = [part_of(group, (number, count), size=size) for number in range(count)]
        for place, stretch in enumerate(group):
            pieces = [part[place] for part in parts]
            assert pieces[0].start == stretch.start
            assert pieces[-1].end == stretch.end
            assert all(one.end == other.start for one, other in pairwise(pieces))
            assert all((one.end - stretch.start) % size == 0 for one in pieces if one.end != stretch.end)


def test_contigs_are_cut_and_put_in_groups() -> None:
    found = cut_contigs({"a": 5, "b": 2, "c": 9}, every=None, at_least=7)
    assert found == [[Stretch("a", 0, 5), Stretch("b", 0, 2)], [Stretch("c", 0, 9)]]
    found = cut_contigs({"a": 5, "c": 9}, every=4, at_least=5)
    assert found == [[Stretch("a", 0, 4), Stretch("a", 4, 5)], [Stretch("c", 0, 4), Stretch("c", 4, 8)],
                     [Stretch("c", 8, 9)]]  # fmt: skip


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/0", "-1/2", ""])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="i/n"):
        Shard.parse(text)


def test_files_and_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Shard.parse("1/1").part_of(Path("x/a.gff3")) == Path("x/a.gff3")
    assert Shard.parse("2/16").part_of(Path("x/a.b.gff3")) == Path("x/a.b.2-of-16.gff3")
    assert Shard.parse("2/16").part_of(Path("x/a.bedgraph.gz")) == Path("x/a.2-of-16.bedgraph.gz")
    assert Shard.of_process() == Shard(1, 1)
    for name, value in (("TORCHELASTIC_RUN_ID", "x"), ("RANK", "1"), ("WORLD_SIZE", "4")):
        monkeypatch.setenv(name, value)
    assert Shard.of_process() == Shard(2, 4)
