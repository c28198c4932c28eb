"""From an annotation to one label per base and strand, with codon positions where they are wanted.

A strand's states are ``none`` and then, in the order asked for, one state for each class; a class in `frames` (such as
CDS) has three, one for each codon position. The rule where features overlap:

- the strands are labelled apart, so features on opposite strands never meet; a feature without a strand is on both;
- on one strand the class that stands first in the list wins;
- within a class the longer feature wins (all parts of a spliced feature count), so of isoforms the longest shows.

``intron``, when asked for, is what lies between the exons (or, without exons, the CDS parts) of one transcript; rows of
that name in the file are not read, since many files list introns of reads there.

Left out of learning (`IGNORED`), where codon positions are wanted: pseudogenes and CDS marked ``pseudo``, and CDS whose
length is not a multiple of three, counted in the log.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from titans_seq.errors import ConfigError, InputFileError, UnknownNameError
from titans_seq.genomics.regions import Features, circular_contigs
from titans_seq.genomics.sources import Source

_log = logging.getLogger(__name__)

Labels = npt.NDArray[np.int8]

IGNORED: Final = -1
NONE: Final = "none"
INTRON: Final = "intron"
_CODING: Final = ("CDS", "exon")
_STOP: Final = "stop_codon"
_PSEUDO: Final = ("pseudogene", "pseudogenic_transcript")


@dataclass(frozen=True)
class LabelScheme:
    """What a base of a strand can be.

    Attributes
    ----------
    classes : tuple of str
        Feature types, the most important first.
    frames : tuple of str
        Those of them whose codon position is a label too.

    Example: ``LabelScheme(("CDS", "tRNA"), ("CDS",)).states`` is ``("none", "CDS/0", "CDS/1", "CDS/2", "tRNA")``.
    """

    classes: tuple[str, ...]
    frames: tuple[str, ...] = ("CDS",)

    def __post_init__(self) -> None:
        if not self.classes or len(set(self.classes)) != len(self.classes) or NONE in self.classes:
            raise ConfigError(f"expected different class names other than {NONE!r}, found {', '.join(self.classes)}")

    @property
    def states(self) -> tuple[str, ...]:
        """Names of a strand's states."""
        names = [NONE]
        for kind in self.classes:
            names += [f"{kind}/{position}" for position in range(3)] if kind in self.frames else [kind]
        return tuple(names)

    @property
    def framed(self) -> str | None:
        """The class whose genes have a start and a frame, if any."""
        return next((kind for kind in self.classes if kind in self.frames), None)

    def first_state(self, kind: str) -> int:
        """Number of a class's state, the first of three for a class with codon positions."""
        return self.states.index(f"{kind}/0" if kind in self.frames else kind)

    @property
    def class_of_state(self) -> tuple[int, ...]:
        """For each state, 0 for none or 1 + the place of its class."""
        return (0, *(1 + self.classes.index(name.rpartition("/")[0] or name) for name in self.states[1:]))


@dataclass(frozen=True)
class LabelTracks:
    """Labels of one contig in forward coordinates; row 0 is strand +1, row 1 strand -1.

    Attributes
    ----------
    states : int8 [2, T]
        Index into `LabelScheme.states`, or `IGNORED`.
    sites : int8 [2, T]
        1 at the first base of a gene's start codon (its highest coordinate on strand -1), `IGNORED` where not known.
    """

    states: Labels
    sites: Labels


@dataclass(frozen=True)
class Transcript:
    """Parts of one feature on one contig, in coordinate order, 0-based half-open.

    Attributes
    ----------
    row
        Its first row in the annotation.
    phases
        Of each part, -1 where the file says none.
    """

    row: int
    strand: int
    parts: tuple[tuple[int, int], ...]
    phases: tuple[int, ...]
    pseudo: bool = False

    @property
    def length(self) -> int:
        """Bases of all parts."""
        return sum(end - start for start, end in self.parts)

    @property
    def start(self) -> int:
        """First base."""
        return self.parts[0][0]

    @property
    def end(self) -> int:
        """Behind the last base."""
        return self.parts[-1][1]

    def codon_positions(self) -> tuple[list[int], int]:
        """Codon position of the first base of each part in reading order, and of the base behind the last one.

        A phase in the file counts; a missing one follows from the part before, and is 0 at the beginning.
        """
        order = range(len(self.parts)) if self.strand >= 0 else range(len(self.parts) - 1, -1, -1)
        at, found = 0, []
        for number in order:
            phase = self.phases[number]
            at = (3 - phase) % 3 if phase >= 0 else at
            found.append(at)
            start, end = self.parts[number]
            at = (at + end - start) % 3
        return found, at


