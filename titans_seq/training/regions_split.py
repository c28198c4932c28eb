"""Three parts of the labelled contigs: to train the network, to fit the decoder's weights, and to report on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from titans_seq.config.train_regions import HoldOutSection
from titans_seq.errors import RangeError, UnknownNameError
from titans_seq.genomics import Genome, Stretch, split_by_contigs, split_by_fraction


@dataclass(frozen=True)
class Parts:
    """Stretches that do not overlap.

    Attributes
    ----------
    train, fit, valid
        For the network, for the decoder (the last part of each training stretch; of the network's training it is left
        out), and held out from both.
    """

    train: tuple[Stretch, ...]
    fit: tuple[Stretch, ...]
    valid: tuple[Stretch, ...]

    def to_json(self) -> dict[str, Any]:
        """For a report."""
        return {
            name: {"bases": sum(map(len, part)), "stretches": [[s.contig, s.start, s.end] for s in part]}
            for name, part in (("train", self.train), ("fit", self.fit), ("valid", self.valid))
        }


def hold_out(genome: Genome, labelled: Sequence[str], settings: HoldOutSection, *, files: Sequence[int]) -> Parts:
    """Lay the parts out.

    Parameters
    ----------
    labelled
        Names of the contigs that the annotation knows; the others belong to no part.
    files
        For each contig of the genome, the number of its file.

    Raises
    ------
    RangeError, UnknownNameError
        Nothing left on one side; a contig that is not there.
    """
    known = set(labelled)
    for name in settings.valid_contigs:
        if name in genome and name not in known:
            raise UnknownNameError(f"contig {name!r} cannot be held out: the annotation has no feature on it")
    if settings.by == "region":
        split = split_by_fraction(genome, settings.valid_fraction, margin=settings.margin)
    else:
        split = split_by_contigs(genome, _contigs(genome, labelled, settings, files))
    train = tuple(s for s in split.train if s.contig in known)
    valid = tuple(s for s in split.valid if s.contig in known)
    if not train or not valid:
        raise RangeError("the split leaves nothing labelled on one side; choose another split or fraction")
    return Parts(*_cut(train, settings), valid)


def _contigs(genome: Genome, labelled: Sequence[str], settings: HoldOutSection, files: Sequence[int]) -> list[str]:
    if settings.by == "file":
        if len(set(files)) < 2:
            raise RangeError("a split by file needs two genomes or more; give --split region or contig")
        return [contig.name for contig, number in zip(genome.contigs, files, strict=True) if number == max(files)]
    if settings.valid_contigs:
        return list(settings.valid_contigs)
    known = set(labelled)
    own = [contig for contig in genome.contigs if contig.name in known]
    if len(own) < 2:
        raise RangeError("a split by contig needs two labelled contigs or more; give --split region")
    wanted = settings.valid_fraction * sum(contig.length for contig in own)
    names, held = [own[-1].name], own[-1].length
    for contig in own[-2:0:-1]:
        if held >= wanted:
            break
        names.append(contig.name)
        held += contig.length
    return names


def _cut(train: Sequence[Stretch], settings: HoldOutSection) -> tuple[tuple[Stretch, ...], tuple[Stretch, ...]]:
    """Part each training stretch; with a fraction of 0 the decoder learns from what the network has learned from."""
    if settings.decoder_fraction == 0:
        return tuple(train), tuple(train)
    first, last = [], []
    for stretch in train:
        cut = stretch.end - int(len(stretch) * settings.decoder_fraction)
        first.append(Stretch(stretch.contig, stretch.start, cut))
        if cut < stretch.end:
            last.append(Stretch(stretch.contig, cut, stretch.end))
    return tuple(first), tuple(last)
