"""The token store: a genome read once, then mapped into memory. Cached by content, atomic, safe for many processes.

Format, version 2
-----------------
A cache folder (the argument, or ``$XDG_CACHE_HOME/titans-seq``, or ``~/.cache/titans-seq``) holds::

    stores/<checksum of the file>-v2/    one per content; complete or absent, never half-written
        tokens.u8       uint8 [total]: A C G T -> 0 1 2 3, anything else 4; contigs one after the other
        contigs.i64     int64 little-endian [contigs, 5]: offset, length, N, G + C, soft-masked
        n_runs.i64      int64 little-endian [runs, 2]: start, end of every stretch of N, in positions of tokens.u8
        soft_runs.i64   the same for letters that were lower case (runs may pass over contig borders)
        index.json      format, version, source, checksum, total, n_runs, soft_runs, letters, columns, names
    files/<sha256 of the path>.json     which store a path led to, with size, times and inode of the file then

A store is built in ``stores/.building-*`` and renamed; whoever renames second finds the first one's and uses it.
A path whose size, modification or change time or inode differ from its note is read again. A file that was changed
within a second of being read is hashed anew before its note is believed. The folder may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import math
import mmap
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from xxhash import xxh3_128

from titans_seq.errors import InputFileError, TitansError
from titans_seq.genomics import writer as files
from titans_seq.genomics.fasta import read_fasta
from titans_seq.genomics.genbank import looks_like_genbank, read_genbank
from titans_seq.genomics.genome import Genome, TokenStore
from titans_seq.genomics.sources import Progress, Source
from titans_seq.genomics.writer import StoreWriter

_LOG = logging.getLogger(__name__)
_BUILDING: Final = ".building-"
_LARGER_THAN_BLOCKS: Final = 1 << 23
_STALE_SECONDS: Final = 86_400
_RACY_NS: Final = 1_000_000_000

PathLike = str | os.PathLike[str]


def open_genome(path: PathLike, *, cache_dir: PathLike | None = None, progress: Progress | None = None) -> Genome:
    """The genome in a FASTA (plain, gzip, bgzip) or GenBank file, or on standard input (``"-"``).

    The first call reads the file in one pass at flat RAM; later calls map the cached store.

    Parameters
    ----------
    path : str or path
        The file, or ``"-"``.
    cache_dir : str or path, optional
        Where stores are kept; see the module.
    progress : callable, optional
        Called while reading with (bytes read, bytes in the file or None).

    Raises
    ------
    InputFileError
        The file cannot be read as a genome: one line that says where and why.
    TitansError
        The cache folder cannot be written, for example because the disk is full.
    """
    return open_genomes([path], cache_dir=cache_dir, progress=progress)


def open_genomes(
    paths: Sequence[PathLike], *, cache_dir: PathLike | None = None, progress: Progress | None = None
) -> Genome:
    """The contigs of several files as one genome; a name that occurs in two files is refused."""
    if not paths:
        raise InputFileError("(no file)", expected="at least one FASTA or GenBank file", found="none")
    cache = Path(cache_dir) if cache_dir is not None else default_cache_dir()
    return Genome([_open_store(os.fspath(path), cache, progress) for path in paths])


def default_cache_dir() -> Path:
    """``$XDG_CACHE_HOME/titans-seq``, or ``~/.cache/titans-seq``."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "titans-seq"


def _open_store(path: str, cache: Path, progress: Progress | None) -> TokenStore:
    source = Source(path, progress=progress)
    note = cache / "files" / (hashlib.sha256(os.path.abspath(path).encode("utf-8", "replace")).hexdigest() + ".json")
    if source.size is not None:
        known = _noted_store(path, note, cache)
        if known is not None:
            return known
    stamp = _stamp(path) if source.size is not None else None
    with _disk_errors(cache):
        store = _build(source, cache)
        if stamp is not None:
            _write_note(note, {"stamp": stamp, "checksum": store.checksum, "read_ns": time.time_ns()})
    others = {letter: count for letter, count in store.letters.items() if letter != "N"}
    _LOG.info("%s: %d contigs, %d bases, other letters %s", path, len(store.names), store.tokens.size, others or "none")
    blank = np.flatnonzero(store.table[:, 1] == store.table[:, 2])
    if blank.size:
        shown = ", ".join(store.names[row] for row in blank[:5])
        _LOG.warning("%s: %d contigs hold nothing but N, such as %s", path, blank.size, shown)
    return store


