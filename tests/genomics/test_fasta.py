"""What the FASTA reader accepts, what it refuses and how, and that it agrees with a slow reader on random bytes."""

import gzip
import re
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from titans_seq.errors import InputFileError
from titans_seq.genomics import Genome, decode, open_genome, sources
from titans_seq.genomics.alphabet import AMBIGUOUS


def opened(tmp_path: Path, content: bytes, name: str = "x.fa") -> Genome:
    path = tmp_path / name
    path.write_bytes(content)
    return open_genome(path, cache_dir=tmp_path / "cache")


def refused(tmp_path: Path, content: bytes) -> str:
    with pytest.raises(InputFileError) as error:
        opened(tmp_path, content)
    message = str(error.value)
    assert "\n" not in message
    assert str(tmp_path / "x.fa") in message
    assert list((tmp_path / "cache").glob("stores/*")) == []
    return message


def slow_reader(content: bytes) -> dict[str, str] | None:
    """The definition: line by line, letter by letter; None where the file must be refused."""
    text = content.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    contigs: dict[str, str] = {}
    name = None
    for line in text.split(b"\n"):
        if line.startswith(b">"):
            words = line[1:].split(None, 1)
            if line[1:2] in (b"", b" ", b"\t") or not words:
                return None
            try:
                name = words[0].decode()
            except UnicodeDecodeError:
                return None
            if name in contigs or "\0" in name:
                return None
            contigs[name] = ""
        elif not line.startswith(b";"):
            for code in line:
                letter = chr(code)
                if letter in " \t":
                    continue
                upper = letter.upper() if code < 128 else letter
                if name is None or upper not in "ACGTU" + AMBIGUOUS:
                    return None
                contigs[name] += "T" if upper == "U" else upper if upper in "ACGT" else "N"
    return contigs if contigs and all(contigs.values()) else None


def test_contigs_tokens_and_columns(tmp_path: Path) -> None:
    genome = opened(tmp_path, b">a some words\nACGT\nacNn\n\n>b\nNNGG cc\tU\n")
    assert genome.names == ("a", "b")
    assert decode(genome.tokens("a")) == "ACGTACNN"
    assert decode(genome.tokens("b", 2)) == "GGCCT"
    a, b = genome.contigs
    assert (a.length, a.n_count, a.gc, a.soft_masked) == (8, 2, 0.5, 3)
    assert (b.length, b.n_count, b.gc, b.soft_masked) == (7, 2, 0.8, 2)
    assert genome.n_runs("a").tolist() == [[6, 8]]
    assert genome.n_runs("b").tolist() == [[0, 2]]
    assert genome.soft_runs("a").tolist() == [[4, 6], [7, 8]]
    assert genome.soft_mask("b", 3, 6).tolist() == [False, True, True]
    assert genome.letters == {"N": 4, "U": 1}


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf>a\nACGT\n",
        b">a\r\nAC\r\nGT\r\n",
        b">a\rAC\rGT\r",
        b">a\nACGT",
        b"; a comment\n>a\n;another > one\nAC\n\n GT\n",
        b"\n\n>a\nA C\tG T\n\n",
    ],
)
def test_the_many_shapes_of_a_good_file(tmp_path: Path, content: bytes) -> None:
    assert decode(opened(tmp_path, content).tokens("a")) == "ACGT"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty file"),
        (b"\n\n", "neither"),
        (b"ACGT\n>a\nAC\n", "line 1.*'>' header"),
        (b"\n@read\nACGT\n+\nIIII\n", "line 2.*FASTQ"),
        (b">a\nAC\n>p\nMKV\nACEF\n", "line 4.*'E' in column 3.*protein|line 5.*'E' in column 3.*protein"),
        (b">a\nAC*\n", "line 2.*protein"),
        (b">a\nACG-T\n", "line 2.*'-' in column 4.*alignment"),
        (b">a\n        1 acgt\n", "line 2.*'1' in column 9.*GenBank"),
        (b">a\nAC\n>b\nGG\n>a\nTT\n", "line 5.*'a' occurs twice, first on line 1"),
        (b">\nACGT\n", "line 1.*name"),
        (b"> a\nACGT\n", "line 1.*name"),
        (b">a\n>b\nACGT\n", "line 1.*contig 'a'.*none"),
        (b">a\nACGT\n>b\n", "line 3.*contig 'b'.*none"),
        (b">\xff\xfe\nACGT\n", "line 1.*UTF-8"),
        (b"\xff\xfe>\0a\0\n\0", "UTF-16"),
        (b"\x89PNG\r\n\x1a\n\0\0\0", "binary"),
        (b"BZh91AY", "bzip2"),
        (b">a\nAC\x00GT\n", "byte 0x00"),
    ],
)
def test_bad_files_give_one_clear_line(tmp_path: Path, content: bytes, words: str) -> None:
    assert re.search(words, refused(tmp_path, content))


