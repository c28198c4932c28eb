"""What a test part gives away before any model is trained: shortcuts and copies, as plain numbers.

- *length only*, *GC only*: how well one number predicts the class (a tree with at most 16 ranges);
- *copies*: test sequences that stand in the training part, on the same or the other strand;
- *near copies*: the k-mer sets of a test and a training sequence overlap, J = |A and B| / |A or B|, on either strand;
- *intervals*: where coordinates are known, test intervals that overlap a training interval, and shared contigs.

For copies and overlaps the *lookup rule* is scored too: answer with the label of the most similar training sequence,
and with the most frequent class where there is none. A model that cannot beat it has shown nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from titans_seq.metrics.classification import classification_scores
from titans_seq.metrics.kmer_overlap import nearest_by_kmers
from titans_seq.metrics.sequence_baselines import Sequences, baseline_probabilities

Spans = NDArray[np.int64]
NEAR = 0.5
"""Jaccard index from which two sequences are called near copies: with k = 11, one change in about thirty bases."""
SHORTCUT = 0.2
"""MCC of a rule that sees one number, from which the verdict names it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the audit.

    Attributes
    ----------
    check
        What was looked for.
    share
        Share of the test sequences it concerns; None where that is no question.
    accuracy, mcc
        Of the rule that uses it on the whole test part; None where there is no rule.
    warning
        Whether the verdict speaks of it.
    text
        What it means, in words.
    """

    check: str
    share: float | None
    accuracy: float | None
    mcc: float | None
    warning: bool
    text: str


def audit_split(
    train: Sequences,
    test: Sequences,
    *,
    n_classes: int,
    spans: tuple[Spans, Spans] | None = None,
    k: int = 11,
) -> list[Finding]:
    """Look for every shortcut; see the module's text.

    Parameters
    ----------
    spans
        Contig, start, end, strand of each training and each test sequence, int64 [N, 4].
    k
        Length of the k-mers of near copies, at most 15.
    """
    majority = _score(np.full(len(test.labels), -1), train, test, n_classes)
    findings = [Finding("majority", None, *majority, False, "what always answering with the largest class gets")]
    findings += [_shortcut(name, train, test, n_classes) for name in ("length only", "GC only")]
    same = _same(train, test)
    findings.append(
        _copies("exact copies", same >= 0, _score(same, train, test, n_classes), "stand in the training part")
    )
    found = nearest_by_kmers((train.tokens, train.offsets), (test.tokens, test.offsets), k=k)
    near = np.where(found.jaccard >= NEAR, found.nearest, -1)
    words = f"have a training sequence with a {k}-mer Jaccard index of {NEAR} or more on either strand"
    findings.append(_copies("near copies", near >= 0, _score(near, train, test, n_classes), words))
    if spans is not None:
        over = overlapping(*spans)
        words = "overlap a training interval by at least half"
        findings.append(_copies("overlapping intervals", over >= 0, _score(over, train, test, n_classes), words))
        shared = np.isin(spans[1][:, 0], spans[0][:, 0])
        words = f"{shared.mean():.1%} of the test sequences lie on a contig of the training part"
        findings.append(Finding("same contig", float(shared.mean()), None, None, False, words))
    return findings


def verdict(findings: list[Finding]) -> str:
    """Say in one or two sentences whether a score on this test part can be believed."""
    said = [finding.text for finding in findings if finding.warning]
    if not said:
        return "Nothing found: no shortcut by length or GC, no copies between the parts."
    # GC is biology as often as not, so it is said but never reason enough.
    strong = [f for f in findings if f.warning and (f.mcc or 0.0) >= 0.5 and f.check != "GC only"]
    opening = "Do not believe a score on this split before these are removed: " if strong else "Keep in mind: "
    return opening + "; ".join(said) + "."


def overlapping(train: Spans, test: Spans) -> NDArray[np.int64]:
    """Number of the training interval that covers most of each test interval, -1 where none covers half of it.

    Strands are ignored: the bases are the same.
    """
    found = np.full(len(test), -1, dtype=np.int64)
    for contig in np.unique(test[:, 0]):
        mine, theirs = np.flatnonzero(test[:, 0] == contig), np.flatnonzero(train[:, 0] == contig)
        order = theirs[np.argsort(train[theirs, 1], kind="stable")]
        starts, ends = train[order, 1], train[order, 2]
        reach = np.maximum.accumulate(ends) if len(ends) else ends
        for row in mine.tolist():
            start, end = int(test[row, 1]), int(test[row, 2])
            first, last = int(np.searchsorted(reach, start, side="right")), int(np.searchsorted(starts, end))
            if first < last:
                shared = np.minimum(ends[first:last], end) - np.maximum(starts[first:last], start)
                best = int(shared.argmax())
                if 2 * int(shared[best]) >= end - start:
                    found[row] = order[first + best]
    return found


def _shortcut(name: str, train: Sequences, test: Sequences, n_classes: int) -> Finding:
    probabilities = baseline_probabilities(train, train, test, n_classes=n_classes, names=[name])[name]
    scores = classification_scores(test.labels, probabilities)
    what = name.partition(" ")[0]
    text = f"{what} alone predicts the class with an accuracy of {scores.accuracy:.1%} (MCC {scores.mcc:.2f})"
    # GC tells many real classes apart; length never means anything but how a set was put together.
    limit = SHORTCUT if what == "length" else 2 * SHORTCUT
    return Finding(name, None, scores.accuracy, scores.mcc, scores.mcc >= limit, text)


def _copies(check: str, hit: NDArray[np.bool_], score: tuple[float, float], words: str) -> Finding:
    share = float(hit.mean())
    text = f"{int(hit.sum()):,} of {len(hit):,} test sequences ({share:.1%}) {words}"
    if share >= 0.01:
        text += f", and looking them up gets an accuracy of {score[0]:.1%}"
    return Finding(check, share, *score, share > 0, text)


def _same(train: Sequences, test: Sequences) -> NDArray[np.int64]:
    """Number of an equal training sequence on either strand, -1 where there is none."""
    number: dict[bytes, int] = {}
    for row, key in enumerate(_keys(train)):
        number.setdefault(key, row)
    return np.array([number.get(key, -1) for key in _keys(test)], dtype=np.int64)


def _keys(data: Sequences) -> list[bytes]:
    partner = np.array([3, 2, 1, 0, 4], dtype=np.uint8)
    bounds = zip(data.offsets[:-1].tolist(), data.offsets[1:].tolist(), strict=True)
    pieces = [data.tokens[start:end] for start, end in bounds]
    return [min(piece.tobytes(), partner[piece[::-1]].tobytes()) for piece in pieces]


def _score(nearest: NDArray[np.int64], train: Sequences, test: Sequences, n_classes: int) -> tuple[float, float]:
    """Accuracy and MCC of the lookup rule."""
    answers = np.where(nearest >= 0, train.labels[nearest], np.bincount(train.labels, minlength=n_classes).argmax())
    scores = classification_scores(test.labels, np.eye(n_classes)[answers])
    return scores.accuracy, scores.mcc
