"""`scan.c` through ctypes, which lets other threads run meanwhile: hashing and writing go on beside it."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from titans_seq.genomics.alphabet import TOKEN_OF_BYTE
from titans_seq.genomics.scan import Scan, Scanner, scan_text
from titans_seq.shared_library import level, load_library

VERSION: Final = 1  # SCAN_VERSION in scan.c
LEVELS: Final = {1: "plain", 2: "AVX2"}
_STEP: Final = 64
_POINTERS: Final = (
    "begins", "ends", "rows", "pieces", "token_of_byte", "tokens", "counts", "n_edges", "soft_edges", "letters",
    "newlines",
)  # fmt: skip
_FOUND: Final = ("size", "n_edge_count", "soft_edge_count", "foreign")


class _TextScan(ctypes.Structure):
    _fields_ = (
        ("text", ctypes.c_char_p),
        *((name, ctypes.c_int64 if name == "pieces" else ctypes.c_void_p) for name in _POINTERS),
        *((name, ctypes.c_int64) for name in _FOUND),
    )


@cache
def load() -> tuple[ctypes.CDLL | None, str]:
    """The library, or None, and what there is to say about it."""
    found, words = load_library(
        Path(__file__).parent / "_scan", version=VERSION, version_function="titans_scan_version", needs="a C compiler"
    )
    return found, words if found is None else f"{words}, {LEVELS[found.titans_scan_level()]}"


def library() -> ctypes.CDLL | None:
    """The library, or None where it is not built, does not load, or is switched off."""
    return load()[0]


def text_scanner() -> Scanner:
    """The scanner for one file: in C where it is built, else with numpy."""
    compiled = library()
    return scan_text if compiled is None else CompiledScanner(compiled)


_TABLE: Final = np.frombuffer(TOKEN_OF_BYTE, dtype=np.uint8)


class CompiledScanner:
    """Scans texts with `compiled`; keeps its room from block to block (fresh memory costs as much as the scan)."""

    def __init__(self, compiled: ctypes.CDLL) -> None:
        self._scan = compiled.titans_scan
        self._scan.restype = None
        self._edges = np.empty((2, 0), dtype=np.int64)
        self._tokens = np.empty(0, dtype=np.uint8)

    def __call__(self, text: bytes, begins: Sequence[int], ends: Sequence[int], rows: Sequence[int]) -> Scan:
        if self._edges.shape[1] < len(text):
            self._tokens = np.empty(len(text) + _STEP, dtype=np.uint8)
            self._edges = np.empty((2, len(text)), dtype=np.int64)  # what is not written to costs no memory
        pieces = np.array([begins, ends, rows], dtype=np.int64)
        counts = np.zeros((rows[-1] + 1, 4), dtype=np.int64)
        letters, newlines = np.zeros(256, dtype=np.int64), np.zeros(len(rows), dtype=np.int64)
        first, stride = _address(pieces), pieces.strides[0]
        found = _TextScan(
            text=text, begins=first, ends=first + stride, rows=first + 2 * stride, pieces=len(rows),
            token_of_byte=_address(_TABLE), tokens=_address(self._tokens), counts=_address(counts),
            n_edges=_address(self._edges), soft_edges=_address(self._edges) + self._edges.strides[0],
            letters=_address(letters), newlines=_address(newlines),
        )  # fmt: skip
        self._scan(ctypes.byref(found), ctypes.c_int(level()))
        n_edges = self._edges[0, : found.n_edge_count].copy()
        soft_edges = self._edges[1, : found.soft_edge_count].copy()
        tokens = self._tokens[: found.size]
        return Scan(tokens, counts, n_edges, soft_edges, letters, newlines, bool(found.foreign))


def _address(array: npt.NDArray[Any]) -> int:
    return array.__array_interface__["data"][0]
