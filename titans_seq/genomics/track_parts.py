"""The finished parts of a track that is being made, so that a job that was killed goes on where it was.

Beside ``out.bw`` lies ``.out.bw.parts-KEY/`` while a job runs: one ``part-00000.npy`` for each group of contigs, with
the means of their bins one contig after the other, float32. KEY is a hash of everything the numbers follow from, so
the parts of another genome, model or setting are never taken for these. The folder goes when the track is written.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from titans_seq.files import replacing, write_error
from titans_seq.genomics.tracks import Values


def group_contigs(sizes: Mapping[str, int], *, at_least: int) -> list[list[str]]:
    """Cut contigs, in order, into groups of ``at_least`` bases: ``a: 5, b: 2, c: 9`` by 7 is ``[[a, b], [c]]``."""
    groups: list[list[str]] = [[]]
    held = 0
    for name, size in sizes.items():
        if held >= at_least:
            groups.append([])
            held = 0
        groups[-1].append(name)
        held += size
    return groups


class TrackParts:
    """Bins of finished groups, beside the track they are for.

    Parameters
    ----------
    path
        The track.
    sizes
        Length of every contig, in bases, in the order of the track.
    groups
        Names of contigs; each group is one part.
    size
        Bases of a bin.
    key
        All that the numbers follow from, as JSON can hold it.
    """

    def __init__(
        self, path: Path, sizes: Mapping[str, int], groups: Sequence[Sequence[str]], *, size: int, key: Any
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
        """Write the bins of a group's contigs, whole or not at all."""
        with replacing(self._file(number)) as temporary, temporary.open("wb") as file:
            np.save(file, np.concatenate(means))

    def means(self) -> Iterator[tuple[str, Values]]:
        """Every contig's bins, in order; read from the files as they are asked for."""
        for number, names in enumerate(self._groups):
            joined = np.load(self._file(number), mmap_mode="r")
            at = 0
            for name in names:
                bins = -(-self._sizes[name] // self._size)
                yield name, joined[at : at + bins]
                at += bins

    def remove(self) -> None:
        """Take the folder away."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _file(self, number: int) -> Path:
        return self.folder / f"part-{number:05d}.npy"
