"""Configurations: presets load, overrides apply, and every mistake is one line that helps."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from titans_seq.config import (
    KINDS,
    TrainDnaConfig,
    copy_preset,
    dump_config,
    parse_config,
    preset_header,
    preset_names,
    preset_text,
)
from titans_seq.config.overrides import apply_overrides, known_keys
from titans_seq.errors import ConfigError, TitansError, UnknownNameError

TINY = "dna-tiny"


def load(*overrides: str, text: str | None = None) -> TrainDnaConfig:
    return parse_config(TrainDnaConfig, text or preset_text(TINY), source=TINY, overrides=overrides)


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_is_whole_and_explains_itself(name: str) -> None:
    text = preset_text(name)
    kind = KINDS[yaml.safe_load(text)["pipeline"]]
    config = parse_config(kind, text, source=name)
    assert parse_config(kind, dump_config(config), source="dump") == config
    words = [line.partition(":")[0] for line in preset_header(text)]
    assert [word for word in words if word in ("Purpose", "Numbers", "Launch", "Expect")] == [
        "Purpose", "Numbers", "Launch", "Expect",
    ]  # fmt: skip


def test_overrides_are_read_as_yaml() -> None:
    config = load(
        "optimiser.learning_rate=1e-3", "input.kmers=[3, 5]", "split.valid_contigs=[chrI]", "budget={minutes: 2}"
    )
    assert config.optimiser.learning_rate == 1e-3
    assert config.input.kmers == (3, 5)
    assert config.split.valid_contigs == ("chrI",)
    assert (config.budget.steps, config.budget.minutes) == (None, 2)


def test_overrides_leave_what_they_were_given() -> None:
    data = {"a": {"b": 1}}
    assert apply_overrides(data, ["a.b=2", "c=x"]) == {"a": {"b": 2}, "c": "x"}
    assert data == {"a": {"b": 1}}


def test_keys_are_known_by_their_whole_path() -> None:
    assert {"budget", "budget.steps", "model.memory", "run.seed"} <= set(known_keys(TrainDnaConfig))


@pytest.mark.parametrize(
    ("override", "kind", "words"),
    [
        ("optimiser.learing_rate=1", UnknownNameError, "did you mean 'optimiser.learning_rate'"),
        ("optimiser.learning_rate=-1", ConfigError, "greater than 0, found -1"),
        ("optimiser.learning_rate=.nan", ConfigError, "finite number"),
        (
            "budget={steps: 3, minutes: 2}",
            ConfigError,
            "one of steps, epochs, minutes, or epochs and minutes; found steps, minutes",
        ),
        ("streams.length=500", ConfigError, "multiple of 32"),
        ("model.n_heads=3", ConfigError, "n_heads to divide d_model"),
        ("run.device=gpu", ConfigError, "expected auto, cpu, mps, cuda or cuda:N, found 'gpu'"),
        ("run.seed=[", ConfigError, "not YAML"),
        ("nonsense", ConfigError, "expected key=value"),
        ("run=3", ConfigError, "run: expected a valid dictionary"),
    ],
)
def test_a_mistake_is_one_line(override: str, kind: type[TitansError], words: str) -> None:
    with pytest.raises(kind) as caught:
        load(override)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [1", "dna-tiny, line 1: expected YAML"),
        ("- 1", "expected a mapping of sections, found list"),
        ("", "expected a mapping of sections, found NoneType"),
        (preset_text(TINY).replace("rows: 8 ", "row: 8 "), "unknown key 'streams.row' (did you mean 'streams.rows'"),
        (preset_text(TINY).replace("pipeline: train_dna", ""), "pipeline is missing"),
    ],
)
def test_a_broken_file_says_where(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(TrainDnaConfig, text, source=TINY)
    assert words in str(caught.value)


def test_unknown_presets_offer_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'dna-tiny'"):
        preset_text("dna-tny")
    with pytest.raises(ConfigError, match="no such file"):
        preset_text("mine.yaml")


def test_a_preset_is_copied_once(tmp_path: Path) -> None:
    target = copy_preset(TINY, tmp_path)
    assert target.read_text() == preset_text(TINY)
    assert preset_text(str(target)) == preset_text(TINY)
    with pytest.raises(ConfigError, match="exists"):
        copy_preset(TINY, target)
    with pytest.raises(ConfigError, match="does not exist"):
        copy_preset(TINY, tmp_path / "nowhere" / "x.yaml")


def test_a_memory_may_have_options() -> None:
    text = preset_text("dna-tiny")
    choice = "model.memory={name: titans_lmm, depth: 3}"
    config = parse_config(TrainDnaConfig, text, source="dna-tiny", overrides=[choice])
    assert config.model.memory_label == "titans_lmm (depth 3)"
    assert parse_config(TrainDnaConfig, dump_config(config), source="again") == config
    with pytest.raises(ConfigError, match="expected memory as a name"):
        parse_config(TrainDnaConfig, text, source="dna-tiny", overrides=["model.memory={depth: 3}"])
