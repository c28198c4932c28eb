"""The cache of token stores: built once, rebuilt when the file changes, never half-written, shared by processes."""

import errno
import io
import json
import os
import struct
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from xxhash import xxh3_128

from titans_seq.errors import InputFileError, RangeError, TitansError, UnknownNameError
from titans_seq.genomics import Genome, decode, open_genome, open_genomes, store, writer


@pytest.fixture
def fasta(tmp_path: Path) -> Path:
    path = tmp_path / "g.fa"
    path.write_bytes(b">chr1\nACGTNN\n>chr2\nggcc\n")
    return path


def builds(cache: Path) -> list[Path]:
    return sorted((cache / "stores").glob("*"))


def test_the_second_opening_reads_the_cache(tmp_path: Path, fasta: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = open_genome(fasta, cache_dir=tmp_path / "c")
    monkeypatch.setattr(store, "_build", lambda *_: pytest.fail("built again"))
    again = open_genome(fasta, cache_dir=tmp_path / "c")
    assert again.checksum == first.checksum
    assert again.contigs == first.contigs
    assert not again.tokens("chr1").flags.writeable


def test_a_changed_file_is_read_again_even_with_its_old_size_and_time(tmp_path: Path, fasta: Path) -> None:
    before = os.stat(fasta)
    old = open_genome(fasta, cache_dir=tmp_path / "c")
    fasta.write_bytes(b">chr1\nTTTTNN\n>chr2\nggcc\n")
    os.utime(fasta, ns=(before.st_atime_ns, before.st_mtime_ns))
    new = open_genome(fasta, cache_dir=tmp_path / "c")
    assert decode(new.tokens("chr1")) == "TTTTNN"
    assert decode(old.tokens("chr1")) == "ACGTNN"


@pytest.mark.parametrize("name", ["tokens.u8", "contigs.i64", "n_runs.i64", "index.json"])
def test_a_damaged_store_is_replaced(tmp_path: Path, fasta: Path, name: str) -> None:
    open_genome(fasta, cache_dir=tmp_path / "c")
    (builds(tmp_path / "c")[0] / name).write_bytes(b"x")
    assert decode(open_genome(fasta, cache_dir=tmp_path / "c").tokens("chr2")) == "GGCC"
    assert len(builds(tmp_path / "c")) == 1


def test_version_2_reads_as_it_is_written_down(tmp_path: Path) -> None:
    """A store made by hand from the format's description, so that stores of today stay readable."""
    (tmp_path / "tokens.u8").write_bytes(bytes([0, 1, 2, 3, 4, 4, 2]))
    (tmp_path / "contigs.i64").write_bytes(struct.pack("<10q", 0, 5, 1, 2, 0, 5, 2, 1, 1, 1))
    (tmp_path / "n_runs.i64").write_bytes(struct.pack("<2q", 4, 6))
    (tmp_path / "soft_runs.i64").write_bytes(struct.pack("<2q", 6, 7))
    index = {"format": "titans-seq token store", "version": 2, "source": "x.fa", "checksum": "ab", "total": 7}
    index |= {"n_runs": 1, "soft_runs": 1, "letters": {"N": 2}, "names": ["one", "two"]}
    (tmp_path / "index.json").write_text(json.dumps(index))
    loaded = store.load_store(tmp_path, source="x.fa")
    assert loaded is not None
    genome = Genome([loaded])
    assert decode(genome.tokens("one")) == "ACGTN"
    assert genome.contig("one").gc == 0.5
    assert genome.n_runs("two").tolist() == [[0, 1]]
    assert genome.soft_mask("two").tolist() == [False, True]


def test_an_older_format_is_not_read(tmp_path: Path, fasta: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_genome(fasta, cache_dir=tmp_path / "c")
    monkeypatch.setattr(writer, "VERSION", 3)
    open_genome(fasta, cache_dir=tmp_path / "c")
    assert {path.name[-3:] for path in builds(tmp_path / "c")} == {"-v2", "-v3"}


def test_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b">a\nACGT\n")))
    genome = open_genome("-", cache_dir=tmp_path / "c")
    assert decode(genome.tokens("a")) == "ACGT"
    assert genome.paths == ("-",)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_a_named_pipe_is_read_once_and_not_noted(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writing = threading.Thread(target=pipe.write_bytes, args=(b">a\nACGT\n",))
    writing.start()
    genome = open_genome(pipe, cache_dir=tmp_path / "c")
    writing.join()
    assert decode(genome.tokens("a")) == "ACGT"
    assert not (tmp_path / "c" / "files").exists()


def test_several_files_and_names_in_two_of_them(tmp_path: Path, fasta: Path) -> None:
    other = tmp_path / "o.fa"
    other.write_bytes(b">chr3\nAAAA\n")
    both = open_genomes([fasta, other], cache_dir=tmp_path / "c")
    assert both.names == ("chr1", "chr2", "chr3")
    assert both.total == 14
    assert both.summary()["n"] == 2
    other.write_bytes(b">chr2\nAAAA\n")
    with pytest.raises(InputFileError, match="'chr2' is also in"):
        open_genomes([fasta, other], cache_dir=tmp_path / "c")
    with pytest.raises(InputFileError, match="at least one"):
        open_genomes([], cache_dir=tmp_path / "c")


def test_wrong_names_and_coordinates(tmp_path: Path, fasta: Path) -> None:
    genome = open_genome(fasta, cache_dir=tmp_path / "c")
    with pytest.raises(UnknownNameError, match="no contig '1'; there are 2, such as chr1, chr2"):
        genome.tokens("1")
    with pytest.raises(RangeError, match="bases 0 to 6, asked for 2 to 7"):
        genome.tokens("chr1", 2, 7)


def test_missing_folder_and_unreadable(tmp_path: Path, fasta: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputFileError, match="no such file"):
        open_genome(tmp_path / "none.fa", cache_dir=tmp_path / "c")
    with pytest.raises(InputFileError, match="a directory"):
        open_genome(tmp_path, cache_dir=tmp_path / "c")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(InputFileError, match="permission"):
        open_genome(fasta, cache_dir=tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_a_full_disk_leaves_nothing(tmp_path: Path, fasta: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(writer.StoreWriter, "finish", full)
    with pytest.raises(TitansError, match=r"No space left on device.*XDG_CACHE_HOME"):
        open_genome(fasta, cache_dir=tmp_path / "c")
    assert builds(tmp_path / "c") == []


def test_a_cache_folder_that_cannot_be_made(tmp_path: Path, fasta: Path) -> None:
    with pytest.raises(TitansError, match="cannot be written"):
        open_genome(fasta, cache_dir=fasta / "below-a-file")


def test_the_default_cache_follows_xdg(tmp_path: Path, fasta: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    open_genome(fasta)
    assert builds(tmp_path / "xdg" / "titans-seq")


def test_processes_that_build_at_once_agree(tmp_path: Path) -> None:
    path = tmp_path / "big.fa"
    path.write_bytes(b">a\n" + b"ACGTTGCA" * 200_000 + b"\n")
    code = (
        "import sys; from titans_seq.genomics import open_genome;"
        "g = open_genome(sys.argv[1], cache_dir=sys.argv[2]); print(g.tokens('a').sum())"
    )
    command = [sys.executable, "-c", code, str(path), str(tmp_path / "c")]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(4)]
    outputs = [process.communicate(timeout=60) for process in running]
    assert {out for out, _ in outputs} == {b"2400000\n"}
    assert len(builds(tmp_path / "c")) == 1


def test_progress_reaches_the_size(tmp_path: Path, fasta: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    open_genome(fasta, cache_dir=tmp_path / "c", progress=lambda done, size: seen.append((done, size)))
    assert seen[-1] == (fasta.stat().st_size, fasta.stat().st_size)


def test_some_contigs_alone(tmp_path: Path, fasta: Path) -> None:
    other = tmp_path / "other.fa"
    other.write_text(">x\nGGGNN\n>y\nACGT\n")
    genome = open_genomes([str(fasta), str(other)], cache_dir=tmp_path / "cache")
    part = genome.only(["y"])
    assert part.names == ("y",)
    assert part.total == 4
    assert part.tokens("y").tolist() == genome.tokens("y").tolist() == [0, 1, 2, 3]
    assert part.checksum not in (genome.checksum, genome.only(["x"]).checksum)
    assert genome.only(genome.names).total == genome.total
    with pytest.raises(UnknownNameError, match="no contig 'z'"):
        genome.only(["z"])


@pytest.mark.parametrize("end", [b"\n", b"\n>b\n", b"\nAC*T\n"], ids=["good", "empty contig", "foreign"])
def test_files_of_several_blocks_are_hashed_whole_or_leave_nothing(tmp_path: Path, end: bytes) -> None:
    path = tmp_path / "big.fa"
    path.write_bytes(b">a\n" + (b"ACGTTGCA" * 10 + b"\n") * 40_000 + end)
    try:
        genome = open_genome(path, cache_dir=tmp_path / "c")
    except InputFileError:
        assert end != b"\n"
        assert builds(tmp_path / "c") == []
    else:
        assert genome.checksum == xxh3_128(path.read_bytes()).hexdigest()
        assert genome.total == 40_000 * 80
