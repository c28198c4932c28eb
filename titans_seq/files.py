"""Write files so that a reader, or a kill at any moment, never meets half of one."""

import errno
import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from titans_seq.errors import InputFileError, OutputError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_NUMBER = re.compile(r"\(os error (\d+)\)")
_SHORT = re.compile(r"\d+ requested and \d+ written")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path`` and rename it over ``path`` when the block ends well.

    Raises
    ------
    OutputError
        When the disk is full or the folder is not writable; ``path`` then holds what it held before.
    """
    temporary: Path | None = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
        yield temporary
        temporary.chmod(0o644)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OutputError:
        raise
    except Exception as error:
        if not isinstance(error, OSError) and _NUMBER.search(str(error)) is None:
            raise
        raise write_error(path, error) from None
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def check_out(path: Path) -> None:
    """Refuse, before any work is done, a file that could not be written.

    Raises
    ------
    OutputError
        There is no such folder, nothing may be written to it, or the name is a folder's.
    """
    folder = path.absolute().parent
    if not folder.is_dir():
        raise OutputError(f"{path}: no such folder to write in; create {folder} first")
    if path.is_dir():
        raise OutputError(f"{path}: cannot be written (a folder)")
    if not os.access(folder, os.W_OK):
        raise OutputError(f"{path}: cannot be written (no permission in {folder})")


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, record: Any) -> None:
    """Write JSON; a number that JSON does not have (NaN, infinity) is refused rather than written."""
    write_text(path, json.dumps(record, indent=1, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON, or say in one line what is wrong with it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputFileError(path, problem="no such file") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputFileError(path, expected="JSON", found=str(error)) from None


def write_error(path: Path, error: Exception) -> OutputError:
    """Put an operating-system error into one line that says what to do."""
    if is_full(error):
        return OutputError(f"{path}: the disk is full; free some space and run the same command again")
    return OutputError(f"{path}: cannot be written ({getattr(error, 'strerror', None) or error})")


def is_full(error: Exception) -> bool:
    """Whether a disk, or one's share of it, is full.

    Libraries in Rust (polars) tell it in words, ``(os error 28)``; NumPy as fewer items written than were asked for.
    """
    number = getattr(error, "errno", None)
    if number is None and (said := _NUMBER.search(str(error))):
        number = int(said[1])
    return number in _FULL or (number is None and _SHORT.match(str(error)) is not None)
