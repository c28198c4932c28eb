"""Compiled CPU kernels, in C, called through ctypes. Optional: where they were not built, PyTorch does the work.

`pip install` builds `_kernels` from the sources beside this file where it finds a C compiler with OpenMP. The library
brings every instruction set and chooses when it is called; it needs neither Python's nor PyTorch's headers, so one
build serves any version of either. PyTorch is imported first, so that both share one pool of threads.

``TITANS_SEQ_NATIVE=0`` leaves it out; 1, 2 and 3 hold it to plain, AVX2 and AVX-512 instructions.
"""

from __future__ import annotations

import ctypes
import logging
import os
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import torch  # noqa: F401  (first: its OpenMP becomes ours)

log = logging.getLogger(__name__)
VERSION = 2  # of the sources beside this file, NATIVE_VERSION in chunk.h
LEVELS = {1: "plain", 2: "AVX2", 3: "AVX-512"}


@cache
def load() -> tuple[ctypes.CDLL | None, str]:
    """The library, or None, and what there is to say about it."""
    if os.environ.get("TITANS_SEQ_NATIVE") == "0":
        return None, "switched off by TITANS_SEQ_NATIVE=0"
    found = [path for suffix in EXTENSION_SUFFIXES for path in Path(__file__).parent.glob(f"_kernels{suffix}")]
    if not found:
        return None, "not built; pip builds them where it finds a C compiler with OpenMP"
    try:
        library = ctypes.CDLL(str(found[0]))
    except OSError as error:
        log.info("compiled CPU kernels do not load: %s", error)
        return None, f"do not load: {error}"
    version = library.titans_version() if hasattr(library, "titans_version") else 0
    if version != VERSION:
        log.warning(
            "%s is version %d, the package wants %d: install it again (pip install)", found[0], version, VERSION
        )
        return None, f"of version {version}, but {VERSION} is wanted; install the package again"
    return library, f"built, {LEVELS[library.titans_level()]}"


def library() -> ctypes.CDLL | None:
    """The library, or None where it is not built, does not load, or is switched off."""
    return load()[0]


def level() -> int:
    """Instruction set to use: `TITANS_SEQ_NATIVE`, or the best."""
    asked = os.environ.get("TITANS_SEQ_NATIVE", "")
    return int(asked) if asked in ("1", "2", "3") else 3
