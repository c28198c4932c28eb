"""A made genome whose genes have introns, and what a network that is mostly right would say of it."""

from __future__ import annotations

import numpy as np

from titans_seq.genomics import decode, encode, reverse_complement
from titans_seq.tasks.gene_calls import ContigScores

Genome = tuple[np.ndarray, list[tuple[int, tuple[tuple[int, int], ...]]], ContigScores]


def made(seed: int, *, genes: int = 30) -> Genome:
    """Genes of two or three exons on both strands, and scores of a network that is right in four bases of five."""
    random = np.random.default_rng(seed)

    def letters(size: int) -> str:
        return "".join(random.choice(list("ACGT"), size))

    text, annotated = "", []
    for number in range(genes):
        body = "".join(random.choice(["GCC", "CTC", "GAC", "AAC"], int(random.integers(40, 60))))
        body = "ATG" + body + "TAA"
        cuts = sorted(random.choice(np.arange(20, len(body) - 20), 1 + number % 2, replace=False).tolist())
        unit, parts, at = "", [], 0
        for cut in [*cuts, len(body)]:
            parts.append((len(unit), len(unit) + cut - at))
            unit += body[at:cut]
            at = cut
            if cut < len(body):
                unit += "GTAAGT" + letters(int(random.integers(40, 90))) + "TTTTTTTTTCAG"
        text += letters(int(random.integers(80, 160)))
        if number % 3 == 0:
            unit, parts = decode(reverse_complement(encode(unit))), [(len(unit) - b, len(unit) - a) for a, b in parts]
        annotated.append(
            (-1 if number % 3 == 0 else 1, tuple(sorted((len(text) + a, len(text) + b) for a, b in parts)))
        )
        text += unit
    text += letters(100)
    states = np.zeros((2, len(text)), dtype=np.int64)
    for strand, parts in annotated:
        row, position = int(strand < 0), 0
        states[row, parts[0][0] : parts[-1][1]] = 4
        for a, b in parts if strand > 0 else parts[::-1]:
            places = np.arange(a, b) if strand > 0 else np.arange(b - 1, a - 1, -1)
            states[row, places] = 1 + (position + np.arange(b - a)) % 3
            position += b - a
    told = np.where(random.random(states.shape) < 0.8, states, random.integers(0, 5, states.shape))
    log_p = np.log(np.eye(5)[told] * 0.8 + 0.04).astype(np.float16)
    return encode(text).copy(), annotated, ContigScores(log_p, np.zeros(states.shape, np.float16))
