"""The audit finds what was planted, and nothing where nothing is; k-mer overlap equals its definition."""

from __future__ import annotations

import numpy as np
import pytest

from titans_seq.metrics import kmer_overlap
from titans_seq.metrics.kmer_overlap import nearest_by_kmers
from titans_seq.metrics.sequence_baselines import Sequences
from titans_seq.metrics.split_audit import Finding, audit_split, overlapping, verdict

RANDOM = np.random.default_rng(0)
PARTNER = np.array([3, 2, 1, 0, 4], dtype=np.uint8)


def bases(length: int) -> np.ndarray:
    return RANDOM.integers(0, 4, length).astype(np.uint8)


def pack(pieces: list[np.ndarray], labels: list[int] | np.ndarray) -> Sequences:
    return Sequences(np.concatenate(pieces), np.r_[0, np.cumsum([len(p) for p in pieces])], np.asarray(labels))


def found(train: Sequences, test: Sequences, **options: object) -> dict[str, Finding]:
    return {f.check: f for f in audit_split(train, test, n_classes=2, **options)}  # type: ignore[arg-type]


def clean(count: int = 200) -> Sequences:
    return pack([bases(60) for _ in range(count)], np.arange(count) % 2)


def test_a_clean_split_is_called_clean() -> None:
    findings = audit_split(clean(400), clean(), n_classes=2)
    assert not any(finding.warning for finding in findings)
    assert verdict(findings).startswith("Nothing found")


def test_length_alone_is_found() -> None:
    parts = [pack([bases(50 + 7 * (i % 2) * (i % 3)) for i in range(n)], np.arange(n) % 2) for n in (300, 100)]
    length = found(*parts)["length only"]
    assert length.warning
    assert (length.mcc or 0) > 0.5
    assert verdict(list(found(*parts).values())).startswith("Do not believe")


def test_gc_alone_is_found() -> None:
    def make(count: int) -> Sequences:
        rich = RANDOM.choice(4, (count, 60), p=[0.1, 0.4, 0.4, 0.1]).astype(np.uint8)
        return pack([row if i % 2 else bases(60) for i, row in enumerate(rich)], np.arange(count) % 2)

    gc = found(make(400), make(200))["GC only"]
    assert gc.warning
    assert (gc.accuracy or 0) > 0.8


def test_copies_of_either_strand_and_near_copies_are_found() -> None:
    train = clean(100)
    pieces = [train.tokens[60 * i : 60 * (i + 1)] for i in range(30)]
    changed = [piece.copy() for piece in pieces[20:]]
    for piece in changed:
        piece[30] = (piece[30] + 1) % 4
    other = [PARTNER[piece[::-1]] for piece in pieces[10:20]]
    labels = [*range(10), *range(10, 20), *range(20, 30)]
    test = pack(
        [*pieces[:10], *other, *changed, *[bases(60) for _ in range(30)]], [i % 2 for i in labels] + [0, 1] * 15
    )
    checks = found(train, test)
    assert checks["exact copies"].share == pytest.approx(20 / 60)
    assert checks["near copies"].share == pytest.approx(30 / 60)
    # Half is looked up and right, of the rest the largest class gets a half.
    assert checks["near copies"].accuracy == pytest.approx(0.75)


def kmer_set(tokens: np.ndarray, k: int) -> set[tuple[int, ...]]:
    words = [tuple(tokens[i : i + k].tolist()) for i in range(len(tokens) - k + 1)]
    return {min(w, tuple(3 - b for b in reversed(w))) for w in words if 4 not in w}


def test_overlap_equals_its_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    train = [bases(80) for _ in range(12)]
    test = [np.r_[t[:n], bases(80 - n)] for t, n in zip(train, range(0, 80, 8), strict=False)]
    test[9] = PARTNER[test[9][::-1]]
    test[8] = np.where(np.arange(80) % 17 == 3, 4, test[8]).astype(np.uint8)
    result = nearest_by_kmers(*(((p := pack(x, [0] * len(x))).tokens, p.offsets) for x in (train, test)), k=5)
    sets = [[kmer_set(piece, 5) for piece in part] for part in (train, test)]
    exact = np.array([[len(a & b) / len(a | b) for a in sets[0]] for b in sets[1]])
    assert result.jaccard == pytest.approx(exact.max(axis=1))
    assert (exact[np.arange(len(test)), result.nearest] == exact.max(axis=1)).all()
    monkeypatch.setattr(kmer_overlap, "_MOST", 800)
    sampled = nearest_by_kmers(*(((p := pack(x, [0] * len(x))).tokens, p.offsets) for x in (train, test)), k=5)
    assert sampled.jaccard[9] == pytest.approx(exact[9].max(), abs=0.3)


def test_sequences_shorter_than_a_kmer_have_no_neighbour() -> None:
    short = pack([bases(4), bases(30)], [0, 1])
    result = nearest_by_kmers((short.tokens, short.offsets), (short.tokens, short.offsets), k=11)
    assert result.nearest.tolist() == [-1, 1]
    assert result.jaccard.tolist() == [0, 1]


def test_overlapping_intervals() -> None:
    train = np.array([[0, 0, 100, 1], [0, 90, 200, 1], [1, 0, 50, 1], [0, 300, 310, 1], [0, 0, 1000, -1]])
    test = np.array([[0, 40, 60, -1], [0, 150, 260, 1], [1, 40, 90, 1], [2, 0, 10, 1], [0, 305, 325, 1]])
    assert overlapping(train[:4], test).tolist() == [0, -1, -1, -1, -1]
    assert overlapping(train, test).tolist()[1] == 4
    checks = found(pack([bases(60)] * 4, [0, 1, 0, 1]), pack([bases(60)] * 5, [0, 1, 0, 1, 1]), spans=(train[:4], test))
    assert checks["overlapping intervals"].share == pytest.approx(1 / 5)
    assert checks["same contig"].share == pytest.approx(4 / 5)
