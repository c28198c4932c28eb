"""`Place`: where in an assembly a stream stands."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from titans_seq.errors import StateMismatchError
from titans_seq.genomics import Genome


@dataclass(frozen=True, slots=True)
class Place:
    """A point between two bases, and which way the stream goes from there.

    Attributes
    ----------
    contig
        Name of the contig.
    position
        Forward coordinate, 0-based. On strand ``+`` the next base read is ``position``; on ``-`` it is
        ``position - 1``, complemented.
    strand
        ``+`` or ``-``.
    assembly, checksum
        Name of the file, and XXH3 of its content (`Genome.checksum`); empty where not known.

    >>> place = Place("chrI", 100)
    >>> print(place.after(28))
    chrI:128 (+)
    >>> print(Place("chrI", 100, strand="-").after(28))
    chrI:72 (-)
    """

    contig: str
    position: int
    strand: str = "+"
    assembly: str = ""
    checksum: str = ""

    @classmethod
    def of(cls, genome: Genome, contig: str, position: int | None = None, *, strand: str = "+") -> Place:
        """A place in a genome; by default where a stream of that strand begins."""
        length = genome.contig(contig).length
        begin = 0 if strand == "+" else length
        name = ",".join(Path(path).name for path in genome.paths)
        return cls(contig, begin if position is None else position, strand, name, genome.checksum)

    def after(self, tokens: int) -> Place:
        """The place ``tokens`` bases further on."""
        return replace(self, position=self.position + (tokens if self.strand == "+" else -tokens))

    def check(self, found: Place | None, *, where: str) -> None:
        """Raise StateMismatchError, naming both, unless ``found`` is this place."""
        if found is None:
            raise StateMismatchError(f"{where}: expected a session at {self}, found one without a place")
        if self.checksum and found.checksum != self.checksum:
            raise StateMismatchError(
                f"{where}: this session read assembly {found.assembly or 'unknown'} (checksum {found.checksum[:16]}), "
                f"but goes on with {self.assembly or 'another'} (checksum {self.checksum[:16]})"
            )
        if (found.contig, found.position, found.strand) != (self.contig, self.position, self.strand):
            raise StateMismatchError(f"{where}: this session stands at {found}, but what follows begins at {self}")

    def to_json(self) -> dict[str, Any]:
        """The fields, for a header."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.contig}:{self.position:,} ({self.strand})"
