"""The finished parts of a track that is being made, so that a job that was killed goes on where it was.

Beside ``out.bw`` lies ``.out.bw.parts-KEY/`` while a job runs: one ``part-00000.npy`` for each group of stretches, with
the means of their bins one stretch after the other, float32, and for one that is being read ``part-00000.STAGE`` with
where its reading stands (`titans_seq.streaming.track_reading`). KEY is a hash of everything the numbers follow from, so
the parts of another genome, model or setting are never taken for these. The folder goes when the track is written.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from titans_seq.files import replacing, write_error
from titans_seq.genomics.shards import Portion, part_borders
from titans_seq.genomics.splits import Stretch
from titans_seq.genomics.tracks import Values, bins_on_disk


def cut_contigs(sizes: Mapping[str, int], *, every: int | None, at_least: int) -> list[list[Stretch]]:
    """Cut contigs at 0, ``every``, 2 ``every`` ... and put what follows each other in groups of ``at_least`` bases.

    ``a: 5, b: 2, c: 9`` by 7, uncut, gives two groups: a and b whole, and c.
    """
    groups: list[list[Stretch]] = [[]]
    held = 0
    for name, size in sizes.items():
        for start in range(0, size, every or size):
            if held >= at_least:
                groups.append([])
                held = 0
            groups[-1].append(Stretch(name, start, min(start + (every or size), size)))
            held += len(groups[-1][-1])
    return groups


def part_of(stretches: Sequence[Stretch], portion: Portion, *, size: int) -> list[Stretch]:
    """Give a part of each stretch, empty for most, so that the parts of all portions are all of them.

    Borders lie between bins. ``a 0..6, b 0..6`` in halves, bins of 4: ``a 0..6, b 0..0`` and ``a 6..6, b 0..6``.
    """
    start, end = part_borders(sum(map(len, stretches)), portion)
    found, before = [], 0
    for one in stretches:
        a, b = (
            one.end if at - before >= len(one) else one.start + max(0, at - before) // size * size
            for at in (start, end)
        )
        found.append(Stretch(one.contig, a, b))
        before += len(one)
    return found


class TrackParts:
    """Bins of finished groups, beside the track they are for.

    Parameters
    ----------
    path
        The track.
    sizes
        Length of every contig, in bases, in the order of the track.
    groups
        Stretches that begin at multiples of ``size``, in order; each group is one part.
    size
        Bases of a bin.
    key
        All that the numbers follow from, as JSON can hold it.
    """

    def __init__(
        self, path: Path, sizes: Mapping[str, int], groups: Sequence[Sequence[Stretch]], *, size: int, key: Any
    ) -> None:
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
        self.folder = path.with_name(f".{path.name}.parts-{digest}")
        self._sizes, self._groups, self._size = sizes, groups, size
        try:
            self.folder.mkdir(exist_ok=True)
        except OSError as error:
            raise write_error(self.folder, error) from None

    def done(self, number: int) -> bool:
        """Whether a group is finished."""
        return self._file(number).exists()

    def save(self, number: int, means: Sequence[Values]) -> None:
        """Write the bins of a group's stretches, whole or not at all."""
        with replacing(self._file(number)) as temporary, temporary.open("wb") as file:
            np.save(file, np.concatenate(means))
        for note in self.folder.glob(f"{self._file(number).stem}.*.safetensors"):
            note.unlink()

    def note(self, number: int, stage: str) -> Path:
        """A file for where the reading of a group stands; it goes when the group is saved."""
        return self.folder / f"{self._file(number).stem}.{stage}.safetensors"

    def means(self) -> Iterator[tuple[str, Values]]:
        """Every contig's bins, in order, NaN where no stretch lies; read from the files as they are asked for."""
        for name, found in groupby(self._stretches(), key=lambda one: one[0].contig):
            stretches = list(found)
            if len(stretches[0][0]) == self._sizes[name]:
                yield name, stretches[0][1]
                continue
            whole = bins_on_disk(-(-self._sizes[name] // self._size), np.float32)
            whole[:] = np.nan
            for stretch, bins in stretches:
                first = stretch.start // self._size
                whole[first : first + len(bins)] = bins
            yield name, whole

    def _stretches(self) -> Iterator[tuple[Stretch, Values]]:
        for number, stretches in enumerate(self._groups):
            joined = np.load(self._file(number), mmap_mode="r")
            at = 0
            for stretch in stretches:
                bins = -(-len(stretch) // self._size)
                yield stretch, joined[at : at + bins]
                at += bins

    def remove(self) -> None:
        """Take the folder away."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _file(self, number: int) -> Path:
        return self.folder / f"part-{number:05d}.npy"
