"""Read a configuration: YAML text and `key=value` overrides to a checked, frozen object.

The order of precedence is: the preset's YAML, then the overrides from left to right. Every mistake becomes one
`ConfigError` that names the key, what was expected and what was found.
"""

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from titans_seq.config.overrides import apply_overrides, known_keys
from titans_seq.errors import ConfigError

Model = TypeVar("Model", bound=BaseModel)


def parse_config(kind: type[Model], text: str, *, source: str, overrides: Sequence[str] = ()) -> Model:
    """Turn YAML text into a configuration.

    Parameters
    ----------
    kind
        The configuration class.
    text
        YAML: a mapping of sections.
    source
        Name used in messages: a preset or a path.
    overrides
        Dotted assignments such as ``optimiser.learning_rate=1e-3``; the value is read as YAML.

    Raises
    ------
    ConfigError
        On broken YAML, an unknown key (with the nearest known ones), or a value out of bounds.
    """
    data = apply_overrides(read_mapping(text, source=source), overrides, kind=kind)
    return validate(kind, data, source=source)


def validate(kind: type[Model], data: dict[str, Any], *, source: str) -> Model:
    """Check ``data`` against ``kind`` and name every mistake in one line."""
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        problems = [_one_problem(problem, kind) for problem in error.errors(include_url=False)]
        shown = "; ".join(problems[:3])
        more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise ConfigError(f"{source}: {shown}{more}") from None


def read_mapping(text: str, *, source: str) -> dict[str, Any]:
    """Read YAML text that must hold a mapping at the top."""
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or "not YAML"
        raise ConfigError(f"{source}{where}: expected YAML, found a syntax error ({problem})") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{source}: expected a mapping of sections, found {type(data).__name__}")
    return data


def dump_config(config: BaseModel) -> str:
    """Write a configuration as YAML that `parse_config` reads back to an equal object."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=100)


def read_text(path: Path) -> str:
    """Read a configuration file, or say in one line why not."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; `titans-seq presets ls` lists what ships with titans-seq") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as UTF-8 text ({error})") from None


def _one_problem(problem: Any, kind: type[BaseModel]) -> str:
    key = ".".join(str(part) for part in problem["loc"]) or "configuration"
    if problem["type"] == "extra_forbidden":
        near = get_close_matches(key, known_keys(kind), n=2, cutoff=0.6)
        return f"unknown key {key!r}" + (f" (did you mean {' or '.join(map(repr, near))}?)" if near else "")
    if problem["type"] == "missing":
        return f"{key} is missing"
    if problem["type"] == "value_error":
        message = str(problem["msg"]).removeprefix("Value error, ")
        return f"{key}: {message}" if problem["loc"] else message
    expected = str(problem["msg"]).removeprefix("Input should be ")
    return f"{key}: expected {expected}, found {problem['input']!r}"
