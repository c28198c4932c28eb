"""Dotted overrides: `--set optimiser.learning_rate=1e-3` on top of a preset.

>>> apply_overrides({"a": {"b": 1}}, ["a.b=2"])
{'a': {'b': 2}}
"""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from difflib import get_close_matches
from typing import Any

import yaml
from pydantic import BaseModel

from titans_seq.errors import ConfigError, UnknownNameError


def apply_overrides(
    data: dict[str, Any], overrides: Sequence[str], *, kind: type[BaseModel] | None = None
) -> dict[str, Any]:
    """Return a copy of ``data`` with each ``key.sub=value`` set.

    Parameters
    ----------
    data
        Nested mappings, as read from YAML. Left as it is.
    overrides
        Assignments from left to right; a value is read as YAML, so ``null``, ``[4, 8]`` and ``1e-3`` work.
    kind
        When given, keys it does not have are refused.

    Raises
    ------
    ConfigError
        For text without ``=``, and `UnknownNameError` with the nearest keys for a key ``kind`` does not have.
    """
    known = known_keys(kind) if kind is not None else None
    result = deepcopy(data)
    for text in overrides:
        key, sign, value = text.partition("=")
        key = key.strip()
        if not sign or not key:
            raise ConfigError(f"--set {text!r}: expected key=value, e.g. --set optimiser.learning_rate=1e-3")
        if known is not None and key not in known:
            near = get_close_matches(key, known, n=2, cutoff=0.6)
            guess = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
            raise UnknownNameError(f"unknown key {key!r}; {guess}`titans-seq presets show dna-small` has them all")
        _assign(result, key.split("."), _scalar(value, where=text), where=text)
    return result


def known_keys(kind: type[BaseModel]) -> list[str]:
    """List every dotted key of a configuration class, sections included.

    ``BudgetSection`` inside ``TrainDnaConfig`` gives ``budget``, ``budget.steps``, ``budget.epochs`` ...
    """
    return list(_walk(kind, prefix=""))


def _walk(kind: type[BaseModel], *, prefix: str) -> Iterator[str]:
    for name, field in kind.model_fields.items():
        yield f"{prefix}{name}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _walk(field.annotation, prefix=f"{prefix}{name}.")


def _assign(data: dict[str, Any], path: list[str], value: Any, *, where: str) -> None:
    for part in path[:-1]:
        data = data.setdefault(part, {})
        if not isinstance(data, dict):
            raise ConfigError(f"--set {where!r}: {part!r} holds a value, not a section")
    data[path[-1]] = value


def _scalar(text: str, *, where: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"--set {where!r}: the value is not YAML; quote it") from None
