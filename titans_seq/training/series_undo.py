"""Earlier snapshots of a state file, to take rows back: ``FILE.undo/00000007.safetensors``, newest last."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from titans_seq.errors import ConfigError, InputFileError
from titans_seq.files import write_error
from titans_seq.tasks.series_files import Snapshot, read_newest


def save_with_undo(path: Path, snapshot: Snapshot, *, keep: int) -> None:
    """Replace a state file, and keep what it held as the newest of at most ``keep`` earlier ones."""
    if path.exists() and keep > 0:
        folder = _folder(path)
        kept = _kept(path)
        number = int(kept[-1].stem) + 1 if kept else 1
        try:
            folder.mkdir(exist_ok=True)
            _link(path, folder / f"{number:08d}.safetensors")
        except OSError as error:
            raise write_error(folder, error) from None
        for old in [*kept, folder / f"{number:08d}.safetensors"][:-keep]:
            old.unlink(missing_ok=True)
    snapshot.save(path)


def undo(path: Path, count: int) -> Snapshot:
    """Go back by ``count`` calls of `observe`; gives where the state then stands.

    Raises
    ------
    ConfigError
        Fewer snapshots are kept.
    """
    kept = _kept(path)
    if not 1 <= count <= len(kept):
        raise ConfigError(f"--undo {count}: {len(kept)} earlier states of {path} are kept; see --keep of `observe`")
    target = kept[-count]
    snapshot = Snapshot.load(target)
    try:
        target.replace(path)
    except OSError as error:
        raise write_error(path, error) from None
    for later in kept[len(kept) - count + 1 :]:
        later.unlink(missing_ok=True)
    return snapshot


def as_of(path: Path, tick: int) -> Path:
    """Give the newest kept snapshot that had read nothing behind ``tick``.

    Raises
    ------
    InputFileError
        All of them had.
    """
    for candidate in reversed([*_kept(path), path]):
        if read_newest(candidate) <= tick:
            return candidate
    raise InputFileError(
        path, problem="every kept state has read later rows than --as-of",
        hint="give the table as well and leave --state out, to read it up to there",
    )  # fmt: skip


def _folder(path: Path) -> Path:
    return path.with_name(path.name + ".undo")


def _kept(path: Path) -> Sequence[Path]:
    return sorted(_folder(path).glob("*.safetensors"))


def _link(source: Path, target: Path) -> None:
    """Give the file a second name; where the file system cannot, copy it."""
    with suppress(FileExistsError):
        target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