def test_a_foreign_letter_far_down_has_its_line_and_column(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "BLOCK", 64)
    content = b">a\n" + b"ACGTACGTAC\n" * 100 + b"ACG?T\n"
    assert "line 102: expected" in refused(tmp_path, content)
    assert "column 4" in refused(tmp_path, content)
    one_line = b">a\n" + b"ACGT" * 100 + b"!"
    assert "column 401" in refused(tmp_path, one_line)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 10_000), value=st.integers(0, 255), cut=st.integers(0, 10_000) | st.none())
def test_damaged_gzip_never_passes_for_other_bases(tmp_path: Path, at: int, value: int, cut: int | None) -> None:
    content = b">a\n" + np.random.default_rng(0).choice(np.frombuffer(b"ACGT", dtype=np.uint8), 2000).tobytes()
    packed = bytearray(gzip.compress(content, mtime=0))
    packed[at % len(packed)] = value
    path = tmp_path / "d.fa.gz"
    path.write_bytes(packed[:cut])
    try:
        genome = open_genome(path, cache_dir=tmp_path / "dcache")
    except InputFileError:
        return
    assert decode(genome.tokens("a")).encode() == content[3:]


def test_only_n_is_accepted_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    genome = opened(tmp_path, b">a\nNNN\n>b\nA\n")
    assert "nothing but N" in caplog.text
    assert genome.contig("a").gc == 0.0
    assert genome.contig("b").length == 1


@pytest.fixture(params=["as installed", "zlib"])
def inflate(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "zlib":
        monkeypatch.setattr(sources, "_inflate", zlib)


@pytest.mark.usefixtures("inflate")
def test_gzip_members_follow_each_other(tmp_path: Path) -> None:
    parts = gzip.compress(b">a\nAC") + gzip.compress(b"") + gzip.compress(b"GT\n") + b"\0" * 20
    assert decode(opened(tmp_path, parts).tokens("a")) == "ACGT"


@pytest.mark.usefixtures("inflate")
@pytest.mark.parametrize("keep", [3, 15, 40, -9, -1])
def test_gzip_cut_short(tmp_path: Path, keep: int) -> None:
    rng = np.random.default_rng(0)
    whole = gzip.compress(b">a\n" + rng.choice(np.frombuffer(b"ACGT", dtype=np.uint8), 1000).tobytes())
    assert "cut short" in refused(tmp_path, whole[:keep])


@pytest.mark.usefixtures("inflate")
def test_gzip_damaged_or_empty(tmp_path: Path) -> None:
    whole = bytearray(gzip.compress(b">a\n" + b"ACGT" * 100))
    whole[-6] ^= 255
    assert "damaged" in refused(tmp_path, bytes(whole))
    assert "empty gzip" in refused(tmp_path, gzip.compress(b""))
    assert "damaged" in refused(tmp_path, gzip.compress(b">a\nACGT") + b"trailing text")


def test_half_a_million_tiny_contigs_take_seconds(tmp_path: Path) -> None:
    content = b"".join(b">c%d x\nA\n" % i for i in range(500_000))
    genome = opened(tmp_path, content)
    assert genome.total == len(genome) == 500_000
    assert genome.contigs[-1].name == "c499999"


PIECES = st.sampled_from(
    (
        [b">", b">a", b">b c", b">a\n", b">long name\n", b"\n", b"\r\n", b"\r", b"ACGT", b"acgtnn", b"N" * 7, b"R"],
        [b" ", b"\t", b";", b"; x\n", b"E", b"9", b"\xff", b"\xef\xbb\xbf", b"ACGTACGTACGTTTTT" * 5, b"\0", b"u"],
    )
).flatmap(st.sampled_from)
GOOD = st.lists(st.sampled_from([b"ACGT", b"nNac", b"\n", b"\r\n", b"\r", b" ", b"\n;c\n", b"T" * 11]), max_size=12)


def _agrees(tmp_path: Path, content: bytes) -> None:
    expected = slow_reader(content)
    path = tmp_path / "h.fa"
    path.write_bytes(content)
    try:
        genome = open_genome(path, cache_dir=tmp_path / "hcache")
    except InputFileError:
        assert expected is None, content
        return
    assert {name: decode(genome.tokens(name)) for name in genome.names} == expected


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.lists(PIECES, max_size=12), block=st.sampled_from([2, 8, 64, 1 << 20]))
def test_random_bytes_agree_with_the_slow_reader(tmp_path: Path, parts: list[bytes], block: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "BLOCK", block)
        _agrees(tmp_path, b"".join(parts))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(contigs=st.lists(GOOD, min_size=1, max_size=4), block=st.sampled_from([2, 5, 16, 1 << 20]))
def test_well_formed_files_agree_at_any_block_size(tmp_path: Path, contigs: list[list[bytes]], block: int) -> None:
    content = b"\n".join(b">n%d text\r\n%s" % (i, b"".join(parts)) for i, parts in enumerate(contigs))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "BLOCK", block)
        _agrees(tmp_path, content)