@dataclass
class LabelCounts:
    """What was found while labels were made, for the log and the report."""

    features: dict[str, int] = field(default_factory=dict)
    pseudo: int = 0
    broken: list[str] = field(default_factory=list)
    without_phase: int = 0

    def tell(self, source: str) -> None:
        """Log it."""
        _log.info("%s: %s", source, ", ".join(f"{count:,} {kind}" for kind, count in self.features.items()))
        if self.pseudo:
            _log.info("%s: %d pseudogenes are not learned from", source, self.pseudo)
        if self.without_phase:
            _log.info("%s: %d CDS rows without a phase; counted from the first part on", source, self.without_phase)
        if self.broken:
            _log.warning(
                "%s: the length of %d CDS is not a multiple of three; they are not learned from, such as %s",
                source, len(self.broken), self.broken[0],
            )  # fmt: skip


def check_classes(features: Features, scheme: LabelScheme) -> None:
    """Refuse a class that the annotation does not have.

    Raises
    ------
    UnknownNameError
        With the types that are there and how many rows each has.
    """
    present, counts = np.unique(features.type, return_counts=True)
    there = dict(zip(present.tolist(), counts.tolist(), strict=True))
    for kind in scheme.classes:
        known = kind in there or (kind == INTRON and any(name in there for name in _CODING))
        if not known:
            shown = ", ".join(f"{name} ({there[name]:,})" for name in sorted(there, key=lambda name: -there[name]))
            raise UnknownNameError(f"{features.source}: no row of class {kind!r}; there are {shown or 'none'}")
    for kind in scheme.frames:
        if kind not in scheme.classes:
            raise ConfigError(f"frames are wanted for {kind!r}, which is not among the classes")


def label_tracks(features: Features, name: str, length: int, scheme: LabelScheme, counts: LabelCounts) -> LabelTracks:
    """Labels of one contig of `length` bases; adds to `counts`.

    Example: a CDS at 3..9 of strand +1, frames wanted, gives strand 0 ``0 0 0 1 2 3 1 2 3 0``.

    Raises
    ------
    InputFileError
        A feature beyond the contig's end (unless the annotation calls the contig circular), with its line.
    """
    here = features.select(seqid=name)
    circular = name in circular_contigs(here)
    states = np.zeros((2, length), dtype=np.int8)
    sites = np.zeros((2, length), dtype=np.int8)
    for kind in reversed(scheme.classes):
        rows = introns(here) if kind == INTRON else transcripts(here, kind)
        counts.features[kind] = counts.features.get(kind, 0) + len(rows)
        first, framed = scheme.first_state(kind), kind in scheme.frames
        for feature in sorted(rows, key=lambda feature: feature.length):
            if feature.end > length and not circular:
                _refuse(here, feature, kind, name, length)
            _paint(states, sites, feature, first, framed=framed, counts=counts, where=f"{name}:{feature.start + 1}")
    if scheme.framed is not None:
        for kind in _PSEUDO:
            for feature in transcripts(here, kind):
                counts.pseudo += 1
                _ignore(states, sites, feature)
    return LabelTracks(states, sites)


def transcripts(features: Features, kind: str) -> list[Transcript]:
    """Features of a type on one contig, their parts put together.

    Rows are parts of one feature when they share a GFF3 ``ID`` (or, for exons and where no ID is shared, a
    ``Parent``), a GTF ``transcript_id``, or, in GenBank, one entry. The CDS of a GTF ends in front of its stop codon,
    that of GFF3 and GenBank behind it: a GTF's rows ``stop_codon`` are joined to the CDS of their transcript.
    """
    here = features.select([kind])
    if not len(here):
        return []
    if kind == "CDS" and "transcript_id" in here.attributes(0):
        with_cds = {name for row in range(len(here)) for name in here.attributes(row).get("transcript_id", ())}
        here = features.select([kind, _STOP])
        kept = [here.type[n] == kind or not with_cds.isdisjoint(here.attributes(n).get("transcript_id", ()))
                for n in range(len(here))]  # fmt: skip
        here = here.take(np.flatnonzero(kept))
    attributes = [here.attributes(row) for row in range(len(here))]
    ids = [found.get("ID", [""])[0] for found in attributes]
    shared = len({name for name in ids if name}) < sum(1 for name in ids if name)
    groups: dict[tuple[str, int], list[int]] = {}
    for row, found in enumerate(attributes):
        if "transcript_id" in found:
            keys = [f"transcript {found['transcript_id'][0]}"]
        elif "ID" in found and (shared or "Parent" not in found) and kind != "exon":
            keys = [f"ID {ids[row]}"]
        elif "Parent" in found:
            keys = [f"Parent {name}" for name in found["Parent"]]
        else:
            keys = [f"entry {here.raw_attributes[row]}" if here.raw_attributes[row] else f"row {row}"]
        for key in keys:
            groups.setdefault((key, int(here.strand[row])), []).append(row)
    return [_joined(here, rows, any(_is_pseudo(attributes[row]) for row in rows)) for rows in groups.values()]


