"""The file of a session: the written format, an old one that keeps loading, and a readable error for each wrong one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tests.streaming.make_snapshot import BASES, OLD, SESSIONS, small_session
from titans_seq.errors import InputFileError, OutputError
from titans_seq.streaming import Place, Session, session_file
from titans_seq.streaming.session_file import model_hash, read_session


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path, session = tmp_path / "here.safetensors", small_session()
    session.feed(BASES)
    session.save(path)
    return path


def test_the_file_is_what_the_format_says(saved: Path) -> None:
    with safe_open(saved, framework="pt") as file:
        metadata = file.metadata()
    assert set(metadata) == {"titans_seq"}
    assert json.loads(metadata["titans_seq"]) == {
        "format": "titans-seq session", "version": 2,
        "model": model_hash(small_session().task), "tokens": 10, "rows": 1,
        "place": {"contig": "chr1", "position": 1010, "strand": "+", "assembly": "made.fa.gz", "checksum": "ab" * 32},
    }  # fmt: skip
    names = load_file(saved).keys()
    assert {"logits", "state/tail", "state/position", "state/encoder/0.memory.weights", "state/pending/tokens"} <= names
    page = (Path(session_file.__file__).parent / "FORMAT.md").read_text()
    for word in ("titans-seq session", "`tokens`", "`rows`", "`place`", "`logits`", "`state/"):
        assert word in page


@pytest.mark.parametrize("version", SESSIONS)
def test_an_old_file_keeps_loading(version: int) -> None:
    """As committed. The hash is not compared: it follows the weights' last bits, not the format."""
    path = SESSIONS[version]
    found = read_session(path)
    session = small_session()
    session.feed(BASES)
    assert (found.tokens, found.rows, found.place) == (10, 1, session.place)
    # Before version 2 what is pending was written to the memory already.
    assert found.tensors.keys() == {name for name in session.tensors() if version > 1 or "/pending/" not in name}
    again = small_session()
    again.take(found.tensors, tokens_read=found.tokens)
    wanted = session.feed("ACGGT")
    torch.testing.assert_close(again.feed("ACGGT").loss, wanted.loss, rtol=1e-4, atol=1e-5)
    for name, value in session.tensors().items():
        torch.testing.assert_close(again.tensors()[name], value.clone(), rtol=1e-4, atol=1e-5)
    assert path.stat().st_size < 10_000


def rewrite(path: Path, **changes: object) -> None:
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["titans_seq"])
    save_file(load_file(path), path, metadata={"titans_seq": json.dumps(header | changes)})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"version": 3}, "expected session version 2 or older, found version 3; update titans-seq"),
        ({"version": None}, "expected a number from 0 as 'version' in the header, found None"),
        ({"tokens": -1}, "as 'tokens' in the header, found -1"),
        ({"place": {"contig": "x"}}, "'position' in the header"),
        ({"format": "other"}, "expected a titans-seq session file"),
    ],
)
def test_a_damaged_header(saved: Path, changes: dict[str, object], words: str) -> None:
    rewrite(saved, **changes)
    with pytest.raises(InputFileError, match=r"here\.safetensors: ") as caught:
        small_session().load(saved)
    assert words in str(caught.value)


def test_what_is_not_a_session(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="a safetensors file of something else"):
        small_session().load(OLD)
    with pytest.raises(InputFileError, match="no such file"):
        small_session().load(tmp_path / "gone.safetensors")
    saved.write_bytes(saved.read_bytes()[:300])
    with pytest.raises(InputFileError, match="expected a safetensors file"):
        small_session().load(saved)


def test_a_session_that_has_read_nothing(tmp_path: Path) -> None:
    path = tmp_path / "fresh.safetensors"
    small_session().save(path)
    loaded = Session(small_session().task).load(path, expect=Place("chr1", 1000))
    wanted = small_session().feed(BASES)
    torch.testing.assert_close(loaded.feed(BASES).loss, wanted.loss, rtol=0, atol=0, equal_nan=True)


def test_no_folder_to_save_in(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        small_session().save(tmp_path / "gone" / "x.safetensors")
