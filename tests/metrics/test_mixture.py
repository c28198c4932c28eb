import math

import numpy as np
import numpy.typing as npt
import pytest

from titans_seq.errors import RangeError
from titans_seq.metrics import markov_bits, mixture, mixture_bits
from titans_seq.metrics.mixture import mix, recent_hits


def slow_mix(logs: npt.NDArray[np.float64], bases: list[int], sets: list[int], block: int) -> list[float]:
    """The rule of the module, one base and one coder at a time."""
    weights = [[mixture._FIRST_WEIGHT] * logs.shape[1] for _ in range(max(sets) + 1)]
    bits = []
    for start in range(0, len(bases), block):
        rate = max(mixture._LEAST_RATE, mixture._RATE / (1 + start / mixture._RATE_HALVES_AFTER))
        slopes = [[0.0] * logs.shape[1] for _ in weights]
        for t in range(start, min(start + block, len(bases))):
            scores = [sum(w * logs[t, i, a] for i, w in enumerate(weights[sets[t]])) for a in range(4)]
            total = sum(math.exp(score) for score in scores)
            share = [math.exp(score) / total for score in scores]
            bits.append(-math.log2(share[bases[t]]))
            for i in range(logs.shape[1]):
                slopes[sets[t]][i] += sum((share[a] - (a == bases[t])) * logs[t, i, a] for a in range(4))
        for s, row in enumerate(slopes):
            weights[s] = [w - rate * slope for w, slope in zip(weights[s], row, strict=True)]
    return bits


@pytest.mark.parametrize("block", [1, 4, 7])
def test_mix_equals_the_slow_rule(block: int) -> None:
    rng = np.random.default_rng(block)
    logs = np.log(rng.dirichlet([0.5] * 4, (90, 3)) + 1e-3)
    bases = rng.integers(0, 4, 90)
    sets = rng.integers(0, 3, 90)
    found = mix(logs, bases.astype(np.uint8), sets, block=block)
    assert np.allclose(found, slow_mix(logs, bases.tolist(), sets.tolist(), block), atol=2e-4)


def test_recent_hits_look_only_back() -> None:
    log = np.log(np.array([[0.7, 0.1, 0.1, 0.1]] * 20 + [[0.25] * 4] * 3, dtype=np.float32))
    hits = recent_hits(log, np.zeros(23, dtype=np.uint8))
    assert hits[:3].tolist() == [0, 1, 2]
    assert hits[20:].tolist() == [16, 15, 14]


def test_repeats_on_both_strands_become_cheap() -> None:
    rng = np.random.default_rng(0)
    unit = rng.integers(0, 4, 3000).astype(np.uint8)
    tokens = np.concatenate([unit, np.array([4], dtype=np.uint8), 3 - unit[::-1]])
    bits = mixture_bits(tokens, orders=(2, 4, 11, 16))
    assert np.isnan(bits[3000])
    assert 1.9 < bits[:3000].mean() < 2.2
    assert bits[3201:].mean() < 0.2
    assert mixture_bits(tokens, orders=(2, 4, 11, 16), inverted_repeats=False)[3001:].mean() > 1.9


def test_a_mixture_is_as_good_as_its_best_coder() -> None:
    rng = np.random.default_rng(3)
    step = rng.choice([1, 1, 1, 1, 2, 3], 20_000)
    tokens = (np.cumsum(step) % 4).astype(np.uint8)
    best = min(float(markov_bits(tokens, order=order).mean()) for order in (1, 2, 4))
    assert mixture_bits(tokens, orders=(1, 2, 4)).mean() < best + 0.02  # what learning the weights costs


def test_the_future_changes_nothing() -> None:
    tokens = np.random.default_rng(2).integers(0, 4, 700).astype(np.uint8)
    whole = mixture_bits(tokens, orders=(1, 3))
    assert np.allclose(whole[:350], mixture_bits(tokens[:350], orders=(1, 3)))


def test_nothing_but_n() -> None:
    assert np.isnan(mixture_bits(np.full(5, 4, dtype=np.uint8))).all()


def test_settings() -> None:
    tokens = np.zeros(5, dtype=np.uint8)
    with pytest.raises(RangeError, match="ascending"):
        mixture_bits(tokens, orders=(4, 2))
    with pytest.raises(RangeError, match="ascending"):
        mixture_bits(tokens, orders=())
    with pytest.raises(RangeError, match="block"):
        mixture_bits(tokens, block=0)
