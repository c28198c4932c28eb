"""Which part of a genome is trained on and which is held out: whole contigs, or the last part of each contig.

Stretches are 0-based half-open and never overlap; random windows are not offered, because neighbours would leak.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from titans_seq.errors import RangeError, UnknownNameError
from titans_seq.genomics.genome import Genome, unknown_contig


@dataclass(frozen=True, slots=True, order=True)
class Stretch:
    """Bases ``start .. end`` of a contig."""

    contig: str
    start: int
    end: int

    def __len__(self) -> int:
        return self.end - self.start


@dataclass(frozen=True)
class Split:
    """Stretches to train on and stretches to evaluate on, in the order of the genome."""

    train: tuple[Stretch, ...]
    valid: tuple[Stretch, ...]

    def to_json(self) -> dict[str, Any]:
        """For a report: every stretch, and how many bases each side has."""
        return {
            "train_bases": sum(map(len, self.train)),
            "valid_bases": sum(map(len, self.valid)),
            "train": [asdict(stretch) for stretch in self.train],
            "valid": [asdict(stretch) for stretch in self.valid],
        }


def split_by_contigs(genome: Genome, valid: Sequence[str]) -> Split:
    """Hold out whole contigs.

    Raises
    ------
    UnknownNameError
        A name that is not in the genome, with examples of those that are.
    RangeError
        No name given, or no contig left to train on.
    """
    for name in valid:
        if name not in genome:
            raise UnknownNameError(unknown_contig(name, genome.names))
    held_out = frozenset(valid)
    whole = [Stretch(contig.name, 0, contig.length) for contig in genome.contigs]
    split = Split(
        tuple(stretch for stretch in whole if stretch.contig not in held_out),
        tuple(stretch for stretch in whole if stretch.contig in held_out),
    )
    return _both_sides(split)


def split_by_fraction(genome: Genome, fraction: float = 0.2, *, margin: int = 0) -> Split:
    """Hold out the last `fraction` of every contig.

    Parameters
    ----------
    fraction : float
        Between 0 and 1, both excluded; the held-out part of a contig of L bases begins at ``int(L * (1 - fraction))``.
    margin : int
        Bases dropped from the end of the training part, so that nothing spans the cut.

    Example: a contig of 10 bases, ``fraction=0.2``, ``margin=1``: train 0..7, valid 8..10.

    Raises
    ------
    RangeError
        A fraction or margin outside its range, or nothing left on one side.
    """
    if not 0 < fraction < 1:
        raise RangeError(f"expected a fraction between 0 and 1, found {fraction}")
    if margin < 0:
        raise RangeError(f"expected a margin of at least 0, found {margin}")
    train, valid = [], []
    for contig in genome.contigs:
        cut = int(contig.length * (1 - fraction))
        if cut - margin > 0:
            train.append(Stretch(contig.name, 0, cut - margin))
        if cut < contig.length:
            valid.append(Stretch(contig.name, cut, contig.length))
    return _both_sides(Split(tuple(train), tuple(valid)))


def _both_sides(split: Split) -> Split:
    for side, stretches in (("to train on", split.train), ("to evaluate on", split.valid)):
        if not stretches:
            raise RangeError(f"the split leaves nothing {side}; choose other contigs, fraction or margin")
    return split
