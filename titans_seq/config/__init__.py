"""Presets and run settings: read, checked and resolved from YAML."""

from titans_seq.config.load import dump_config, parse_config, read_text
from titans_seq.config.presets import copy_preset, is_path, preset_header, preset_names, preset_text
from titans_seq.config.train_dna import TrainDnaConfig

__all__ = [
    "TrainDnaConfig",
    "copy_preset",
    "dump_config",
    "is_path",
    "parse_config",
    "preset_header",
    "preset_names",
    "preset_text",
    "read_text",
]
