"""Nothing is ever half-written, and the words of a repeat are found on both strands."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import SafetensorError

from titans_seq import tensor_files
from titans_seq.errors import InputFileError, OutputError
from titans_seq.files import check_out, read_json, replacing, write_json, write_text
from titans_seq.tasks import NextBase
from titans_seq.training.metrics_log import MetricsLog, columns, read_metrics
from titans_seq.training.overlap import seen_share, words

A, C, G, T, N = range(5)


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    write_text(path, "old")

    def half() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OutputError, match="disk is full; free some space and run the same command again"):
        half()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["x.txt"]


class PolarsLikeError(Exception):
    """An error of a library in Rust, which is no OSError."""


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PolarsLikeError("parquet: underlying IO error: No space left on device (os error 28)"), "the disk is full"),
        (PolarsLikeError("Disk quota exceeded (os error 122)"), "the disk is full"),
        (OSError("2400 requested and 512 written"), "the disk is full"),
        (OSError(errno.EROFS, "Read-only file system"), r"cannot be written \(Read-only file system\)"),
        (PolarsLikeError("Input/output error (os error 5)"), r"cannot be written \(Input/output error"),
    ],
)
def test_errors_of_the_system_in_every_librarys_words(tmp_path: Path, error: Exception, words: str) -> None:
    with pytest.raises(OutputError, match=rf"x\.parquet: {words}"), replacing(tmp_path / "x.parquet"):
        raise error
    with pytest.raises(PolarsLikeError, match="a column"), replacing(tmp_path / "x.parquet"):
        raise PolarsLikeError("a column of 28 rows")
    assert list(tmp_path.iterdir()) == []


def test_any_other_end_leaves_no_temporary_file(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "x"):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        write_text(tmp_path / "no" / "x", "text")


def test_json_has_no_nan_and_says_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert not path.exists()
    path.write_text("{")
    with pytest.raises(InputFileError, match="expected JSON"):
        read_json(path)


def test_metrics_behind_the_step_are_dropped_and_half_lines_too(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path, units=NextBase.units)
    for step in (2, 4, 6):
        log.add(dict.fromkeys(columns(NextBase.units), step))
    with (tmp_path / "metrics.csv").open("a") as file:
        file.write("8,8,8")
    assert [row["step"] for row in read_metrics(tmp_path)] == ["2", "4", "6"]
    MetricsLog(tmp_path, units=NextBase.units, resume_step=4)
    assert [row["step"] for row in read_metrics(tmp_path)] == ["2", "4"]


def test_a_word_is_its_reverse_complement() -> None:
    numbers, known = words(np.array([A, C, N, G, T], dtype=np.uint8), k=2)
    assert known.tolist() == [True, False, False, True]
    assert numbers[0] == numbers[3]
    assert len(words(np.array([A], dtype=np.uint8), k=2)[0]) == 0


@pytest.mark.parametrize("inverted", [False, True])
def test_the_share_of_bases_seen_before(inverted: bool) -> None:
    tokens = np.random.default_rng(0).integers(0, 4, 1000).astype(np.uint8)
    copy = tokens[100:200]
    tokens[850:950] = 3 - copy[::-1] if inverted else copy
    share = seen_share([("x", 800, 1000)], [("x", 0, 800)], lambda name, start, end: tokens[start:end])
    assert 100 / 200 <= share < 104 / 200


def test_tensors_on_a_full_disk_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(tensor_files, "save_file", full)
    with pytest.raises(OutputError, match=r"x\.safetensors: the disk is full; free some space and run") as caught:
        tensor_files.save_tensors(tmp_path / "x.safetensors", {"a": torch.zeros(2)})
    assert "safetensors: " not in str(caught.value).split(": ", 1)[1]
    assert list(tmp_path.iterdir()) == []


def test_tensors_that_share_memory_come_back_apart(tmp_path: Path) -> None:
    whole = torch.arange(12.0).view(3, 4)
    named = {"whole": whole, "same": whole, "part": whole[1:], "turned": whole.T, "one": whole[0, 0], "none": whole[:0]}
    tensor_files.save_tensors(tmp_path / "x.safetensors", named)
    found = tensor_files.load_tensors(tmp_path / "x.safetensors")
    assert found.keys() == named.keys()
    assert all(torch.equal(found[name], value) for name, value in named.items())


def test_a_place_to_write_in_is_checked_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_out(tmp_path / "new.csv")
    with pytest.raises(OutputError, match=f"no such folder to write in; create {tmp_path / 'gone'} first"):
        check_out(tmp_path / "gone" / "new.csv")
    with pytest.raises(OutputError, match="a folder"):
        check_out(tmp_path)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(OutputError, match="no permission"):
        check_out(tmp_path / "new.csv")
