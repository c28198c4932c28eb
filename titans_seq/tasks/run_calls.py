"""Features without a frame (tRNA, rRNA ...) as runs of bases: by what a network says of them, or by their letters.

A run is worth the sum over its bases of one of

    log p / (1 - p) + offset          p of the class by the network
    w log p(h | class) / p(h | rest) / 6      h the hexamer at a base, counted on the training part

less a penalty; `titans_seq.genomics.runs` finds the best runs. A class of sixty short features is too little for a
network, but members of a family share their hexamers. Which of the two a class goes by is chosen where neither was
learned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from titans_seq.genomics.codon_scores import hexamer_ids
from titans_seq.genomics.gene_decoder import Gene, both_strands
from titans_seq.genomics.labels import LabelScheme
from titans_seq.genomics.runs import best_runs
from titans_seq.tasks.gene_calls import ContigScores

PENALTY: Final = 20.0
"""Log-odds that a run of a class must be worth: a few bases that are nearly sure, or many that are likely."""
SHORTEST: Final = 20
"""Bases of a run at least."""
_LEAST: Final = 1e-6
_PSEUDO: Final = 0.1
_SIZE: Final = 4**6 + 1


@dataclass(frozen=True)
class RunRule:
    """How the runs of a class are found; see the module's text.

    Attributes
    ----------
    offset
        Added to the network's log-odds of every base.
    letters : float32 [4^6 + 1], optional
        w times the log-odds of hexamers; the network is not asked where they are given.
    penalty
        Of a run.
    """

    offset: float = 0.0
    letters: NDArray[np.float32] | None = None
    penalty: float = PENALTY


@dataclass(frozen=True)
class LabelledPart:
    """Bases of a stretch, what a network says of them if it is asked, and their classes, int8 [2, T], -1 unknown."""

    tokens: NDArray[np.uint8]
    scores: ContigScores | None
    truth: NDArray[np.int8]


def runs_of_class(
    tokens: NDArray[np.uint8],
    scores: ContigScores | None,
    scheme: LabelScheme,
    kind: str,
    rule: RunRule | None = None,
) -> list[Gene]:
    """Stretches of a class on both strands; the score is the mean of the log-odds of its bases."""
    rule = rule or RunRule()
    odds = letter_odds(rule.letters, tokens) if rule.letters is not None else _network_odds(scores, scheme, kind)
    found = []
    for row, strand in zip(odds, (1, -1), strict=True):
        for start, end, mean in best_runs(row + rule.offset, penalty=rule.penalty, min_length=SHORTEST):
            found.append(Gene(start, end, strand, mean - rule.offset, 1.0, False, False))
    return sorted(found)


def best_rule(
    parts: Sequence[LabelledPart], rules: Sequence[RunRule], scheme: LabelScheme, kind: str
) -> tuple[RunRule, float]:
    """The rule whose runs agree best with annotated bases, the first of equals, and its agreement (F of beta 1/2)."""
    found = [(rule, run_agreement([(part, rule) for part in parts], scheme, kind)) for rule in rules]
    return max(found, key=lambda pair: pair[1])


def run_agreement(pairs: Sequence[tuple[LabelledPart, RunRule]], scheme: LabelScheme, kind: str) -> float:
    """How well the runs of parts, each by a rule of its own, agree with their annotated bases: F of beta 1/2."""
    number = 1 + scheme.classes.index(kind)
    hit = wrong = missed = 0
    for part, rule in pairs:
        found = np.zeros(part.truth.shape, dtype=np.bool_)
        for run in runs_of_class(part.tokens, part.scores, scheme, kind, rule):
            found[int(run.strand < 0), run.start : run.end] = True
        known, own = part.truth >= 0, part.truth == number
        hit += int((found & own).sum())
        wrong += int((found & known & ~own).sum())
        missed += int((own & ~found).sum())
    return 1.25 * hit / max(1.25 * hit + wrong + 0.25 * missed, 1)


def count_letters(parts: Sequence[LabelledPart], number: int) -> NDArray[np.float64]:
    """Hexamers in the bases of class `number` and in the rest, [2, 4^6 + 1]; what is not known counts as neither."""
    counts = np.zeros((2, _SIZE))
    for part in parts:
        for letters, truth in zip(both_strands(part.tokens), (part.truth[0], part.truth[1, ::-1]), strict=True):
            ids = hexamer_ids(letters)
            for row, chosen in enumerate((truth == number, (truth >= 0) & (truth != number))):
                counts[row] += np.bincount(ids[chosen], minlength=_SIZE)
    return counts


def letter_table(counts: NDArray[np.float64]) -> NDArray[np.float32]:
    """Log-odds of hexamers per base from `count_letters`; one that the class never shows is a tenth as likely there."""
    rest = (counts[1] + 1) / (counts[1] + 1).sum()
    own = (counts[0] + _PSEUDO * _SIZE * rest) / (counts[0].sum() + _PSEUDO * _SIZE)
    table = (np.log(own) - np.log(rest)) / 6
    table[-1] = 0.0
    return table.astype(np.float32)


def letter_odds(table: NDArray[np.float32], tokens: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What the hexamers at every base of both strands say, float32 [2, T] in forward coordinates."""
    forward, backward = (table[hexamer_ids(letters)] for letters in both_strands(tokens))
    return np.stack([forward, backward[::-1]])


def _network_odds(scores: ContigScores | None, scheme: LabelScheme, kind: str) -> NDArray[np.float32]:
    assert scores is not None, "runs by a network's scores need them"
    first = scheme.first_state(kind)
    p = scores.probability(range(first, first + (3 if kind in scheme.frames else 1)))
    p = np.clip(np.nan_to_num(p, nan=0.0), _LEAST, 1 - _LEAST)
    odds: NDArray[np.float32] = np.log(p) - np.log1p(-p)
    return odds
