"""Passages read side by side are what each is alone, on both strands, over gaps, and however often it is stopped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from titans_seq.errors import ConfigError
from titans_seq.genomics import Genome, decode, open_genome, reverse_complement
from titans_seq.streaming import (
    DnaModel,
    Part,
    Passage,
    PassageReader,
    Session,
    in_blocks,
    parse_context,
    read_passages,
    whole_contig,
)

GAP = 30
LENGTHS = {"long": 300, "tiny": 1, "mid": 97, "gappy": 260, "none": 40, "last": 64}


@pytest.fixture(scope="module")
def genome(tmp_path_factory: pytest.TempPathFactory) -> Genome:
    """Contigs of many lengths: one with a long and a short gap, one of nothing but N."""
    random, folder = np.random.default_rng(5), tmp_path_factory.mktemp("genome")
    contigs = {name: random.integers(0, 4, length).astype(np.uint8) for name, length in LENGTHS.items()}
    contigs["gappy"][100:150] = 4
    contigs["gappy"][200:210] = 4
    contigs["none"][:] = 4
    path = folder / "made.fa"
    path.write_text("".join(f">{name}\n{decode(tokens)}\n" for name, tokens in contigs.items()))
    return open_genome(path, cache_dir=folder / "cache")


def collected(parts: Sequence[Part], count: int) -> list[list[Part]]:
    return [[part for part in parts if part.number == number] for number in range(count)]


def assert_same(found: Sequence[Part], wanted: Sequence[Part]) -> None:
    for name in ("vectors", "logits", "loss"):
        order = 1 if found[0].strand == "+" else -1
        joined = [np.concatenate([getattr(part, name) for part in parts[::order]]) for parts in (found, wanted)]
        np.testing.assert_allclose(joined[0], joined[1], rtol=0, atol=1e-5, equal_nan=True)


@pytest.mark.parametrize("rows", [2, 4, 16])
def test_side_by_side_is_each_alone(any_model: DnaModel, genome: Genome, rows: int) -> None:
    passages = [whole_contig(genome, name, strand=s, gap_reset=GAP) for name in genome.names for s in "+-"]
    together = collected(list(read_passages(any_model, genome, passages, rows=rows, call=64)), len(passages))
    for number, one in enumerate(passages):
        if one.contig == "none":
            assert together[number] == []
            continue
        alone = list(read_passages(any_model, genome, [one]))
        assert_same(together[number], alone)
        assert [part.ends for part in together[number]] == [False] * (len(together[number]) - 1) + [True]


def test_a_part_is_what_a_session_gives(model: DnaModel, genome: Genome) -> None:
    tokens = genome.tokens("long")
    for strand, read in (("+", tokens), ("-", reverse_complement(tokens))):
        (part,) = read_passages(model, genome, [whole_contig(genome, "long", strand=strand)], record=True)
        alone = Session(model, record=True).feed(read)
        order = slice(None) if strand == "+" else slice(None, None, -1)
        np.testing.assert_allclose(part.vectors[order], alone.vectors[0].numpy(), rtol=0, atol=1e-5)
        np.testing.assert_allclose(part.loss[order], alone.loss[0].numpy(), rtol=0, atol=1e-5, equal_nan=True)
        np.testing.assert_allclose(part.write[:, order], alone.memory.write[:, 0].numpy(), rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(part.tokens, tokens)
        assert (part.contig, part.start, part.end) == ("long", 0, 300)


def test_a_long_gap_begins_a_new_memory_and_a_short_one_does_not(model: DnaModel, genome: Genome) -> None:
    parts = list(read_passages(model, genome, [whole_contig(genome, "gappy", gap_reset=GAP)]))
    assert [(part.start, part.end) for part in parts] == [(0, 100), (150, 260)]
    after = Session(model).feed(genome.tokens("gappy", 150, 260))
    np.testing.assert_allclose(parts[1].loss, after.loss[0].numpy(), rtol=0, atol=1e-5, equal_nan=True)
    (whole,) = read_passages(model, genome, [whole_contig(genome, "gappy", gap_reset=50)])
    assert (whole.start, whole.end) == (0, 260)


@pytest.mark.parametrize("strand", ["+", "-"])
def test_blocks_give_every_base_once_with_at_least_their_context(model: DnaModel, genome: Genome, strand: str) -> None:
    passages = list(in_blocks(genome, "long", context=70, strand=strand))
    kept = sorted(passage.keep for passage in passages)
    assert kept[0][0] == 0
    assert kept[-1][1] == 300
    assert all(one[1] == two[0] for one, two in pairwise(kept))
    for one in passages:
        ((start, end),) = one.stretches
        before = one.keep[0] - start if strand == "+" else end - one.keep[1]
        assert before == 70 or before == (one.keep[0] if strand == "+" else 300 - one.keep[1]) == 0
    parts = list(read_passages(model, genome, passages, rows=3, call=64))
    assert sum(part.end - part.start for part in parts) == 300
    second = np.concatenate([part.loss[:: 1 if strand == "+" else -1] for part in parts if part.number == 1])
    tokens = genome.tokens("long") if strand == "+" else reverse_complement(genome.tokens("long"))
    wanted = Session(model).feed(tokens[:140]).loss[0, 70:].numpy()
    np.testing.assert_allclose(second, wanted, rtol=0, atol=1e-5)


def test_a_context_longer_than_the_contig_is_the_contig(genome: Genome) -> None:
    assert list(in_blocks(genome, "mid", context=97)) == [whole_contig(genome, "mid")]
    with pytest.raises(ConfigError, match="a context of 0 needs regions"):
        list(in_blocks(genome, "mid", context=0))


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_stopped_and_gone_on_is_bit_for_bit_the_same(any_model: DnaModel, genome: Genome, steps: int) -> None:
    passages = [whole_contig(genome, name, gap_reset=GAP) for name in genome.names]
    wanted = list(read_passages(any_model, genome, passages, rows=3, call=64))
    first = PassageReader(any_model, genome, passages, rows=3, call=64)
    found = [part for _ in range(steps) for part in first.step() or []]
    tensors, cursor = first.state()
    second = PassageReader(any_model, genome, passages, rows=3, call=64)
    second.restore({name: value.clone() for name, value in tensors.items()}, cursor)
    while (parts := second.step()) is not None:
        found += parts
    assert len(found) == len(wanted)
    for one, two in zip(found, wanted, strict=True):
        assert (one.number, one.start, one.end) == (two.number, two.start, two.end)
        np.testing.assert_array_equal(one.vectors, two.vectors)


@pytest.mark.parametrize(("text", "bases"), [("0", 0), ("500", 500), ("10k", 10_000), ("1M", 10**6), ("contig", None)])
def test_words_for_a_context(text: str, bases: int | None) -> None:
    assert parse_context(text) == bases
    with pytest.raises(ConfigError, match=f"found '{text}x'"):
        parse_context(text + "x")


def test_nothing_to_read(model: DnaModel, genome: Genome) -> None:
    assert list(read_passages(model, genome, [])) == []
    assert list(read_passages(model, genome, [Passage("long", "+", (), (0, 300))])) == []


def test_many_short_contigs_fill_their_calls(model: DnaModel, tmp_path: Path) -> None:
    random, path = np.random.default_rng(1), tmp_path / "short.fa"
    path.write_text("".join(f">c{i}\n{decode(random.integers(0, 4, 30).astype(np.uint8))}\n" for i in range(200)))
    short = open_genome(path, cache_dir=tmp_path / "cache")
    reader = PassageReader(model, short, [whole_contig(short, name) for name in short.names], rows=50)
    steps: list[list[Part]] = []
    step: Callable[[], list[Part] | None] = reader.step
    while (parts := step()) is not None:
        steps.append(parts)
    assert [len(parts) for parts in steps] == [50] * 4
    (alone,) = read_passages(model, short, [whole_contig(short, "c173")])
    assert_same([steps[3][23]], [alone])
