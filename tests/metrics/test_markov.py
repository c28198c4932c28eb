"""The vectorised coders against a slow one that keeps a dictionary and reads base by base."""

import math
from collections import defaultdict

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from titans_seq.errors import RangeError
from titans_seq.metrics import counts as counts_module
from titans_seq.metrics import join_with_breaks, markov_bits, markov_log_probabilities
from titans_seq.metrics.counts import context_counts
from titans_seq.metrics.markov import default_alpha

Tokens = npt.NDArray[np.uint8]


def slow_counts(tokens: list[int], order: int, inverted_repeats: bool) -> list[list[int]]:
    """The definition, with a dictionary from context to four counts."""
    table: dict[tuple[int, ...], list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    result = []
    for t, base in enumerate(tokens):
        window = tokens[t - order : t + 1] if t >= order else [4]
        if max(window) > 3:
            result.append([0, 0, 0, 0])
            continue
        context = tuple(window[:-1])
        result.append(list(table[context]))
        table[context][base] += 1
        if inverted_repeats:
            other = [3 - b for b in reversed(window)]
            table[tuple(other[:-1])][other[-1]] += 1
    return result


def array(values: list[int]) -> Tokens:
    return np.array(values, dtype=np.uint8)


@settings(max_examples=300, deadline=None)
@given(
    tokens=st.lists(st.sampled_from([0, 0, 1, 2, 3, 3, 3, 4]), max_size=60)
    | st.lists(st.sampled_from([0, 3]), max_size=80),
    order=st.integers(0, 6),
    inverted_repeats=st.booleans(),
)
def test_counts_equal_the_dictionary(tokens: list[int], order: int, inverted_repeats: bool) -> None:
    counts, known = context_counts(array(tokens), order=order, inverted_repeats=inverted_repeats)
    assert counts.tolist() == slow_counts(tokens, order, inverted_repeats)
    expected = [t >= order and max(tokens[t - order : t + 1]) < 4 for t in range(len(tokens))]
    assert known.tolist() == expected


@pytest.mark.parametrize("order", [8, 11, 16, 20, 24])
@pytest.mark.parametrize("inverted_repeats", [False, True])
def test_long_orders_on_a_sequence_with_repeats(order: int, inverted_repeats: bool) -> None:
    rng = np.random.default_rng(order)
    unit = rng.integers(0, 4, 200)
    tokens = np.concatenate([unit, rng.integers(0, 5, 100), unit, 3 - unit[::-1], unit[:50]]).astype(np.uint8)
    counts, _ = context_counts(tokens, order=order, inverted_repeats=inverted_repeats)
    assert counts.tolist() == slow_counts(tokens.tolist(), order, inverted_repeats)
    assert counts.any()


def test_hashed_contexts_agree_while_nothing_collides(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = np.tile(np.random.default_rng(0).integers(0, 4, 300), 3).astype(np.uint8)
    exact = counts_module._grouped
    expected = context_counts(tokens, order=12)[0]
    monkeypatch.setattr(counts_module, "_grouped", lambda keys, bits: exact(keys, bits=64))
    assert np.array_equal(context_counts(tokens, order=12)[0], expected)


def test_bits_worked_by_hand() -> None:
    bits = markov_bits(array([0, 0, 0, 0]), order=0, alpha=1.0)
    assert np.allclose(bits, [2, math.log2(5 / 2), 1, math.log2(7 / 4)])
    assert np.allclose(markov_bits(array([0, 1]), order=1), 2)


def test_n_is_skipped_and_breaks_the_context() -> None:
    bits = markov_bits(array([0, 0, 4, 0, 0]), order=1, alpha=1.0)
    assert np.isnan(bits[2])
    assert np.allclose(bits[[0, 1, 3, 4]], [2, 2, 2, math.log2(5 / 2)])


def test_log_probabilities_are_those_of_the_bits() -> None:
    tokens = np.random.default_rng(1).integers(0, 4, 500).astype(np.uint8)
    log = markov_log_probabilities(tokens, order=2, inverted_repeats=True)
    assert np.allclose(np.exp(log).sum(axis=1), 1, atol=1e-5)
    bits = markov_bits(tokens, order=2, inverted_repeats=True)
    assert np.allclose(-log[np.arange(500), tokens] / math.log(2), bits, atol=1e-5)


def test_the_future_changes_nothing() -> None:
    tokens = np.random.default_rng(2).integers(0, 5, 300).astype(np.uint8)
    whole = markov_bits(tokens, order=4, inverted_repeats=True)
    assert np.array_equal(whole[:150], markov_bits(tokens[:150], order=4, inverted_repeats=True), equal_nan=True)


def test_contigs_joined() -> None:
    tokens, slices = join_with_breaks([array([0, 1]), array([2]), array([])])
    assert tokens.tolist() == [0, 1, 4, 2, 4]
    assert [tokens[part].tolist() for part in slices] == [[0, 1], [2], []]
    assert join_with_breaks([])[0].size == 0


def test_settings() -> None:
    assert default_alpha(12) == 1
    assert default_alpha(13) == 1 / 16
    with pytest.raises(RangeError, match="order of 0 to 24"):
        markov_bits(array([0]), order=25)
    with pytest.raises(RangeError, match="alpha above 0"):
        markov_bits(array([0]), order=2, alpha=0.0)
