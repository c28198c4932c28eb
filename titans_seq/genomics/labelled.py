"""Sequences with a class each: what a classifier learns from, is checked on, and what is wrong with such sets.

The tokens of all sequences lie end to end in one array, so that fifty thousand sequences of any lengths cost what
their bases cost. Where a row came from (file and line) travels with it, for messages. The files are read in
:mod:`titans_seq.genomics.labelled_files`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from titans_seq.errors import ConfigError, InputFileError, unknown_name
from titans_seq.genomics.alphabet import Tokens, reverse_complement

_log = logging.getLogger(__name__)

Rows = npt.NDArray[np.int64]
UNLABELLED = -1


@dataclass(frozen=True)
class LabelledSequences:
    """Sequences in file order.

    Attributes
    ----------
    tokens
        uint8 [bases]: all sequences, one behind the other.
    offsets
        int64 [N + 1]: sequence i is ``tokens[offsets[i]:offsets[i + 1]]``.
    labels
        int64 [N]: index into ``classes``; `UNLABELLED` where the file gives none.
    classes
        Names, in the order of the model's outputs.
    names
        A name for each sequence, as the file has it; not necessarily unique.
    files, file, line
        Paths, and for each sequence the index of its path and its line (0 where the format has no lines).
    spans
        int64 [N, 4]: contig (index into ``contigs``), start, end, strand, 0-based half-open; None without coordinates.
    contigs
        Names of the contigs that ``spans`` counts.
    """

    tokens: Tokens
    offsets: Rows
    labels: Rows
    classes: tuple[str, ...]
    names: tuple[str, ...]
    files: tuple[str, ...]
    file: Rows
    line: Rows
    spans: Rows | None = None
    contigs: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> Tokens:
        return self.tokens[self.offsets[row] : self.offsets[row + 1]]

    def __iter__(self) -> Iterator[Tokens]:
        return (self[row] for row in range(len(self)))

    @property
    def lengths(self) -> Rows:
        """Bases of each sequence, int64 [N]."""
        return np.diff(self.offsets)

    def counts(self) -> dict[str, int]:
        """Count the sequences of each class."""
        found = np.bincount(self.labels[self.labels >= 0], minlength=len(self.classes))
        return dict(zip(self.classes, found.tolist(), strict=True))

    def where(self, row: int) -> tuple[str, int | None]:
        """Give the path and line of a sequence."""
        return self.files[int(self.file[row])], int(self.line[row]) or None

    def take(self, rows: Rows) -> LabelledSequences:
        """Give the sequences with these numbers, in this order."""
        lengths = self.lengths[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        pieces = [self[int(row)] for row in rows]
        return replace(
            self,
            tokens=np.concatenate(pieces) if pieces else self.tokens[:0],
            offsets=offsets,
            labels=self.labels[rows],
            names=tuple(self.names[int(row)] for row in rows),
            file=self.file[rows],
            line=self.line[rows],
            spans=None if self.spans is None else self.spans[rows],
        )

    def with_classes(self, classes: Sequence[str]) -> LabelledSequences:
        """Number the classes as ``classes`` does.

        Raises
        ------
        UnknownNameError
            A class that is not among them, with what is there.
        """
        for row, name in enumerate(self.classes):
            if name not in classes and bool((self.labels == row).any()):
                raise unknown_name(f"class in {self.files[0]}:", name, classes)
        numbers = np.array([classes.index(name) if name in classes else UNLABELLED for name in self.classes] + [-1])
        return replace(self, labels=numbers[self.labels].astype(np.int64), classes=tuple(classes))


def keys(data: LabelledSequences, *, both_strands: bool = False) -> list[bytes]:
    """Give each sequence as bytes that are equal where the sequences are; on either strand where asked."""
    plain = [sequence.tobytes() for sequence in data]
    if not both_strands:
        return plain
    other = [reverse_complement(sequence).tobytes() for sequence in data]
    return [min(pair) for pair in zip(plain, other, strict=True)]


def check_trainable(data: LabelledSequences, *, conflicts: str = "refuse") -> LabelledSequences:
    """Refuse what no classifier can be trained on, or drop what contradicts itself.

    Parameters
    ----------
    conflicts
        ``refuse`` or ``drop`` a sequence that is there with two labels; all its copies are dropped.

    Raises
    ------
    InputFileError, ConfigError
        No sequence, one class only, the same sequence under two labels (both places are named).
    """
    if not len(data):
        raise InputFileError(data.files[0], expected="labelled sequences", found="none")
    present = [name for name, count in data.counts().items() if count]
    if len(present) < 2:
        raise InputFileError(
            data.files[0],
            expected="sequences of at least two classes",
            found=f"{len(data):,} of one ({present[0]!r})" if present else "no labels",
            hint="give a FASTA for each class, or another --label-column",
        )
    first: dict[bytes, int] = {}
    contradicted: set[bytes] = set()
    plain = keys(data)
    for row, key in enumerate(plain):
        earlier = first.setdefault(key, row)
        if data.labels[earlier] != data.labels[row]:
            if conflicts == "refuse":
                raise _conflict(data, earlier, row)
            contradicted.add(key)
    if not contradicted:
        return data
    kept = np.array([row for row, key in enumerate(plain) if key not in contradicted], dtype=np.int64)
    _log.warning("%d rows left out: their sequences have two labels", len(data) - len(kept))
    return check_trainable(data.take(kept))


def _conflict(data: LabelledSequences, first: int, second: int) -> InputFileError:
    path, line = data.where(second)
    other, at = data.where(first)
    place = f"line {at}" if other == path else f"{other}" + (f", line {at}" if at else "")
    return InputFileError(
        path,
        line,
        problem=f"the sequence is labelled {data.classes[data.labels[second]]!r} here "
        f"and {data.classes[data.labels[first]]!r} at {place}",
        hint="correct the file, or leave such sequences out by --conflicts drop",
    )


def check_parts(train: LabelledSequences, other: LabelledSequences, *, name: str) -> None:
    """Refuse a dev or test part that is the training part itself.

    Raises
    ------
    ConfigError
        When every sequence of ``other`` is among those of ``train``.
    """
    if not len(other):
        raise InputFileError(other.files[0], expected="labelled sequences", found="none")
    seen = set(keys(train))
    if all(key in seen for key in keys(other)):
        raise ConfigError(
            f"{other.files[0]}: every sequence of the {name} part is also in the training part ({train.files[0]}); "
            f"give a {name} file of other sequences, or leave --{name} out and let a part be held out"
        )


def drop_seen(train: LabelledSequences, *held: LabelledSequences) -> LabelledSequences:
    """Leave out of ``train`` what stands in a held-out part too, on the same strand; the held-out parts stay whole."""
    seen = {key for part in held for key in keys(part)}
    kept = np.array([row for row, key in enumerate(keys(train)) if key not in seen], dtype=np.int64)
    if len(kept) < len(train):
        _log.warning("%d training sequences left out: they are in a held-out part too", len(train) - len(kept))
        return train.take(kept)
    return train


def drop_repeated(data: LabelledSequences) -> LabelledSequences:
    """Keep the first of sequences that are equal."""
    first: dict[bytes, int] = {}
    for row, key in enumerate(keys(data)):
        first.setdefault(key, row)
    return data.take(np.array(list(first.values()), dtype=np.int64))


def join_labelled(parts: Sequence[LabelledSequences]) -> LabelledSequences:
    """Put several sets behind each other; a class of the same name is the same class."""
    classes = tuple(dict.fromkeys(name for part in parts for name in part.classes))
    if len(parts) == 1:
        return parts[0]
    parts = [part.with_classes(classes) for part in parts]
    placed = all(part.spans is not None and part.contigs == parts[0].contigs for part in parts)
    files = tuple(path for part in parts for path in part.files)
    starts = np.cumsum([0, *(len(part.files) for part in parts)])
    ends = np.cumsum([0, *(len(part.tokens) for part in parts)])
    return LabelledSequences(
        tokens=np.concatenate([part.tokens for part in parts]),
        offsets=np.concatenate([[0], *(part.offsets[1:] + end for part, end in zip(parts, ends, strict=False))]),
        labels=np.concatenate([part.labels for part in parts]),
        classes=classes,
        names=tuple(name for part in parts for name in part.names),
        files=files,
        file=np.concatenate([part.file + start for part, start in zip(parts, starts, strict=False)]),
        line=np.concatenate([part.line for part in parts]),
        spans=np.concatenate([part.spans for part in parts if part.spans is not None]) if placed else None,
        contigs=parts[0].contigs if placed else (),
    )


def held_out_rows(data: LabelledSequences, *, fraction: float, seed: int) -> Rows:
    """Draw a held-out part of every class; sequences that are equal on either strand stay on one side.

    Returns
    -------
    int64, ascending: about ``fraction`` of the different sequences of each class, at least one of them.

    Raises
    ------
    ConfigError
        When a class is too small to be on both sides.
    """
    members, labels = _different(data)
    random = np.random.default_rng(seed)
    held = np.zeros(len(labels), dtype=np.bool_)
    for label, name in enumerate(data.classes):
        own = np.flatnonzero(labels == label)
        if len(own) == 1:
            raise _too_few(data, name, 1)
        held[random.permutation(own)[: max(1, round(fraction * len(own)))] if len(own) else []] = True
    return np.flatnonzero(held[members])


def fold_numbers(data: LabelledSequences, *, folds: int, seed: int) -> Rows:
    """Deal every class out to ``folds`` parts of about equal size, int64 [N]; equal sequences go to the same part.

    Raises
    ------
    ConfigError
        When a class has fewer different sequences than there are folds.
    """
    members, labels = _different(data)
    random = np.random.default_rng(seed)
    part = np.zeros(len(labels), dtype=np.int64)
    for label, name in enumerate(data.classes):
        own = np.flatnonzero(labels == label)
        if 0 < len(own) < folds:
            raise _too_few(data, name, len(own))
        part[random.permutation(own)] = np.arange(len(own)) % folds
    return part[members]


def _different(data: LabelledSequences) -> tuple[Rows, Rows]:
    """Number the sequences that differ on both strands: the number of each row, and each number's label."""
    number: dict[bytes, int] = {}
    members = np.array([number.setdefault(key, len(number)) for key in keys(data, both_strands=True)], dtype=np.int64)
    labels = np.empty(len(number), dtype=np.int64)
    labels[members[::-1]] = data.labels[::-1]
    return members, labels


def _too_few(data: LabelledSequences, name: str, count: int) -> ConfigError:
    return ConfigError(
        f"{data.files[0]}: class {name!r} has {count} different sequence{'s' if count != 1 else ''}, too few to hold "
        "some out; give more, or give the parts as files (--dev, --test)"
    )
