"""One pass in C over a block of text gives what numpy gives, and both give what a loop over its bytes gives."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from titans_seq.errors import InputFileError
from titans_seq.genomics import fasta, open_genome, scan_native, sources
from titans_seq.genomics.alphabet import FOREIGN, N_TOKEN, TOKEN_OF_BYTE
from titans_seq.genomics.scan import Scan, Scanner, scan_text
from titans_seq.genomics.scan_native import CompiledScanner, library, text_scanner

Wanted = dict[str, Any]


def by_hand(text: bytes, begins: Sequence[int], ends: Sequence[int], rows: Sequence[int]) -> Wanted:
    """The definition: every byte on its own."""
    tokens: list[int] = []
    counts = [[0] * 4 for _ in range(rows[-1] + 1)]
    edges: dict[str, list[int]] = {"n": [], "soft": []}
    letters: dict[str, int] = {}
    for begin, end, row in zip(begins, ends, rows, strict=True):
        for byte in text[begin:end]:
            if byte in b"\n \t":
                continue
            token = TOKEN_OF_BYTE[byte]
            flags = {"n": token == N_TOKEN, "soft": bool(byte & 32)}
            for name, flag in flags.items():
                if flag != bool(len(edges[name]) % 2):
                    edges[name].append(len(tokens))
            for column, value in enumerate((1, flags["n"], token in (1, 2), flags["soft"])):
                counts[row][column] += value
            letter = chr(byte & 0xDF)
            if letter not in "ACGT":
                letters[letter] = letters.get(letter, 0) + 1
            tokens.append(token)
    newlines = [text[a:b].count(b"\n") for a, b in zip(begins, ends, strict=True)]
    wanted = {"tokens": tokens, "counts": counts, "n_edges": edges["n"], "soft_edges": edges["soft"]}
    return wanted | {"letters": letters, "newlines": newlines, "foreign": FOREIGN in tokens}


def as_lists(found: Scan) -> Wanted:
    letters = {chr(code): int(found.letters[code]) for code in np.flatnonzero(found.letters)}
    names = ("tokens", "counts", "n_edges", "soft_edges", "newlines")
    return {name: getattr(found, name).tolist() for name in names} | {"letters": letters, "foreign": found.foreign}


@pytest.fixture(scope="module", params=["numpy", "plain", "AVX2"])
def scan(request: pytest.FixtureRequest) -> Scanner:
    if request.param == "numpy":
        return scan_text
    compiled = library()
    if compiled is None:
        pytest.skip(f"compiled scanner: {scan_native.load()[1]}")
    level = {"plain": 1, "AVX2": 2}[request.param]
    if compiled.titans_scan_level() < level:
        pytest.skip("the processor has no AVX2")
    scanner = CompiledScanner(compiled)

    def at_level(text: bytes, begins: Sequence[int], ends: Sequence[int], rows: Sequence[int]) -> Scan:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TITANS_SEQ_NATIVE", str(level))
            return scanner(text, begins, ends, rows)

    return at_level


def check(scan: Scanner, text: bytes, borders: Sequence[int] = ()) -> None:
    """Pieces lie between the borders, one byte between them; every second border begins a new row."""
    places = sorted({min(border, len(text)) for border in borders})
    begins, ends = [0, *(min(place + 1, len(text)) for place in places)], [*places, len(text)]
    if any(begin > end for begin, end in zip(begins, ends, strict=True)) or len(set(begins)) < len(begins):
        return
    rows = [number // 2 for number in range(len(begins))]
    wanted, found = by_hand(text, begins, ends, rows), scan(text, begins, ends, rows)
    if wanted["foreign"]:  # for which the rest is of no use, but for one thing
        assert found.foreign
        assert bool(found.counts[0, 0]) == bool(wanted["counts"][0][0])
    else:
        assert as_lists(found) == wanted


LINES = b"".join(b"ACGTTGCA"[i % 8 :] * 9 + b"\n" for i in range(8))


@pytest.mark.parametrize("at", [0, 63, 64, 129, 300, len(LINES) - 1])
def test_every_byte_at_the_borders_of_a_step(scan: Scanner, at: int) -> None:
    for value in range(256):
        text = bytearray(LINES)
        text[at] = value
        check(scan, bytes(text), [130, 140])


@pytest.mark.parametrize("width", [1, 7, 50, 60, 63, 64, 65, 70, 80, 128, 129, 1000])
def test_lines_of_any_width(scan: Scanner, width: int) -> None:
    rng = np.random.default_rng(width)
    letters = rng.choice(np.frombuffer(b"ACGT", dtype=np.uint8), 1500).tobytes()
    cut = [letters[i : i + width] for i in range(0, len(letters), width)]
    masked = letters[:400] + letters[400:700].lower() + b"N" * 200 + letters[900:1100].lower() + b"n" * 300
    for end in (b"", b"\n", b"\n\n"):
        check(scan, b"\n".join(cut) + end)
        check(scan, b"\n".join(masked[i : i + width] for i in range(0, len(masked), width)) + end, [333, 700])


PIECES = [b"ACGT" * 20, b"acgtt" * 13, b"N" * 70, b"n", b"\n", b"\n\n", b" ", b"\t", b"U", b"rYk", b"G" * 64]
PIECES += [b"\n" * 130]
FOREIGN_PIECES = [b"E", b">", b"\xff", b"\0", b"\r", b"-", b"\x0b", b"@"]


@settings(max_examples=150, deadline=None)
@given(
    parts=st.lists(st.sampled_from(PIECES) | st.sampled_from(PIECES + FOREIGN_PIECES), max_size=14),
    borders=st.lists(st.integers(0, 700), max_size=5),
)
def test_texts_cut_anywhere(scan: Scanner, parts: list[bytes], borders: list[int]) -> None:
    check(scan, b"".join(parts), borders)


@pytest.mark.parametrize("size", range(0, 150, 7))
def test_nothing_is_written_beyond_the_room(scan: Scanner, size: int) -> None:
    check(scan, b"ACGTTGCATT"[size % 7 :] * 15 + b"\n" * size)
    check(scan, (b"\n" * 63 + b"A") * (size // 7) + b"C" * size)


def outcome(path: Path, cache: Path, scanner: Callable[[], Scanner], block: int) -> dict[str, bytes] | str:
    """The files of the store, or the message."""
    shutil.rmtree(cache, ignore_errors=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fasta, "text_scanner", scanner)
        patch.setattr(sources, "BLOCK", block)
        patch.setattr(fasta, "_BITE", max(block // 3, 1))
        try:
            genome = open_genome(path, cache_dir=cache)
        except InputFileError as error:
            assert list(cache.glob("stores/*")) == []
            return str(error)
        (folder,) = (cache / "stores").iterdir()
        assert genome.checksum in folder.name
        return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


PARTS = st.sampled_from(
    [b">a\n", b">b c\n", b">c", b"; x\n", b"\n>d\n", b"\r\n", b"\n", b"\r", *PIECES, *FOREIGN_PIECES, b"\xef\xbb\xbf"]
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    parts=st.lists(PARTS, max_size=12),
    good=st.booleans(),
    blocks=st.tuples(*[st.sampled_from([2, 5, 16, 64, 200, 1 << 20])] * 2),
)
@example(parts=[b"N" * 70, b"\n>d\n", b"N" * 70], good=True, blocks=(1 << 20, 5))
def test_stores_and_messages_are_the_same_at_any_block(
    tmp_path: Path, parts: list[bytes], good: bool, blocks: tuple[int, int]
) -> None:
    """By C and by numpy: the same line, or the same files byte for byte, and these whatever the blocks."""
    if library() is None:
        pytest.skip(f"compiled scanner: {scan_native.load()[1]}")
    path = tmp_path / "x.fa"
    path.write_bytes((b">first\nAC\n" if good else b"") + b"".join(parts))
    by_c = outcome(path, tmp_path / "c", text_scanner, blocks[0])
    assert by_c == outcome(path, tmp_path / "n", lambda: scan_text, blocks[0])
    other = outcome(path, tmp_path / "n", lambda: scan_text, blocks[1])
    assert isinstance(other, str) if isinstance(by_c, str) else other == by_c


def test_the_scanner_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    scan_native.load.cache_clear()
    monkeypatch.setenv("TITANS_SEQ_NATIVE", "0")
    assert text_scanner() is scan_text
    assert scan_native.load()[1] == "switched off by TITANS_SEQ_NATIVE=0"
    monkeypatch.undo()
    scan_native.load.cache_clear()
    assert scan_native.load()[1].startswith(("built, ", "not built; "))


def test_versions_agree() -> None:
    source = (Path(scan_native.__file__).parent / "scan.c").read_text()
    found = re.search(r"SCAN_VERSION = (\d+)", source)
    assert found is not None
    assert int(found[1]) == scan_native.VERSION
