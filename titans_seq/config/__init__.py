"""Presets and run settings: read, checked and resolved from YAML."""

from titans_seq.config.load import dump_config, parse_config, read_text
from titans_seq.config.presets import copy_preset, is_path, preset_header, preset_names, preset_text
from titans_seq.config.train_classifier import TrainClassifierConfig
from titans_seq.config.train_dna import TrainDnaConfig
from titans_seq.config.train_regions import TrainRegionsConfig
from titans_seq.config.train_series import TrainSeriesConfig

KINDS = {
    "train_dna": TrainDnaConfig,
    "train_classifier": TrainClassifierConfig,
    "train_regions": TrainRegionsConfig,
    "train_series": TrainSeriesConfig,
}
"""The class of a preset's configuration, by its ``pipeline`` key."""

__all__ = [
    "KINDS",
    "TrainClassifierConfig",
    "TrainDnaConfig",
    "TrainRegionsConfig",
    "TrainSeriesConfig",
    "copy_preset",
    "dump_config",
    "is_path",
    "parse_config",
    "preset_header",
    "preset_names",
    "preset_text",
    "read_text",
]
