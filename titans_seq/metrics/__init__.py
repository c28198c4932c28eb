"""Scores and cheap baselines, each against arrays of targets and predictions; knows no file, model or memory.

For next-base prediction (tokens: uint8, 0 to 3 for A C G T, 4 for N; bits: float32 [T], NaN at N)::

    markov_bits(tokens, *, order, inverted_repeats=False, alpha=None) -> bits
    mixture_bits(tokens, *, orders=DEFAULT_ORDERS, inverted_repeats=True, block=32) -> bits
    join_with_breaks([tokens, ...]) -> (tokens, [slice, ...])          # contigs, an N between them
    mean_bits(bits) -> Mean(mean, error, bases)                        # error over blocks of 1 kb
    difference(first, second) -> Mean                                  # paired
    bits_by_class(bits, classes, *, names) -> dict[str, Mean]
    bits_by_window(bits, *, window) -> float64 [ceil(T / window)]

To score a held-out part after the training part, code both in one go and slice the result.
"""

from titans_seq.metrics.bits import Mean, bits_by_class, bits_by_window, difference, mean_bits
from titans_seq.metrics.markov import join_with_breaks, markov_bits, markov_log_probabilities
from titans_seq.metrics.mixture import DEFAULT_ORDERS, mixture_bits

__all__ = [
    "DEFAULT_ORDERS",
    "Mean",
    "bits_by_class",
    "bits_by_window",
    "difference",
    "join_with_breaks",
    "markov_bits",
    "markov_log_probabilities",
    "mean_bits",
    "mixture_bits",
]