def _noted_store(path: str, note: Path, cache: Path) -> TokenStore | None:
    """The cached store of `path`, if the file is still the one that was read."""
    try:
        noted = json.loads(note.read_text(encoding="utf-8"))
        stamp, checksum, read_ns = noted["stamp"], str(noted["checksum"]), int(noted["read_ns"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if stamp != _stamp(path):
        return None
    if stamp["ctime_ns"] > read_ns - _RACY_NS and _file_checksum(path) != checksum:
        return None
    return load_store(_folder(cache, checksum), source=path)


def _build(source: Source, cache: Path) -> TokenStore:
    _keep_freed_blocks()
    blocks = source.blocks()
    head = next(blocks, b"")
    stores = cache / "stores"
    stores.mkdir(parents=True, exist_ok=True)
    _sweep(stores)
    building = Path(tempfile.mkdtemp(prefix=_BUILDING, dir=stores))
    try:
        with StoreWriter(building, source=source.path) as writer:
            read = read_genbank if looks_like_genbank(head) else read_fasta
            read(itertools.chain([head], blocks), writer, path=source.path)
            for _ in blocks:  # whatever the reader left unread belongs to the checksum
                pass
            writer.finish(source.checksum)
        building.chmod(stores.stat().st_mode & 0o777)
        return _publish(building, _folder(cache, source.checksum), source.path)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _keep_freed_blocks() -> None:
    """Let glibc keep freed blocks in its heap, as it does once a larger block has come and gone.

    Else it returns them to the system at every turn, which takes half of the reading time in a fresh process. The
    array is never touched, so it costs no memory.
    """
    np.empty(_LARGER_THAN_BLOCKS, dtype=np.uint8)


def _publish(building: Path, folder: Path, source: str) -> TokenStore:
    """Give a finished store its name, or use the one that another process published meanwhile."""
    for _ in range(3):
        with suppress(OSError):
            building.rename(folder)
        store = load_store(folder, source=source)
        if store is not None:
            return store
        with suppress(OSError):  # what stands there is damaged: put it aside, then try again
            folder.rename(building.with_name(building.name + "-damaged"))
        shutil.rmtree(building.with_name(building.name + "-damaged"), ignore_errors=True)
    raise TitansError(f"{folder}: cannot write the token store; choose another cache folder")


def load_store(folder: Path, *, source: str) -> TokenStore | None:
    """The store in `folder`, mapped; None unless every file is there, of this version and of the right size."""
    try:
        index: dict[str, Any] = json.loads((folder / files.INDEX).read_text(encoding="utf-8"))
        if index["version"] != files.VERSION:
            return None
        names = tuple(index["names"])
        return TokenStore(
            source=source,
            folder=folder,
            checksum=index["checksum"],
            names=names,
            table=_mapped(folder / files.CONTIGS, "<i8", (len(names), len(files.COLUMNS))),
            tokens=_mapped(folder / files.TOKENS, "u1", (index["total"],)),
            n_runs=_mapped(folder / files.N_RUNS, "<i8", (index["n_runs"], 2)),
            soft_runs=_mapped(folder / files.SOFT_RUNS, "<i8", (index["soft_runs"], 2)),
            letters=index["letters"],
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _mapped(path: Path, dtype: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size != np.dtype(dtype).itemsize * math.prod(shape):
            raise ValueError(f"{path}: wrong size")
        if 0 in shape:
            return np.empty(shape, dtype=dtype)
        return np.ndarray(shape, dtype, buffer=mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _folder(cache: Path, checksum: str) -> Path:
    return cache / "stores" / f"{checksum}-v{files.VERSION}"


def _stamp(path: str) -> dict[str, int]:
    status = os.stat(path)
    return {
        "size": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "ctime_ns": status.st_ctime_ns,
        "inode": status.st_ino,
    }


def _file_checksum(path: str) -> str:
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, xxh3_128).hexdigest()


def _write_note(note: Path, content: dict[str, Any]) -> None:
    note.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=note.parent, prefix=_BUILDING)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(json.dumps(content))
        os.replace(name, note)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise


def _sweep(stores: Path) -> None:
    """Remove what killed processes left behind more than a day ago."""
    for left in stores.glob(_BUILDING + "*"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > _STALE_SECONDS:
                shutil.rmtree(left, ignore_errors=True)


@contextmanager
def _disk_errors(cache: Path) -> Iterator[None]:
    """An OSError while writing the cache as one clear line."""
    try:
        yield
    except OSError as error:
        raise TitansError(
            f"{cache}: the token store cannot be written ({error.strerror or error}); free some space (about one byte "
            "per base) or choose another folder with XDG_CACHE_HOME or cache_dir"
        ) from None
