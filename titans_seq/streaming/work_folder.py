"""What an embedding run leaves while it works, so that it can be killed at any moment and go on.

    OUT.work/job.json                what is being computed; another job is not gone on with
    OUT.work/vectors.f32             float32 [slots, regions, d_model], each row written when its region has ended
    OUT.work/done                    numbers of the units that are done, one per line
    OUT.work/unit-7.safetensors      where unit 7 stands: the memory, the cursor, the regions that are open

A unit is noted as done, and a checkpoint written, only after its rows are safely on disk. A row written twice is
written with the same bytes.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from titans_seq.errors import InputFileError, TitansError
from titans_seq.files import read_json, write_error, write_json
from titans_seq.tensor_files import load_tensors, read_metadata, save_tensors

_log = logging.getLogger(__name__)

Floats = npt.NDArray[np.float32]

NOTE_SECONDS = 1.0
"""Between two notes of `WorkFolder.finish_soon`: each waits for the disk."""


class WorkFolder:
    """Opens or makes the folder beside ``out``.

    Parameters
    ----------
    out
        The file that the run will write.
    job
        All that the result depends on, as JSON.
    slots, regions, width
        Shape of what is computed.

    Raises
    ------
    OutputError
        The folder of ``out`` is not there or cannot be written.
    """

    def __init__(self, out: Path, *, job: Mapping[str, Any], slots: int, regions: int, width: int) -> None:
        self.path = out.with_name(out.name + ".work")
        self.shape = (slots, regions, width)
        try:
            self._begin(dict(job))
            self._vectors = os.open(self.path / "vectors.f32", os.O_RDWR | os.O_CREAT, 0o644)
            os.ftruncate(self._vectors, 4 * slots * regions * width)
            self.done = self._finished()
        except OSError as error:
            raise write_error(out, error) from None
        self._lock = Lock()
        self._ended: list[int] = []
        self._noted = time.monotonic()

    def _begin(self, job: dict[str, Any]) -> None:
        """Keep what is there if it belongs to this job, else start afresh."""
        note = self.path / "job.json"
        if note.exists():
            if read_json(note) == json.loads(json.dumps(job)):
                _log.info("going on with %s", self.path)
                return
            _log.warning("%s was left by another run (other input or settings); it is removed", self.path)
            shutil.rmtree(self.path)
        elif self.path.exists() and any(self.path.iterdir()):
            raise InputFileError(self.path, problem="is in the way: not a folder of ours", hint="move or remove it")
        self.path.mkdir(exist_ok=True)
        write_json(note, job)

    def _finished(self) -> set[int]:
        """Units that are done; half a last line is what a kill left, and is cut off."""
        path = self.path / "done"
        if not path.exists():
            return set()
        whole = path.read_bytes().rpartition(b"\n")
        os.truncate(path, len(whole[0]) + len(whole[1]))
        return {int(line) for line in whole[0].split()}

    def put(self, slot: int, region: int, vectors: Floats) -> None:
        """Write the vector of a region, or those of it and the regions behind it."""
        _, regions, width = self.shape
        try:
            _write_at(self._vectors, vectors.astype(np.float32, copy=False).tobytes(),
                      4 * width * (slot * regions + region))  # fmt: skip
        except OSError as error:
            raise write_error(self.path, error) from None

    def rows(self, slot: int, start: int, stop: int) -> Floats:
        """Vectors of some regions, (stop - start, d_model)."""
        _, regions, width = self.shape
        raw = _read_at(self._vectors, 4 * width * (stop - start), 4 * width * (slot * regions + start))
        return np.frombuffer(raw, dtype=np.float32).reshape(stop - start, width)

    def finish(self, *units: int) -> None:
        """Note units as done, and those of `finish_soon`."""
        with self._lock:
            ended, self._ended = [*self._ended, *units], []
        if not ended:
            return
        try:
            os.fsync(self._vectors)
            with self._lock, (self.path / "done").open("a") as file:
                file.write("".join(f"{unit}\n" for unit in ended))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise write_error(self.path, error) from None
        self._noted = time.monotonic()
        self.done.update(ended)
        for unit in units:
            self._checkpoint(unit).unlink(missing_ok=True)

    def finish_soon(self, unit: int) -> None:
        """Note a small unit, one without checkpoints, as done, together with those that end within a second."""
        self._ended.append(unit)
        if time.monotonic() - self._noted >= NOTE_SECONDS:
            self.finish()

    def save(self, unit: int, tensors: Mapping[str, Tensor], cursor: Mapping[str, Any]) -> None:
        """Note where a unit stands."""
        try:
            os.fsync(self._vectors)
        except OSError as error:
            raise write_error(self.path, error) from None
        write_standing(self._checkpoint(unit), tensors, cursor)

    def load(self, unit: int) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Where a unit stood, or None."""
        return read_standing(self._checkpoint(unit))

    def close(self) -> None:
        """Let go of the files."""
        os.close(self._vectors)

    def remove(self) -> None:
        """Remove the folder: its result is written elsewhere."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _checkpoint(self, unit: int) -> Path:
        return self.path / f"unit-{unit}.safetensors"


def write_standing(path: Path, tensors: Mapping[str, Tensor], cursor: Mapping[str, Any]) -> None:
    """Write where a reading stands: tensors, and what JSON can hold."""
    save_tensors(path, tensors, metadata={"cursor": json.dumps(cursor)})


def read_standing(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """What `write_standing` wrote; None where there is nothing, or nothing that can be used."""
    if not path.exists():
        return None
    try:
        return load_tensors(path), json.loads(read_metadata(path)["cursor"])
    except (TitansError, KeyError, ValueError) as error:
        _log.warning("%s cannot be used (%s); what it belongs to begins anew", path, error)
        return None


def _write_at(file: int, raw: bytes, at: int) -> None:
    """Write all of it: the system may take less at once, as where a disk is nearly full."""
    view = memoryview(raw)
    while view:
        written = os.pwrite(file, view, at)
        view, at = view[written:], at + written


def _read_at(file: int, size: int, at: int) -> bytes:
    """Read all of it: one call gives at most 2 GiB."""
    parts = []
    while part := os.pread(file, min(size, 1 << 30), at):
        parts.append(part)
        size, at = size - len(part), at + len(part)
    return b"".join(parts)
