"""Predicted features to GFF3 and BED, whole or not at all. 1-based and closed only inside GFF3."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final
from urllib.parse import quote

from titans_seq.errors import RangeError
from titans_seq.files import write_text

_SIGNS: Final = {1: "+", -1: "-", 0: "."}
_SAFE: Final = " !\"#$'()*+-./:<>?@[\\]^_`{|}~"
"""What may stand in an attribute as it is; tab, newline, %, ;, =, & and the comma may not."""


@dataclass(frozen=True)
class Prediction:
    """A feature to be written, 0-based half-open.

    Attributes
    ----------
    contig, start, end, strand
        Where it is; strand +1, -1 or 0.
    kind
        ``CDS`` is written as a gene with a CDS in it, and with parts as a gene, an mRNA and a row of one CDS for each
        part; anything else as one row of that type.
    score
        Between 0 and 1.
    open_left, open_right
        It runs off the sequence at that side: the row says ``partial=true`` and which side.
    notes
        More attributes, in order.
    number
        Among the features of its contig, from 1; see `numbered`. It and the contig are its name, which is then the same
        in a file of the whole genome and in one of a part.
    parts, phases
        Of a gene with introns: start and end of each coding part, in order, and its phase.
    """

    contig: str
    start: int
    end: int
    strand: int
    kind: str
    score: float
    open_left: bool = False
    open_right: bool = False
    notes: Mapping[str, str] = field(default_factory=dict)
    number: int = 0
    parts: tuple[tuple[int, int], ...] = ()
    phases: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.end or self.strand not in _SIGNS:
            raise RangeError(f"expected 0 <= start < end and strand 1, -1 or 0, found {self}")

    @property
    def phase(self) -> int:
        """Bases to skip to the next whole codon: 0, but for a gene whose beginning is off the sequence.

        Such a gene is cut to whole codons, so its phase is 0 as well unless its length says otherwise.
        """
        opened = self.open_left if self.strand > 0 else self.open_right
        return (self.end - self.start) % 3 if opened else 0


def numbered(predictions: Iterable[Prediction]) -> list[Prediction]:
    """Sort the features of one contig by place and number them from 1; numbers that they have are kept."""
    found = sorted(predictions, key=lambda p: (p.start, -p.end))
    return [replace(p, number=p.number or number) for number, p in enumerate(found, start=1)]


def write_gff3(
    path: Path, predictions: Iterable[Prediction], lengths: Mapping[str, int], *, source: str, table: int = 11
) -> None:
    """Write GFF3: a ``##sequence-region`` for each contig, then features in order, children behind their parents.

    Parameters
    ----------
    lengths
        Bases of every contig, in the order of the file.
    source
        Second column.
    table
        Translation table, an attribute of every CDS.
    """
    write_text(path, gff3_text(predictions, lengths, source=source, table=table))


def gff3_text(predictions: Iterable[Prediction], lengths: Mapping[str, int], *, source: str, table: int = 11) -> str:
    """The text of :func:`write_gff3`."""
    lines = ["##gff-version 3"]
    by_contig: dict[str, list[Prediction]] = {name: [] for name in lengths}
    for prediction in predictions:
        if prediction.end > lengths[prediction.contig]:
            raise RangeError(f"{prediction} ends beyond its contig of {lengths[prediction.contig]} bases")
        by_contig[prediction.contig].append(prediction)
    for name, found in by_contig.items():
        lines.append(f"##sequence-region {_seqid(name)} 1 {lengths[name]}")
        for prediction in numbered(found):
            lines += _rows(prediction, source, table)
    return "\n".join(lines) + "\n"


def bed_text(predictions: Sequence[Prediction]) -> str:
    """BED6, a row for each part of a gene: score is 1000 times the probability; the name is type and number."""
    by_contig: dict[str, list[Prediction]] = {}
    for p in predictions:
        by_contig.setdefault(p.contig, []).append(p)
    return "".join(
        f"{p.contig}\t{start}\t{end}\t{p.kind}_{p.number}\t{round(1000 * p.score)}\t{_SIGNS[p.strand]}\n"
        for contig in sorted(by_contig)
        for p in numbered(by_contig[contig])
        for start, end in p.parts or ((p.start, p.end),)
    )


def _rows(prediction: Prediction, source: str, table: int) -> list[str]:
    number = f"{prediction.contig}_{prediction.number:05d}"
    name = f"{prediction.kind}_{number}"
    notes = dict(prediction.notes)
    sides = [side for side, flag in (("left", prediction.open_left), ("right", prediction.open_right)) if flag]
    if sides:
        notes |= {"partial": "true", "open": ",".join(sides)}
    if prediction.kind != "CDS":
        return [_row(prediction, prediction.kind, ".", source, {"ID": name, **notes})]
    gene = f"gene_{number}"
    partial = {key: value for key, value in notes.items() if key in ("partial", "open")}
    if prediction.parts:
        mrna = f"mRNA_{number}"
        return [
            _row(prediction, "gene", ".", source, {"ID": gene, **partial}),
            _row(prediction, "mRNA", ".", source, {"ID": mrna, "Parent": gene, **partial}),
            *(
                _row(
                    replace(prediction, start=start, end=end), "CDS", str(phase), source,
                    {"ID": name, "Parent": mrna, **notes, "transl_table": str(table)},
                )
                for (start, end), phase in zip(prediction.parts, prediction.phases, strict=True)
            ),
        ]  # fmt: skip
    return [
        _row(prediction, "gene", ".", source, {"ID": gene, **partial}),
        _row(
            prediction, "CDS", str(prediction.phase), source,
            {"ID": name, "Parent": gene, **notes, "transl_table": str(table)},
        ),
    ]  # fmt: skip


def _row(prediction: Prediction, kind: str, phase: str, source: str, attributes: Mapping[str, str]) -> str:
    written = ";".join(f"{key}={quote(value, safe=_SAFE + ',')}" for key, value in attributes.items())
    cells = [
        _seqid(prediction.contig), source, kind, str(prediction.start + 1), str(prediction.end),
        f"{prediction.score:.4f}", _SIGNS[prediction.strand], phase, written,
    ]  # fmt: skip
    return "\t".join(cells)


def _seqid(name: str) -> str:
    """GFF3 allows these letters in a sequence's name; the rest is written as %XX."""
    return quote(name, safe=".:^*$@!+_?-|#/()[]{}~=,'&;" if not name.startswith(">") else "")
