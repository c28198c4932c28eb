"""Every contig is in exactly one shard, shards are about equally long, and a shard that is none is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from titans_seq.errors import ConfigError
from titans_seq.genomics.shards import Shard

LENGTHS = some.dictionaries(some.text("abcdef", min_size=1, max_size=4), some.integers(1, 10**6), max_size=40)


@given(LENGTHS, some.integers(1, 7))
def test_shards_divide_the_contigs(lengths: dict[str, int], count: int) -> None:
    if count > max(1, len(lengths)):
        with pytest.raises(ConfigError, match="no more shards than contigs"):
            Shard(1, count).contigs(lengths)
        return
    parts = [Shard(number, count).contigs(lengths) for number in range(1, count + 1)]
    assert sorted(name for part in parts for name in part) == sorted(lengths)
    loads = [sum(lengths[name] for name in part) for part in parts]
    assert max(loads) - min(loads) <= max(lengths.values(), default=0)


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/0", "-1/2", ""])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="i/n"):
        Shard.parse(text)


def test_files_and_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Shard.parse("1/1").part_of(Path("x/a.gff3")) == Path("x/a.gff3")
    assert Shard.parse("2/16").part_of(Path("x/a.b.gff3")) == Path("x/a.b.2-of-16.gff3")
    assert Shard.of_process() == Shard(1, 1)
    for name, value in (("TORCHELASTIC_RUN_ID", "x"), ("RANK", "1"), ("WORLD_SIZE", "4")):
        monkeypatch.setenv(name, value)
    assert Shard.of_process() == Shard(2, 4)
