"""Annotated features as columns, and the class of every base. Coordinates are 0-based half-open.

The reader of the files is :mod:`titans_seq.genomics.gff`; nothing here knows a file format.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from titans_seq.errors import InputFileError, RangeError
from titans_seq.genomics.genome import Genome

Attributes = dict[str, list[str]]

CLASS_NAMES: Final = ("intergenic", "genic", "CDS", "repeat", "tRNA", "rRNA")
"""Classes of a base; where features overlap, the later name wins (a transposase gene is a repeat, not CDS)."""

_CLASS_OF_TYPE: Final[Mapping[str, str]] = {
    **dict.fromkeys(("CDS", "mat_peptide", "sig_peptide"), "CDS"),
    **dict.fromkeys(
        (
            "repeat_region",
            "mobile_genetic_element",
            "mobile_element",
            "insertion_sequence",
            "transposable_element",
            "transposable_element_gene",
            "transposon_fragment",
            "transposon",
            "retrotransposon",
            "LTR_retrotransposon",
            "LTR",
            "long_terminal_repeat",
            "terminal_inverted_repeat",
            "dispersed_repeat",
            "direct_repeat",
            "inverted_repeat",
            "tandem_repeat",
            "satellite_DNA",
            "microsatellite",
            "helitron",
        ),
        "repeat",
    ),
    **dict.fromkeys(("tRNA", "tRNA_gene", "tRNA_primary_transcript"), "tRNA"),
    **dict.fromkeys(("rRNA", "rRNA_gene", "rRNA_primary_transcript"), "rRNA"),
    **dict.fromkeys(
        (
            "gene",
            "ncRNA_gene",
            "pseudogene",
            "mRNA",
            "transcript",
            "primary_transcript",
            "pseudogenic_transcript",
            "exon",
            "five_prime_UTR",
            "three_prime_UTR",
            "5UTR",
            "3UTR",
            "UTR",
            "ncRNA",
            "lnc_RNA",
            "miRNA",
            "snRNA",
            "snoRNA",
            "tmRNA",
            "antisense_RNA",
            "RNase_P_RNA",
            "SRP_RNA",
            "misc_RNA",
        ),
        "genic",
    ),
}


@dataclass(frozen=True)
class Features:
    """Rows of an annotation, in file order.

    Attributes
    ----------
    source : str
        The file.
    seqid, type : str arrays [F]
        Contig and feature type, as written in the file.
    start, end : int64 [F]
        0-based half-open.
    strand : int8 [F]
        +1, -1, or 0 where the file says ``.`` or ``?``.
    phase : int8 [F]
        0, 1, 2, or -1 where the file says ``.``.
    raw_attributes : sequence of str [F]
        The last column as written; :meth:`attributes` parses one of them.
    parse : callable
        How this file writes its attributes.
    """

    source: str
    seqid: npt.NDArray[np.str_]
    type: npt.NDArray[np.str_]
    start: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]
    strand: npt.NDArray[np.int8]
    phase: npt.NDArray[np.int8]
    raw_attributes: npt.NDArray[np.object_]
    parse: Callable[[str], Attributes]

    def __len__(self) -> int:
        return len(self.start)

    def attributes(self, row: int) -> Attributes:
        """Attributes of one row: ``ID=a;Parent=b,c`` is ``{"ID": ["a"], "Parent": ["b", "c"]}``."""
        return self.parse(str(self.raw_attributes[row]))

    def select(self, types: Iterable[str] | None = None, *, seqid: str | None = None) -> Features:
        """The rows of these types, on that contig; None keeps all."""
        rows = np.arange(len(self)) if seqid is None else self._rows_of.get(seqid, np.empty(0, dtype=np.int64))
        if types is not None:
            rows = rows[np.isin(self.type[rows], sorted(types))]
        return self.take(rows)

    @cached_property
    def _rows_of(self) -> dict[str, npt.NDArray[np.int64]]:
        """Row numbers of every contig, ascending."""
        names, codes = np.unique(self.seqid, return_inverse=True)
        order = np.argsort(codes, kind="stable")
        parts = np.split(order, np.searchsorted(codes[order], np.arange(1, names.size)))
        return dict(zip(names.tolist(), parts, strict=True)) if names.size else {}

    def take(self, rows: npt.NDArray[np.int64]) -> Features:
        """The rows with these numbers, in this order."""
        return Features(
            self.source,
            self.seqid[rows],
            self.type[rows],
            self.start[rows],
            self.end[rows],
            self.strand[rows],
            self.phase[rows],
            self.raw_attributes[rows],
            self.parse,
        )


def check_names(features: Features, genome: Genome) -> None:
    """Refuse an annotation whose contigs are not those of the genome, or whose features leave them.

    Some contigs of the annotation may be missing in the genome (a part of an assembly); none in common is an error.

    Raises
    ------
    InputFileError
        No contig in common, with examples of both sides; or a feature that ends beyond its contig.
    """
    annotated = list(dict.fromkeys(features.seqid.tolist()))
    shared = [name for name in annotated if name in genome]
    if not annotated:
        raise InputFileError(features.source, expected="features", found="none")
    if not shared:
        raise InputFileError(
            features.source,
            problem="no contig name is also in the genome",
            expected=f"names such as {_examples(genome.names)}",
            found=_examples(annotated),
            hint="rename one side (the first word after '>' counts)",
        )
    circular = circular_contigs(features)
    for name in shared:
        length = genome.contig(name).length
        here = features.select(seqid=name)
        row = int(here.end.argmax())
        end = int(here.end[row])
        if end > length and not (name in circular and end <= 2 * length):
            raise InputFileError(
                features.source,
                problem=f"{here.type[row]} at {here.start[row] + 1}-{end} of {name!r} ends beyond its {length} bases",
                hint="the annotation belongs to another assembly",
            )


def class_track(features: Features, name: str, length: int) -> npt.NDArray[np.uint8]:
    """The class of each base of a contig, uint8 [length], an index into :data:`CLASS_NAMES`.

    A base belongs to the last class in :data:`CLASS_NAMES` that covers it on either strand; ``genic`` is what a gene,
    transcript, exon or other RNA covers beyond the named classes (introns, UTRs, pseudogenes, small RNA), and
    ``intergenic`` is what nothing covers. Types that are not known (``region``, ``intron``, ``match`` ...) are ignored.

    On a contig that the annotation calls circular, a feature that passes the end goes on at the start.

    Example: a CDS at 2..5 and an rRNA at 4..6 of 7 bases give ``[0, 0, 2, 2, 5, 5, 0]``.

    Raises
    ------
    RangeError
        A feature leaves the contig.
    """
    track = np.zeros(length, dtype=np.uint8)
    here = features.select(seqid=name)
    end = here.end
    if name in circular_contigs(here) and len(here):
        here, end = _unrolled(here, length)
    if len(here) and int(end.max()) > length:
        raise RangeError(f"{features.source}: a feature of {name!r} ends at {int(end.max())}, beyond {length}")
    codes = {kind: CLASS_NAMES.index(group) for kind, group in _CLASS_OF_TYPE.items()}
    known = np.array([codes.get(kind, 0) for kind in here.type.tolist()], dtype=np.int64)
    for code in range(1, len(CLASS_NAMES)):
        rows = known == code
        covered = np.zeros(length + 1, dtype=np.int32)
        np.add.at(covered, here.start[rows], 1)
        np.add.at(covered, end[rows], -1)
        track[np.cumsum(covered[:-1]) > 0] = code
    return track


def circular_contigs(features: Features) -> frozenset[str]:
    """Contigs whose ``region`` row says ``Is_circular=true``; features there may pass the end (NCBI writes them so)."""
    rows = np.flatnonzero(features.type == "region").tolist()
    return frozenset(
        str(features.seqid[row]) for row in rows if features.attributes(row).get("Is_circular") == ["true"]
    )


def _unrolled(features: Features, length: int) -> tuple[Features, npt.NDArray[np.int64]]:
    """Features and their ends, those that pass `length` once with the part before and once with the part after."""
    over = np.flatnonzero((features.end > length) & (features.start < length) & (features.end <= 2 * length))
    cut = features.end.copy()
    cut[over] = length
    tail = features.take(over)
    both = features.take(np.concatenate([np.arange(len(features)), over]))
    both.start[len(features) :] = 0
    return both, np.concatenate([cut, tail.end - length])


def _examples(names: Sequence[str]) -> str:
    return ", ".join(repr(str(name)) for name in names[:3]) + (f" ({len(names)} in all)" if len(names) > 3 else "")
