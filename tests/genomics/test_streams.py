"""The training streams: every base once per strand, rows contiguous, reset at borders, resumable."""

import json
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from titans_seq.errors import RangeError, StateMismatchError, UnknownNameError
from titans_seq.genomics import BaseStreams, Genome, Segment, Stretch, stream_segments
from titans_seq.genomics.alphabet import reverse_complement

Make = Callable[[dict[str, str]], Genome]


def random_genome(genome_of: Make, lengths: list[int], seed: int = 0) -> Genome:
    rng = np.random.default_rng(seed)
    return genome_of({f"c{i}": "".join(rng.choice(list("ACGTacgtN"), n)) for i, n in enumerate(lengths)})


def whole(genome: Genome) -> list[Stretch]:
    return [Stretch(contig.name, 0, contig.length) for contig in genome.contigs]


def same(a: Segment, b: Segment) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in a.__dataclass_fields__)


def test_an_epoch_passes_every_base_once_per_strand(genome_of: Make) -> None:
    genome = random_genome(genome_of, [1000, 37, 2, 501, 64])
    streams = BaseStreams(genome, whole(genome), batch=3, segment=16, border=4, seed=5)
    seen: Counter[tuple[int, int, int]] = Counter()
    total = 0
    while total < 4 * streams.segments_per_epoch:
        segment = next(streams)
        total += 1
        for row in range(3):
            for t in np.flatnonzero(segment.mask[row]).tolist():
                strand = int(segment.strand[row])
                at = int(segment.start[row]) + strand * t
                contig = genome.contigs[segment.contig[row]]
                base = genome.tokens(contig.name, at, at + 1)
                assert segment.tokens[row, t] == (base if strand > 0 else reverse_complement(base))[0]
                seen[int(segment.contig[row]), at, strand] += 1
    real = [
        (number, int(at)) for number, c in enumerate(genome.contigs) for at in np.flatnonzero(genome.tokens(c.name) < 4)
    ]
    for number, at in real:
        for strand in (1, -1):
            assert streams.epoch - 1 <= seen[number, at, strand] <= streams.epoch + 1


def test_rows_are_contiguous_and_targets_cross_segments(genome_of: Make) -> None:
    genome = random_genome(genome_of, [700, 90, 33])
    streams = BaseStreams(genome, whole(genome), batch=2, segment=8, seed=1)
    previous = next(streams)
    assert previous.reset.all()
    for _ in range(400):
        segment = next(streams)
        for row in range(2):
            assert np.array_equal(segment.targets[row, :-1], segment.tokens[row, 1:])
            if segment.reset[row]:
                assert previous.targets[row, -1] == 4
            else:
                assert segment.start[row] == previous.start[row] + 8 * previous.strand[row]
                assert segment.contig[row] == previous.contig[row]
                assert segment.tokens[row, 0] == previous.targets[row, -1]
        assert np.array_equal(segment.mask, segment.tokens < 4)
        assert np.array_equal(segment.target_mask, segment.targets < 4)
        previous = segment


def test_long_gaps_split_and_short_ones_stay(genome_of: Make) -> None:
    genome = genome_of({"a": "NN" + "ACGT" * 3 + "N" * 5 + "ACGT" + "NNN" + "TTTT" + "N" * 9})
    streams = BaseStreams(genome, whole(genome), batch=1, segment=16, gap_reset=4, both_strands=False)
    found = {(int(s.start[0]), "".join("ACGTN"[t] for t in s.tokens[0])) for s in (next(streams) for _ in range(40))}
    assert all(start not in range(14, 19) and start > 1 for start, _ in found)
    assert any("ACGTNNNTTTT" in text for _, text in found)
    assert streams.bases_per_epoch == 12 + 11


def test_same_seed_same_segments_and_resumed_ones_too(genome_of: Make) -> None:
    genome = random_genome(genome_of, [400, 90, 33, 120])

    def make(seed: int = 3) -> BaseStreams:
        return BaseStreams(genome, whole(genome), batch=3, segment=16, seed=seed)

    first, second = make(), make()
    for step in range(200):
        state = json.loads(json.dumps(first.state_dict()))
        resumed = make()
        resumed.load_state_dict(state)
        expected = next(first)
        assert same(expected, next(second))
        assert same(expected, next(resumed)), step
    assert first.epoch > 2
    assert not all(same(next(make(3)), next(make(4))) for _ in range(1))
    with pytest.raises(StateMismatchError, match="genome, split, batch, segment and seed"):
        make(4).load_state_dict(first.state_dict())


def test_thousands_of_short_contigs(genome_of: Make) -> None:
    genome = random_genome(genome_of, [20] * 5000)
    streams = BaseStreams(genome, whole(genome), batch=16, segment=32)
    assert 0.5 < streams.fill < 0.7
    bases = sum(int(next(streams).mask.sum()) for _ in range(5000 * 2 // 16))
    assert bases == 2 * (genome.total - genome.summary()["n"])
    assert streams.epoch == 0


def test_one_stretch_for_evaluation(genome_of: Make) -> None:
    genome = random_genome(genome_of, [50])
    stretch = Stretch("c0", 3, 45)
    for strand in (1, -1):
        segments = list(stream_segments(genome, stretch, segment=16, strand=strand))
        read = np.concatenate([segment.tokens[0] for segment in segments])
        bases = genome.tokens("c0", 3, 45)
        assert np.array_equal(read[:42], bases if strand > 0 else reverse_complement(bases))
        assert (read[42:] == 4).all()
        assert [bool(segment.reset[0]) for segment in segments] == [True, False, False]
        assert segments[0].start[0] == (3 if strand > 0 else 44)


def test_bad_settings(genome_of: Make) -> None:
    genome = random_genome(genome_of, [50])
    with pytest.raises(RangeError, match="multiple of the border 5"):
        BaseStreams(genome, whole(genome), batch=1, segment=16, border=5)
    with pytest.raises(RangeError, match="batch of at least 1"):
        BaseStreams(genome, whole(genome), batch=0, segment=16)
    with pytest.raises(RangeError, match="overlap"):
        BaseStreams(genome, [Stretch("c0", 0, 20), Stretch("c0", 19, 30)], batch=1, segment=16)
    with pytest.raises(RangeError, match="outside its contig"):
        BaseStreams(genome, [Stretch("c0", 0, 51)], batch=1, segment=16)
    with pytest.raises(UnknownNameError):
        BaseStreams(genome, [Stretch("x", 0, 51)], batch=1, segment=16)
    with pytest.raises(RangeError, match="no two neighbouring"):
        BaseStreams(genome, [], batch=1, segment=16)
    with pytest.raises(RangeError, match="strand"):
        next(stream_segments(genome, Stretch("c0", 0, 5), segment=4, strand=0))
