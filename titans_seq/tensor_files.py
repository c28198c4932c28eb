"""Named tensors on disk: safetensors, whole or not at all, and weights put back where they belong."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from titans_seq.errors import InputFileError, StateMismatchError
from titans_seq.files import replacing, write_error


def save_tensors(path: Path, tensors: Mapping[str, Tensor], *, metadata: Mapping[str, str] | None = None) -> None:
    """Write named tensors as safetensors, whole or not at all."""
    plain = _each_with_its_own_storage(tensors)
    with replacing(path) as temporary:
        try:
            save_file(plain, temporary, metadata=dict(metadata or {}))
        except SafetensorError as error:
            raise write_error(path, error) from None


def _each_with_its_own_storage(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """As safetensors wants them; a table of a gigabyte is not copied for it."""
    found, seen = {}, set()
    for name, value in tensors.items():
        plain = value.detach().contiguous().cpu()
        storage = plain.untyped_storage()
        if storage.nbytes() != plain.nbytes or storage.data_ptr() in seen:
            plain = plain.clone()
        seen.add(plain.untyped_storage().data_ptr())
        found[name] = plain
    return found


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read named tensors, or say in one line why not."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except FileNotFoundError:
        raise InputFileError(path, problem="no such file") from None
    except (SafetensorError, OSError) as error:
        raise InputFileError(path, expected="a safetensors file", found=str(error)) from None


def read_metadata(path: Path) -> dict[str, str]:
    """Read the words beside the tensors, or say in one line why not."""
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except FileNotFoundError:
        raise InputFileError(path, problem="no such file") from None
    except (SafetensorError, OSError) as error:
        raise InputFileError(path, expected="a safetensors file", found=str(error)) from None


def load_weights(module: nn.Module, weights: Mapping[str, Tensor], *, where: Path) -> None:
    """Put weights into a module of the same shapes; names the first difference otherwise."""
    own = module.state_dict()
    for name in sorted(own.keys() | weights.keys()):
        mine = tuple(own[name].shape) if name in own else "nothing"
        found = tuple(weights[name].shape) if name in weights else "nothing"
        if mine != found:
            raise StateMismatchError(f"{where}: belongs to another model: {name} is {found} there and {mine} here")
    module.load_state_dict(dict(weights))
