"""A detector over a panel: cut and saved equals one pass; gaps, order, new series, damaged and foreign files."""

from pathlib import Path

import numpy as np
import pytest

from titans_seq.errors import InputFileError, StateMismatchError
from titans_seq.tasks.detect_tables import interval_table, row_table, summary
from titans_seq.tasks.series_detect import Detector, DetectSettings, Scored, load_detector, save_detector
from titans_seq.tensor_files import save_tensors
from titans_seq.timeseries import Clock, Names, Panel, Series
from titans_seq.timeseries.anomaly_scores import ScoreSettings
from titans_seq.timeseries.conformal import ConformalSettings

HOUR = 3_600_000_000
CLOCK = Clock("us", HOUR, 0)
SETTINGS = DetectSettings(
    "pca+level", ScoreSettings(window=8, kept=2, smooth=5, span=300), ConformalSettings(alpha=0.02, calibration=100)
)


def panel(values: dict[str, np.ndarray], start: int = 0) -> Panel:
    series = []
    for name, column in values.items():
        ticks = CLOCK.ticks(np.arange(start, start + column.size))
        series.append(Series(name, start, ticks, column[:, None], np.empty((column.size, 0))))
    return Panel(tuple(series), CLOCK, ("y",), names=Names())


def walk(rows: int, seed: int) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=rows)
    values[rows // 2] = 12.0
    return values


def read(detector: Detector, given: Panel) -> dict[str, Scored]:
    return {one.name: one for one in detector.read(given)}


def test_cut_and_saved_equals_one_pass(tmp_path: Path) -> None:
    both = {"a": walk(500, 0), "b": walk(500, 1)}
    whole = read(Detector(SETTINGS, CLOCK, ("y",)), panel(both))
    detector, parts = Detector(SETTINGS, CLOCK, ("y",)), []
    for first, last in ((0, 3), (3, 260), (260, 500)):
        parts.append(read(detector, panel({name: v[first:last] for name, v in both.items()}, start=first)))
        save_detector(tmp_path / "state", detector)
        detector = load_detector(tmp_path / "state")
    for name, one in whole.items():
        for column in ("scores", "p_values", "flags", "ticks"):
            joined = np.concatenate([getattr(part[name], column) for part in parts])
            np.testing.assert_array_equal(joined, getattr(one, column))
        assert one.flags.any()


def test_rows_missing_between_two_tables_are_missing_rows(tmp_path: Path) -> None:
    values = walk(300, 0)
    values[120:150] = np.nan
    whole = read(Detector(SETTINGS, CLOCK, ("y",)), panel({"a": values}))["a"]
    detector = Detector(SETTINGS, CLOCK, ("y",))
    read(detector, panel({"a": values[:120]}))
    late = read(detector, panel({"a": values[150:]}, start=150))["a"]
    np.testing.assert_array_equal(late.scores, whole.scores[150:])


def test_rows_that_were_read_are_refused_and_nothing_is_changed() -> None:
    detector = Detector(SETTINGS, CLOCK, ("y",))
    read(detector, panel({"a": walk(50, 0)}))
    with pytest.raises(StateMismatchError, match=r"up to 1970-01-03 01:00:00.*begin at 1970-01-03 01:00:00"):
        detector.check(panel({"a": walk(5, 0)}, start=49))
    assert detector.tracks["a"].rows == 50


def test_a_new_series_begins_where_its_rows_do() -> None:
    detector = Detector(SETTINGS, CLOCK, ("y",))
    read(detector, panel({"a": walk(50, 0)}))
    found = read(detector, panel({"a": walk(30, 1), "b": walk(30, 2)}, start=50))
    alone = read(Detector(SETTINGS, CLOCK, ("y",)), panel({"b": walk(30, 2)}, start=50))
    np.testing.assert_array_equal(found["b"].scores, alone["b"].scores)


def test_what_is_not_kept_is_forgotten() -> None:
    detector = Detector(SETTINGS, CLOCK, ("y",))
    assert len(list(detector.read(panel({"a": walk(50, 0)}), keep=False))) == 1
    assert not detector.tracks


def test_files_that_are_no_state_are_named(tmp_path: Path) -> None:
    other, text = tmp_path / "other", tmp_path / "text"
    save_tensors(other, {}, metadata={"titans_seq": '{"format": "titans-seq session"}'})
    text.write_text("no")
    for path in (other, text, tmp_path / "nothing"):
        with pytest.raises(InputFileError, match=path.name):
            load_detector(path)


def test_a_state_that_lost_a_tensor_is_damaged(tmp_path: Path) -> None:
    from titans_seq.tensor_files import load_tensors, read_metadata

    detector = Detector(SETTINGS, CLOCK, ("y",))
    read(detector, panel({"a": walk(50, 0)}))
    save_detector(tmp_path / "state", detector)
    tensors = load_tensors(tmp_path / "state")
    del tensors["0/score/pca/gram"]
    save_tensors(tmp_path / "state", tensors, metadata=read_metadata(tmp_path / "state"))
    with pytest.raises(InputFileError, match="damaged"):
        load_detector(tmp_path / "state")


def test_the_tables_hold_every_row_and_every_interval() -> None:
    values = walk(400, 0)
    values[10] = np.nan
    given = panel({"a": values, "b": walk(400, 1)})
    scored = list(Detector(SETTINGS, CLOCK, ("y",)).read(given))
    rows = row_table(scored, given)
    assert rows.columns == ["unique_id", "ds", "y", "score", "p_value", "flag"]
    assert rows.height == 800
    assert rows["unique_id"].to_list() == ["a"] * 400 + ["b"] * 400
    assert rows.row(10)[2:] == (None, None, None, False)
    intervals = interval_table(scored, given, join=20)
    assert intervals["rows_flagged"].sum() == rows["flag"].sum()
    text = summary(scored, intervals, alpha=0.02)
    assert text.startswith(f"{rows['flag'].sum()} of 799 judged rows flagged")
