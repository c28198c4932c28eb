"""Compiled CPU kernels, in C, called through ctypes. Optional: where they were not built, PyTorch does the work.

`pip install` builds `_kernels` from the sources beside this file where it finds a C compiler with OpenMP. The library
brings every instruction set and chooses when it is called; see :mod:`titans_seq.shared_library` for the switch that
leaves it out. PyTorch is imported first, so that both share one pool of threads.
"""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path

import torch  # noqa: F401  (first: its OpenMP becomes ours)

from titans_seq.shared_library import level, load_library

__all__ = ["LEVELS", "VERSION", "level", "library", "load"]
VERSION = 5  # of the sources beside this file, NATIVE_VERSION in chunk.h
LEVELS = {1: "plain", 2: "AVX2", 3: "AVX-512"}


@cache
def load() -> tuple[ctypes.CDLL | None, str]:
    """The library, or None, and what there is to say about it."""
    found, words = load_library(
        Path(__file__).parent / "_kernels",
        version=VERSION,
        version_function="titans_version",
        needs="a C compiler with OpenMP",
    )
    return found, words if found is None else f"{words}, {LEVELS[found.titans_level()]}"


def library() -> ctypes.CDLL | None:
    """The library, or None where it is not built, does not load, or is switched off."""
    return load()[0]
