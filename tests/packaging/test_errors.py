"""`titans_seq.errors`: one line each, the built-in kind a caller expects, and safe to send between processes."""

from __future__ import annotations

import doctest
import pickle

import pytest

from titans_seq import errors
from titans_seq.errors import (
    ConfigError,
    DtypeError,
    InputFileError,
    InterruptedRun,
    RangeError,
    ShapeError,
    StateMismatchError,
    TitansError,
    UnknownNameError,
    unknown_name,
)


@pytest.mark.parametrize(
    ("kind", "builtin", "exit_code"),
    [
        (ShapeError, ValueError, 2),
        (DtypeError, TypeError, 2),
        (RangeError, ValueError, 2),
        (UnknownNameError, ValueError, 2),
        (ConfigError, ValueError, 2),
        (InputFileError, ValueError, 2),
        (StateMismatchError, RuntimeError, 2),
        (InterruptedRun, RuntimeError, 1),
    ],
)
def test_kind_and_exit_code(kind: type[TitansError], builtin: type[Exception], exit_code: int) -> None:
    assert issubclass(kind, TitansError)
    assert issubclass(kind, builtin)
    assert kind.exit_code == exit_code


def test_examples_in_the_docstrings() -> None:
    assert doctest.testmod(errors).failed == 0


def test_a_file_error_survives_pickling() -> None:
    error = InputFileError("genes.gff3", 12, expected="nine columns", found="three")
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.path, again.line) == (str(error), "genes.gff3", 12)
    assert "\n" not in str(error)


def test_unknown_name_offers_the_nearest_and_stays_short() -> None:
    error = unknown_name("contig", "chr1l", [f"chr{i}" for i in range(1, 90)])
    assert "did you mean 'chr1'" in str(error)
    assert "and 69 more" in str(error)
    assert str(unknown_name("preset", "x", [])).endswith("known: none")