def introns(features: Features) -> list[Transcript]:
    """The stretches between exons (without exons: CDS parts) of each transcript."""
    kind = next((name for name in ("exon", "CDS") if (features.type == name).any()), "exon")
    found = []
    for transcript in transcripts(features, kind):
        parts = transcript.parts
        gaps = [(left[1], right[0]) for left, right in pairwise(parts) if right[0] > left[1]]
        found += [Transcript(transcript.row, transcript.strand, (gap,), (-1,)) for gap in gaps]
    return found


def _joined(here: Features, rows: Sequence[int], pseudo: bool) -> Transcript:
    order = sorted(rows, key=lambda row: (int(here.start[row]), int(here.end[row])))
    parts = [(int(here.start[row]), int(here.end[row])) for row in order]
    phases = [int(here.phase[row]) for row in order]
    strand = int(here.strand[rows[0]])
    if (here.type[rows] == _STOP).any():
        for number in range(len(parts) - 1, 0, -1):  # only what touches is one part: a stop may be broken by an intron
            (start, end), (other, behind) = parts[number - 1 : number + 1]
            if other <= end:
                parts[number - 1 : number + 1] = [(start, max(end, behind))]
                del phases[number if strand >= 0 else number - 1]
    return Transcript(rows[0], strand, tuple(parts), tuple(phases), pseudo)


def _is_pseudo(attributes: dict[str, list[str]]) -> bool:
    return attributes.get("pseudo", ["false"])[0] != "false" or "pseudogene" in attributes


def _strands(strand: int) -> tuple[int, ...]:
    return (0, 1) if strand == 0 else ((0,) if strand > 0 else (1,))


def _paint(
    states: Labels, sites: Labels, feature: Transcript, first: int, *, framed: bool, counts: LabelCounts, where: str
) -> None:
    length = states.shape[1]
    if not framed:
        for row in _strands(feature.strand):
            for start, end in feature.parts:
                for left, right in _unrolled(start, end, length):
                    states[row, left:right] = first
        return
    counts.without_phase += sum(phase < 0 for phase in feature.phases)
    begins, behind = feature.codon_positions()
    if feature.pseudo or feature.strand == 0 or behind != 0:
        counts.pseudo += feature.pseudo
        if behind != 0 and not feature.pseudo:
            counts.broken.append(f"{where}, {feature.length} bases")
        _ignore(states, sites, feature)
        return
    row = _strands(feature.strand)[0]
    parts = feature.parts if feature.strand > 0 else feature.parts[::-1]
    for (start, end), at in zip(parts, begins, strict=True):
        positions = first + (at + np.arange(end - start)) % 3
        places = np.arange(start, end) if feature.strand > 0 else np.arange(end - 1, start - 1, -1)
        states[row, places % length] = positions
    if begins[0] == 0:
        sites[row, (feature.start if feature.strand > 0 else feature.end - 1) % length] = 1


def _ignore(states: Labels, sites: Labels, feature: Transcript) -> None:
    for row in _strands(feature.strand):
        for start, end in feature.parts:
            for left, right in _unrolled(start, end, states.shape[1]):
                states[row, left:right] = IGNORED
                sites[row, left:right] = IGNORED


def _unrolled(start: int, end: int, length: int) -> Iterable[tuple[int, int]]:
    """A stretch that passes the end of a circular contig goes on at its start."""
    return ((start, end),) if end <= length else ((start, length), (0, end - length))


def _refuse(here: Features, feature: Transcript, kind: str, name: str, length: int) -> None:
    start, end = feature.parts[-1]
    raise InputFileError(
        here.source,
        line_of(here.source, name, start, end),
        problem=f"{kind} at {start + 1}-{end} of {name!r} ends beyond its {length} bases",
        hint="the annotation belongs to another assembly",
    )


def line_of(path: str, name: str, start: int, end: int) -> int | None:
    """Line of the first GFF3 or GTF row with these coordinates; None where there is none (GenBank)."""
    wanted = [name.encode(), str(start + 1).encode(), str(end).encode()]
    rest, line = b"", 0
    for block in Source(path).blocks():
        *whole, rest = (rest + block).split(b"\n")
        for text in whole:
            line += 1
            cells = text.split(b"\t", 5)
            if len(cells) > 4 and [cells[0], cells[3], cells[4]] == wanted:
                return line
    cells = rest.split(b"\t", 5)
    return line + 1 if len(cells) > 4 and [cells[0], cells[3], cells[4]] == wanted else None
