"""Features without a frame as runs of bases: by the network's log-odds, and by the letters of their family."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from titans_seq.genomics import complement
from titans_seq.genomics.labels import LabelScheme
from titans_seq.tasks.gene_calls import ContigScores
from titans_seq.tasks.run_calls import LabelledPart, RunRule, best_rule, count_letters, letter_table, runs_of_class

RULES = [RunRule(offset=float(offset)) for offset in range(6)]


def test_runs_of_a_class_that_is_seldom_sure() -> None:
    """Bases of a class at 0.2 among others at 0.002: nothing without an offset, the class itself with the best one."""
    scheme = LabelScheme(("CDS", "rRNA"))
    p = np.full((2, 3000), 0.002)
    truth = np.zeros((2, 3000), np.int8)
    for strand, start, end in ((0, 300, 900), (1, 2000, 2200)):
        p[strand, start:end], truth[strand, start:end] = 0.2, 2
    rest = (1 - p)[..., None] * np.array([0.97, 0.01, 0.01, 0.01])
    states = np.log(np.concatenate([rest, p[..., None]], -1)).astype(np.float16)
    scores = ContigScores(states, np.zeros_like(truth, np.float16))
    tokens = np.zeros(3000, np.uint8)
    assert runs_of_class(tokens, scores, scheme, "rRNA") == []
    part = LabelledPart(tokens, scores, truth)
    rule, _ = best_rule([part], RULES, scheme, "rRNA")
    runs = runs_of_class(tokens, scores, scheme, "rRNA", rule)
    assert [(run.start, run.end, run.strand) for run in runs] == [(300, 900, 1), (2000, 2200, -1)]
    assert runs[0].score == pytest.approx(np.log(0.2 / 0.8), abs=0.01)
    assert best_rule([replace(part, truth=np.zeros_like(truth))], RULES, scheme, "rRNA")[0] == RULES[0]


def family(seed: int) -> LabelledPart:
    """A random sequence with ten copies of one text on both strands, a tenth of their letters changed."""
    random = np.random.default_rng(seed)
    text = np.random.default_rng(99).integers(0, 4, 80).astype(np.uint8)
    tokens = random.integers(0, 4, 20_000).astype(np.uint8)
    truth = np.zeros((2, tokens.size), dtype=np.int8)
    for number in range(10):
        copy = np.where(random.random(80) < 0.1, random.integers(0, 4, 80), text).astype(np.uint8)
        start = 1000 + 1900 * number
        tokens[start : start + 80] = complement(copy[::-1]) if number % 2 else copy
        truth[number % 2, start : start + 80] = 1
    return LabelledPart(tokens, None, truth)


def test_a_family_is_found_by_its_letters_in_what_was_not_counted() -> None:
    scheme = LabelScheme(("tRNA",), ())
    table = letter_table(count_letters([family(0)], 1))
    part = family(1)
    runs = runs_of_class(part.tokens, None, scheme, "tRNA", RunRule(letters=table, penalty=8.0))
    assert len(runs) == 10
    for run in runs:  # letters beside a copy fit by chance
        assert (part.truth[int(run.strand < 0), run.start : run.end] == 1).mean() > 0.8
    rule, reached = best_rule([part], [RunRule(letters=0 * table), RunRule(letters=table, penalty=8.0)], scheme, "tRNA")
    assert rule.penalty == 8.0
    assert reached > 0.85
