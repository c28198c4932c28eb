"""Streams of labelled blocks: windows around what is rare, the shares that are shown, going on where one stopped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from titans_seq.genomics import Genome, Stretch, decode, open_genome
from titans_seq.genomics.labels import LabelTracks
from titans_seq.training.regions_streams import RARE, LabelledStreams

CLASSES = (0, 1, 1, 1, 2, 3)
SIZE = 60_000


@pytest.fixture
def genome(tmp_path: Path) -> Genome:
    path = tmp_path / "made.fa"
    letters = decode(np.random.default_rng(0).integers(0, 4, SIZE).astype(np.uint8))
    path.write_text(f">c\n{letters}\n")
    return open_genome(path, cache_dir=tmp_path)


def streams(genome: Genome, *, rare: int = 2) -> LabelledStreams:
    """A third of one strand codes; class 2 has 70 bases on each of two places, class 3 has 300 bases."""
    states = np.zeros((2, SIZE), np.int8)
    states[0, 10_000:30_000] = 1 + np.arange(20_000) % 3
    states[1, 35_000:35_070] = states[0, 40_000:40_070] = 4
    states[0, 50_000:50_300] = 5
    tracks = {"c": LabelTracks(states, np.zeros_like(states))}
    return LabelledStreams(
        genome, [Stretch("c", 0, 45_000), Stretch("c", 46_000, SIZE)], tracks, rows=3, length=1152, margin=192,
        gap_reset=1000, seed=0, classes=CLASSES, rare=rare, unit=192,
    )  # fmt: skip


def test_windows_hold_rare_states_and_are_counted(genome: Genome) -> None:
    made = streams(genome)
    assert made.shares[4] < RARE
    counts, held = np.zeros(6), []
    for _ in range(80):
        found = next(made)
        assert found.rare_tokens.shape == (3, 2, 384 + 2 * 192)
        assert found.rare_labels.shape == (3, 2, 2, 384)
        flat = found.rare_labels.reshape(6, -1)
        held += [4 in row or 5 in row for row in flat]
        for labels in (found.labels, found.rare_labels):
            counts += np.bincount(labels[labels >= 0], minlength=6)
    assert all(held)
    assert made.shown[4:] == pytest.approx((counts / counts.sum())[4:], rel=0.2)
    assert (made.shown[4:] > 5 * made.shares[4:]).all()
    assert made.shown.sum() == pytest.approx(1)


def test_letters_of_a_window_belong_to_its_labels(genome: Genome) -> None:
    made = streams(genome)
    text, found = genome.tokens("c"), next(made)
    for tokens, labels in zip(found.rare_tokens.reshape(6, -1), found.rare_labels.reshape(6, 2, -1), strict=True):
        inner = tokens[192:-192]
        (start,) = (n for n in range(SIZE - inner.size) if np.array_equal(text[n : n + inner.size], inner))
        assert np.array_equal(labels, made._tracks["c"].states[:, start : start + inner.size])


def test_windows_go_on_where_they_stopped(genome: Genome) -> None:
    first, second = streams(genome), streams(genome)
    for _ in range(3):
        next(first)
    second.load_state_dict(first.state_dict())
    here, there = next(first), next(second)
    assert np.array_equal(here.rare_tokens, there.rare_tokens)
    assert np.array_equal(here.tokens, there.tokens)


def test_none_are_read_where_none_are_asked_for(genome: Genome) -> None:
    made = streams(genome, rare=0)
    assert next(made).rare_tokens.shape[1] == 0
    assert np.array_equal(made.shown, made.shares)
