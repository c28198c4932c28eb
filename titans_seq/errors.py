"""What titans-seq raises, each as one line: what was expected, what was found, where, and what to do.

`exit_code` is what the command line returns: 2 where the user's input or call is at fault, 1 where the run failed.
Every class is also the built-in error a caller would expect, so `except ValueError` works.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from os import PathLike, fspath
from typing import ClassVar


class TitansError(Exception):
    """Base of everything raised on purpose; anything else that escapes is a bug."""

    exit_code: ClassVar[int] = 1


class ShapeError(TitansError, ValueError):
    """A tensor or table has other axes or sizes than its place needs."""

    exit_code = 2


class DtypeError(TitansError, TypeError):
    """A tensor or column holds another kind of number than its place needs."""

    exit_code = 2


class RangeError(TitansError, ValueError):
    """A number or coordinate lies outside what is allowed."""

    exit_code = 2


class UnknownNameError(TitansError, ValueError):
    """A name (memory, variant, preset, contig, column) that nothing is known by; see `unknown_name`."""

    exit_code = 2


class ConfigError(TitansError, ValueError):
    """A setting is missing, unknown, or contradicts another one."""

    exit_code = 2


class StateMismatchError(TitansError, RuntimeError):
    """A saved state, snapshot or checkpoint belongs to another model or run; the message names both."""

    exit_code = 2


class InputFileError(TitansError, ValueError):
    """A file that cannot be read as what it should be.

    >>> print(InputFileError("genes.bed", 7, expected="start < end", found="90 .. 12", hint="swap the columns"))
    genes.bed, line 7: expected start < end, found 90 .. 12; swap the columns
    >>> print(InputFileError("reads.fa.gz", problem="the gzip stream ends early"))
    reads.fa.gz: the gzip stream ends early
    """

    exit_code = 2

    def __init__(
        self,
        path: str | PathLike[str],
        line: int | None = None,
        problem: str = "",
        *,
        expected: str = "",
        found: str = "",
        hint: str = "",
    ) -> None:
        self.path = fspath(path)
        self.line = line
        where = self.path if line is None else f"{self.path}, line {line}"
        wanted = ", ".join(f"{word} {text}" for word, text in (("expected", expected), ("found", found)) if text)
        what = "; ".join(part for part in (problem, wanted, hint) if part)
        # `args` is the message alone, so that the error survives pickling (a worker process raising it).
        super().__init__(f"{where}: {what}" if what else where)


class OutputError(TitansError, OSError):
    """Something could not be written: no space, no permission."""


class InterruptedRun(TitansError, RuntimeError):  # noqa: N818 - a stop that was asked for is not an error
    """A run was stopped from outside; its checkpoint lets it continue."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """The error for a name that is not among `known`, with the nearest ones first.

    >>> print(unknown_name("memory", "titan_lmm", ["titans_lmm", "moneta", "yaad"]))
    unknown memory 'titan_lmm'; did you mean 'titans_lmm'? known: moneta, titans_lmm, yaad
    """
    names = sorted(known)
    near = get_close_matches(name, names, n=3, cutoff=0.6)
    guess = f"; did you mean {' or '.join(repr(n) for n in near)}?" if near else ";"
    shown = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    return UnknownNameError(f"unknown {kind} {name!r}{guess} known: {shown or 'none'}")
