"""CSV in blocks: whatever the size of a block, the same rows with the same lines as in one, and the same refusals."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from titans_seq.errors import InputFileError
from titans_seq.timeseries import TableOptions, csv_blocks, read_table
from titans_seq.timeseries.csv_blocks import ROW, records
from titans_seq.timeseries.sources import ParquetTable, open_table

STAMPS = [f"2024-01-{1 + i // 24:02d} {i % 24:02d}:00" for i in range(96)]
QUOTED = 'ds,note,y\n2024-01-01,"two\nlines",1\n2024-01-02,"a, ""b""",2\n\n2024-01-03,,3\n2024-01-04,"\n\n",4'


def rows_of(path: Path) -> pl.DataFrame:
    table = open_table(path)
    return pl.concat(list(table.blocks(table.schema.names())))


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
@pytest.mark.parametrize(
    "text",
    [
        QUOTED,
        QUOTED.replace("\n", "\r\n"),
        "\n".join(["ds,note,y", *(f'{stamp},"n {i}",{i}' for i, stamp in enumerate(STAMPS)), ""]),
    ],
    ids=["quoted newlines", "CRLF", "plain"],
)
def test_any_size_of_block_gives_the_rows_of_one(
    tmp_path: Path, text: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, packed = tmp_path / "t.csv", tmp_path / "t.csv.gz"
    path.write_bytes(text.encode())
    packed.write_bytes(gzip.compress(text.encode()))
    whole = rows_of(path)
    known = pl.read_csv(path, infer_schema=False).filter(~pl.all_horizontal(pl.all().is_null()))
    assert whole.drop(ROW).equals(known)
    monkeypatch.setattr(csv_blocks, "BLOCK", size)
    assert rows_of(path).equals(whole)
    assert rows_of(packed).equals(whole)


def test_rows_know_their_lines(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(QUOTED)
    lines = QUOTED.split("\n")
    for row in rows_of(tmp_path / "t.csv").iter_rows(named=True):
        assert lines[row[ROW] + 1].startswith(row["ds"])


def test_blocks_end_behind_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    text = b'1,"2\n3"\n4,5\n6'
    monkeypatch.setattr(csv_blocks, "BLOCK", 8)
    assert list(records(io.BytesIO(text), path=Path("t.csv"))) == [b'1,"2\n3"\n', b"4,5\n", b"6"]


@pytest.mark.parametrize("size", [16, 1 << 20])
@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (b"2024-01-05 00:00,1,2", "line 98: expected 2 cells, as in the header, found 3"),
        (b"2024-01-05 00:00,\xff", "line 98: expected text in UTF-8, found the byte 0xff"),
        (b'2024-01-05 00:00,5" pipe', "line 98: a quotation mark that is not closed"),
        (b'2024-01-05 00:00,"1', "line 98: a quotation mark that is not closed"),
        (b"2024-01-05 00:00,x", "line 98: column 'y'; expected a number, found 'x'"),
        (b"tomorrow,1", "line 98: column 'ds'; expected a stamp like the others"),
    ],
)
def test_the_line_of_what_cannot_be_read(
    tmp_path: Path, bad: bytes, words: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_blocks, "BLOCK", size)
    good = [f"{stamp},{i}".encode() for i, stamp in enumerate(STAMPS)]
    path = tmp_path / "t.csv"
    path.write_bytes(b"\n".join([b"ds,y", *good, bad, *good[:40], b""]))
    monkeypatch.setattr("titans_seq.timeseries.table._SAMPLE", 50)  # as far behind the first rows as in a long file
    with pytest.raises(InputFileError) as caught:
        read_table(path)
    assert words in str(caught.value)


def test_a_quote_that_swallows_the_file_is_found_before_memory_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_blocks, "BLOCK", 64)
    monkeypatch.setattr(csv_blocks, "LONGEST", 512)
    rows = "".join(f"{stamp},{i}\n" for i, stamp in enumerate(STAMPS))
    (tmp_path / "t.csv").write_text(f'ds,y\n{rows}2024-02-01 00:00,"1\n{rows}')
    with pytest.raises(InputFileError, match="quotation mark not closed"):
        rows_of(tmp_path / "t.csv")


def test_a_gzip_file_cut_off_in_the_middle(tmp_path: Path) -> None:
    text = "".join(["ds,y\n", *(f"{stamp},{i}\n" for i, stamp in enumerate(STAMPS))])
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(text.encode())[:-40])
    with pytest.raises(InputFileError, match="cannot be read"):
        read_table(tmp_path / "t.csv.gz")


def test_newest_rows_and_rows_behind_a_state_are_the_same_in_any_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("titans_seq.timeseries.reading.SMALL", 0)
    monkeypatch.setattr("titans_seq.timeseries.extent.LEAST", 10)
    random = np.random.default_rng(0)
    lines = [f"{name},{stamp},{random.standard_normal():.4f}" for name in "ab" for stamp in STAMPS]
    order = random.permutation(len(lines))  # not in the order of time: every block may hold a newest row
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["unique_id,ds,y", *(lines[i] for i in order), ""]))
    whole = read_table(path, TableOptions(freq="1h"))
    newest = int(whole.series[0].ticks[90])
    calls = [
        {"options": TableOptions(freq="1h", max_rows=50)},
        {"options": TableOptions(), "clock": whole.clock, "newer_than": newest},
        {"options": TableOptions(freq="1h", max_rows=50), "as_of": "2024-01-03 12:00"},
    ]
    for call in calls:
        monkeypatch.setattr(csv_blocks, "BLOCK", 1 << 20)
        at_once = read_table(path, **call)  # type: ignore[arg-type]
        monkeypatch.setattr(csv_blocks, "BLOCK", 100)
        in_blocks = read_table(path, **call)  # type: ignore[arg-type]
        assert at_once.notes == in_blocks.notes
        assert at_once.track_ids() == in_blocks.track_ids()
        for one, other in zip(at_once, in_blocks, strict=True):
            assert (one.ticks == other.ticks).all()
            assert one.values.tobytes() == other.values.tobytes()


def test_as_of_comes_before_the_newest_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("titans_seq.timeseries.reading.SMALL", 0)
    monkeypatch.setattr("titans_seq.timeseries.extent.LEAST", 10)
    path = tmp_path / "t.csv"
    path.write_text("".join(["ds,y\n", *(f"{stamp},{i}\n" for i, stamp in enumerate(STAMPS))]))
    panel = read_table(path, TableOptions(max_rows=20), as_of="2024-01-02 23:00")
    assert panel.series[0].values[:, 0].tolist() == list(range(28, 48))


def test_parquet_in_slices(tmp_path: Path) -> None:
    frame = pl.DataFrame({"ds": np.arange(1000), "y": np.arange(1000.0)})
    frame.write_parquet(tmp_path / "t.parquet", row_group_size=300)
    table = open_table(tmp_path / "t.parquet")
    assert isinstance(table, ParquetTable)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("titans_seq.timeseries.sources.CELLS", 70)
        blocks = list(table.blocks(["y"]))
    assert [len(block) for block in blocks] == [70] * 14 + [20]
    assert pl.concat(blocks)[ROW].to_list() == list(range(1000))
