"""Finding a compiled library of the package. Optional: where it was not built, its caller does the work in Python.

`pip install` builds `_NAME` beside the module that calls it where it finds a C compiler. The libraries need neither
Python's nor PyTorch's headers, so one build serves any version of either.

``TITANS_SEQ_NATIVE=0`` leaves all of them out; 1, 2 and 3 hold them to plain, AVX2 and AVX-512 instructions.
"""

from __future__ import annotations

import ctypes
import logging
import os
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

log = logging.getLogger(__name__)


def load_library(path: Path, *, version: int, version_function: str, needs: str) -> tuple[ctypes.CDLL | None, str]:
    """The library, or None, and what there is to say about it.

    Parameters
    ----------
    path
        Its folder and name, without the ending.
    version, version_function
        What the package was written for, and the function that tells what the library is.
    needs
        What builds it, for the message.
    """
    if os.environ.get("TITANS_SEQ_NATIVE") == "0":
        return None, "switched off by TITANS_SEQ_NATIVE=0"
    found = [place for suffix in EXTENSION_SUFFIXES for place in path.parent.glob(f"{path.name}{suffix}")]
    if not found:
        return None, f"not built; pip builds them where it finds {needs}"
    try:
        library = ctypes.CDLL(str(found[0]))
    except OSError as error:
        log.info("%s does not load: %s", found[0], error)
        return None, f"do not load: {error}"
    there = getattr(library, version_function)() if hasattr(library, version_function) else 0
    if there != version:
        log.warning("%s is version %d, the package wants %d: install it again (pip install)", found[0], there, version)
        return None, f"of version {there}, but {version} is wanted; install the package again"
    return library, "built"


def level() -> int:
    """Instruction set to use: `TITANS_SEQ_NATIVE`, or the best."""
    asked = os.environ.get("TITANS_SEQ_NATIVE", "")
    return int(asked) if asked in ("1", "2", "3") else 3
