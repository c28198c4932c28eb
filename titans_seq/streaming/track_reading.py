"""What a track shows of some contigs: each bin the mean of the numbers of its bases, read with one memory a passage.

Contigs are read in groups, which follow from their lengths and the settings alone: whoever writes a part of a group
reads it as everybody does, so the parts fit together number for number.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import lcm
from pathlib import Path
from typing import Any

import torch

from titans_seq.genomics import Genome, Stretch
from titans_seq.genomics.track_parts import cut_contigs
from titans_seq.genomics.tracks import BinMeans, Values
from titans_seq.streaming.base_numbers import in_windows, needs_record, numbers
from titans_seq.streaming.model import DnaModel
from titans_seq.streaming.passages import Passage, in_blocks
from titans_seq.streaming.reader import PassageReader
from titans_seq.streaming.relay import Handing, Leg, Standing
from titans_seq.streaming.session_file import model_hash
from titans_seq.streaming.units import Pace, lay_out
from titans_seq.streaming.work_folder import read_standing, write_standing

GROUP = 1_000_000
"""Bases of contigs that are read together and written down as one finished part, at least."""
NOTE_SECONDS = 60.0
"""Between two notes of where a group stands, so that a long contig need not begin anew."""
Note = Callable[[str], Path]
Count = Callable[[int, bool], None]
"""Is told how many bases are done, and whether they were read just now."""


@dataclass(frozen=True)
class TrackReading:
    """What is read, with what, and which number of a base is kept.

    Attributes
    ----------
    genome, model
        What is read, and what reads.
    what
        One of `titans_seq.streaming.base_numbers.WHAT`.
    size
        Bases of a bin.
    strands
        ``+``, ``-`` or both, each of whose numbers counts once.
    context
        Bases that the memory carries, None for the whole contig; see `titans_seq.streaming.passages`.
    gap_reset
        A longer run of N is not read, and the memory begins anew behind it.
    """

    genome: Genome
    model: DnaModel
    what: str
    size: int
    strands: tuple[str, ...]
    context: int | None
    gap_reset: int

    @property
    def passes(self) -> int:
        """How often a base is read."""
        return len(self.strands) * (2 if self.what == "gain" else 1)

    def key(self) -> dict[str, Any]:
        """All that the number of a base follows from."""
        device = next(self.model.task.parameters()).device.type
        return {
            "version": 3, "genome": self.genome.checksum, "model": model_hash(self.model.task), "device": device,
            "what": self.what, "size": self.size, "strands": self.strands, "context": self.context,
            "gap_reset": self.gap_reset, "group": GROUP,
        }  # fmt: skip

    def groups(self, contigs: Sequence[str]) -> list[list[Stretch]]:
        """Stretches that are read together; a contig is cut only where its context is a number."""
        every = None
        if self.context is not None:
            # Blocks and bins end where a stretch does; the other strand's blocks do not, and are read twice there.
            least = lcm(self.context, self.size)
            every = least * -(-max(GROUP, 8 * self.context) // least)
        return cut_contigs({name: self.genome.contig(name).length for name in contigs}, every=every, at_least=GROUP)

    def means(
        self, stretches: Sequence[Stretch], own: Sequence[Stretch], count: Count, *, note: Note, leg: Leg | None = None
    ) -> list[Values]:
        """Means of the bins of our part of a group; for ``gain``, of the memory begun afresh minus carried.

        ``note`` names a file for where a stage of it stands; ``leg`` is the group's place among shards that go on where
        another ended.
        """
        carried = self._read(stretches, own, partial(in_blocks, context=self.context), count, note("carried"), leg)
        if self.what != "gain":
            return carried
        settings = self.model.config.evaluation
        windows = partial(in_windows, window=settings.window, lead_in=settings.lead_in)
        afresh = self._read(stretches, own, windows, count, note("afresh"))
        return [begun - held for begun, held in zip(afresh, carried, strict=True)]

    def _read(
        self,
        stretches: Sequence[Stretch],
        own: Sequence[Stretch],
        cut: Callable[..., Iterator[Passage]],
        count: Count,
        note: Path,
        leg: Leg | None = None,
    ) -> list[Values]:
        """Read the stretches as every shard would, until all of our part was read."""
        found = [
            (place, one.only(part.start, part.end))
            for place, (whole, part) in enumerate(zip(stretches, own, strict=True))
            for strand in self.strands
            for one in cut(
                self.genome, whole.contig, strand=strand, gap_reset=self.gap_reset, within=(whole.start, whole.end)
            )
        ]
        held = {place: BinMeans(len(part), size=self.size) for place, part in enumerate(own) if len(part)}
        total = left = sum(one.wanted for _, one in found)
        if left:
            pace = Pace.of(next(self.model.task.parameters()).device)
            order, rows = lay_out([len(one) for _, one in found], pace)
            reader = PassageReader(
                self.model, self.genome, [found[index][1] for index in order], rows=rows, layer=None,
                record=needs_record(self.what), call=pace.call,
            )  # fmt: skip
            alone = leg is not None and len(reader.passages) == 1
            handing = self._handing(reader, own) if alone else None
            if leg is not None and alone and not note.exists() and (given := leg.relay.take(leg.unit)) is not None:
                _take_up(reader, *given)
            left = _restored(note, reader, held, left)
            count(total - left, False)
            noted = time.monotonic()
            while left:
                if leg is not None and handing is not None and handing.due(reader):
                    leg.relay.give(leg.unit, handing.towards, _standing(reader))
                if (parts := reader.step()) is None:
                    break
                for part in parts:
                    bases = part.end - part.start
                    if bases:
                        place = found[order[part.number]][0]
                        held[place].add(part.start - own[place].start, numbers(part, self.what))
                        count(bases, True)
                        left -= bases
                if time.monotonic() - noted > NOTE_SECONDS or (not left and note.exists()):
                    _write(note, reader, held, left)
                    noted = time.monotonic()
        return [bins.means() for bins in held.values()]

    def _handing(self, reader: PassageReader, own: Sequence[Stretch]) -> Handing | None:
        """Where our part of a contig that one passage reads ends, and whose part begins there."""
        (one,) = own
        length = self.genome.contig(one.contig).length
        at, towards = (one.end, 1) if reader.passages[0].strand == "+" else (length - one.start, -1)
        return None if at == length else Handing(at, towards)


def _standing(reader: PassageReader) -> Standing:
    """The memory and the cursor of a reading."""
    tensors, cursor = reader.state()
    return {f"session/{name}": value for name, value in tensors.items()}, {"reader": cursor}


def _take_up(reader: PassageReader, tensors: dict[str, torch.Tensor], cursor: dict[str, Any]) -> None:
    """The inverse of `_standing`."""
    own = {name.removeprefix("session/"): t for name, t in tensors.items() if name.startswith("session/")}
    reader.restore(own, cursor["reader"])


def _write(note: Path, reader: PassageReader, held: dict[int, BinMeans], left: int) -> None:
    """Note where a reading stands: the memory, the cursor, and the bins so far."""
    named, cursor = _standing(reader)
    for place, bins in held.items():
        for name, values in zip(("sums", "counts"), bins.state(), strict=True):
            named[f"{name}/{place}"] = torch.from_numpy(values)
    write_standing(note, named, {**cursor, "left": left})


def _restored(note: Path, reader: PassageReader, held: dict[int, BinMeans], left: int) -> int:
    """Go on from a note, if there is one; gives the bases that are left."""
    found = read_standing(note)
    if found is None:
        return left
    tensors, cursor = found
    _take_up(reader, tensors, cursor)
    for place, bins in held.items():
        bins.restore(tensors[f"sums/{place}"].numpy(), tensors[f"counts/{place}"].numpy())
    return int(cursor["left"])
