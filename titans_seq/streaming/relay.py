"""Shards that read one contig in turn: each leaves the memory where the next one's part begins.

    windows.2-of-3.parquet.unit-0.safetensors    written by shard 1, read and removed by shard 2

A shard whose part begins inside a contig reads what comes before it, too. Where the shard before has come to that place
already (an array of jobs that run one after the other), it has left a snapshot there, and the next one goes on from it,
so that all of them together read the contig once. Snapshots of another job are not used, and none is written for a
shard that has begun.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from titans_seq.genomics.shards import Shard
from titans_seq.streaming.reader import PassageReader
from titans_seq.streaming.work_folder import read_standing, write_standing

_log = logging.getLogger(__name__)

Standing = tuple[dict[str, Tensor], dict[str, Any]]
"""Tensors, and what JSON can hold, of a reading that may go on elsewhere."""


@dataclass(frozen=True)
class Handing:
    """Where a reading of one passage is handed on, and to whom.

    Attributes
    ----------
    at
        Bases of the contig, in the direction of reading, that lie before what the other shard wants.
    towards
        Its number less that of this one: 1 or -1.
    """

    at: int
    towards: int

    def due(self, reader: PassageReader) -> bool:
        """Whether now is the time: the reader's next call goes past ``at``."""
        return reader.tokens_done > 0 and reader.place <= self.at < reader.place + reader.most


@dataclass(frozen=True)
class Relay:
    """A shard among its neighbours.

    Attributes
    ----------
    out
        The file that all shards were asked for, without ``i-of-n``.
    shard
        This one.
    job
        All that a snapshot depends on, as JSON can hold it.
    """

    out: Path
    shard: Shard
    job: Mapping[str, Any]

    def take(self, unit: int) -> Standing | None:
        """What was left for this shard at the beginning of its part of a unit, or None."""
        path = self._path(self.shard, unit)
        found = read_standing(path)
        if found is None:
            return None
        tensors, cursor = found
        if cursor.get("relay") != self._label(unit):
            _log.warning("%s was left by another job; it is not used", path)
            return None
        _log.info("going on from %s", path)
        return tensors, cursor

    def give(self, unit: int, towards: int, standing: Standing) -> None:
        """Leave a snapshot for whoever reads on, unless they have begun."""
        other = Shard(self.shard.number + towards, self.shard.count)
        out = other.part_of(self.out)
        if any(out.parent.glob(f".{out.name}.parts-*")) or any(
            path.exists() for path in (out, out.with_name(out.name + ".work"))
        ):
            return
        tensors, cursor = standing
        write_standing(self._path(other, unit), tensors, {**cursor, "relay": self._label(unit)})

    def drop(self, unit: int) -> None:
        """Remove what was left for this shard: its part is done."""
        self._path(self.shard, unit).unlink(missing_ok=True)

    def _path(self, shard: Shard, unit: int) -> Path:
        out = shard.part_of(self.out)
        return out.with_name(f"{out.name}.unit-{unit}.safetensors")

    def _label(self, unit: int) -> Any:
        return json.loads(json.dumps({"job": self.job, "unit": unit, "shards": self.shard.count}))


@dataclass(frozen=True)
class Leg:
    """One unit of work in a relay."""

    relay: Relay
    unit: int
