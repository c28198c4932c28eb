"""How much of the held-out part the model has seen word for word, on either strand.

A genome repeats itself, and training on both strands shows a model the inverse of every repeat. A held-out base that
lies in a k-mer of the training part is not new, however clean the cut; a report says how many there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from titans_seq.metrics import join_with_breaks

Fetch = Callable[[str, int, int], NDArray[np.uint8]]
Stretches = Iterable[tuple[str, int, int]]

K = 24
"""Too long to occur twice by chance: 4^24 words."""

_BLOCK = 1 << 20


def words(tokens: NDArray[np.uint8], *, k: int = K) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """Number every k-mer by the smaller of itself and its reverse complement, in two bits a base.

    ``AC`` and ``GT`` are the same word (k = 2). Returns the numbers of the k-mers that start at each base and a mask
    that is False where one holds an unknown base.
    """
    count = len(tokens) - k + 1
    if count <= 0:
        return np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.bool_)
    forward = np.zeros(count, dtype=np.uint64)
    backward = np.zeros(count, dtype=np.uint64)
    known = np.ones(count, dtype=np.bool_)
    for j in range(k):
        step = tokens[j : j + count]
        base = np.minimum(step, 3).astype(np.uint64)
        forward |= base << np.uint64(2 * (k - 1 - j))
        backward |= (np.uint64(3) - base) << np.uint64(2 * j)
        known &= step < 4
    return np.minimum(forward, backward), known


def seen_share(held: Stretches, train: Stretches, fetch: Fetch, *, k: int = K) -> float:
    """Give the share of held-out bases that lie in a k-mer of the training part, on either strand."""
    vocabulary = _known_words(_end_to_end(train, fetch), k=k)
    vocabulary.sort()
    tokens = _end_to_end(held, fetch)
    numbers, known = words(tokens, k=k)
    index = np.searchsorted(vocabulary, numbers)
    found = known & (index < len(vocabulary))
    found[found] = vocabulary[index[found]] == numbers[found]
    edges = np.zeros(len(tokens) + 1, dtype=np.int64)
    edges[: len(found)] += found
    edges[k : k + len(found)] -= found
    total = int(np.count_nonzero(tokens < 4))
    return int(np.count_nonzero(np.cumsum(edges[:-1]) > 0)) / total if total else 0.0


def _end_to_end(stretches: Stretches, fetch: Fetch) -> NDArray[np.uint8]:
    """Lay stretches end to end with an unknown base between them, which no word spans."""
    joined, _ = join_with_breaks([fetch(*stretch) for stretch in stretches])
    return joined


def _known_words(tokens: NDArray[np.uint8], *, k: int) -> NDArray[np.uint64]:
    found = np.empty(len(tokens), dtype=np.uint64)
    count = 0
    for at in range(0, len(tokens), _BLOCK):
        numbers, known = words(tokens[at : at + _BLOCK + k - 1], k=k)
        some = numbers[known]
        found[count : count + len(some)] = some
        count += len(some)
    return found[:count]
