"""The memory of an encoder as a plain description: four choices, how the gates are driven, and the names of 3.5."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from titans_seq.errors import ConfigError, RangeError, unknown_name
from titans_seq.ops import MemoryRule, Structure, make_bias, make_gate

ALGORITHMS = ("gradient_descent", "momentum")
RATES = ("token", "unit", "tied")
DECAYS = ("token", "fixed")


@dataclass(frozen=True)
class MemorySpec:
    """A point of the MIRAS space (2504.13173), described by plain values.

    Parameters
    ----------
    structure : ``mlp``, ``matrix`` or ``vector``; or ``none``, a memory that holds nothing (the baseline).
    bias : ``l2``, ``dot_product``, ``lp``, ``huber``, ``huber_norm``, ``huber_mixture`` or ``robust``.
    retention : ``l2``, ``none``, ``lq``, ``kl``, ``elastic_net`` or ``bregman``.
    algorithm : ``momentum`` or ``gradient_descent``.
    depth, expansion, activation : of the mlp structure.
    rate : ``token`` learns theta_t from the token; ``unit`` fixes theta = 1/2, the write v k^T of a Hebbian
        memory; ``tied`` couples write and decay through one step, kept = exp(-a d_t), theta = d_t / 2 (Mamba-2).
    decay : ``token`` learns alpha_t; ``fixed`` keeps 1 - 2^(-5-h) in head h (RetNet).
    bias_options, retention_options : fields of the bias and the gate, such as ``{"p": 3}``.
    """

    structure: str = "mlp"
    bias: str = "l2"
    retention: str = "l2"
    algorithm: str = "momentum"
    depth: int = 2
    expansion: float = 4
    activation: str = "gelu"
    rate: str = "token"
    decay: str = "token"
    bias_options: Mapping[str, Any] = field(default_factory=dict)
    retention_options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for kind, value, known in (
            ("memory algorithm", self.algorithm, ALGORITHMS),
            ("learning-rate gate", self.rate, RATES),
            ("decay gate", self.decay, DECAYS),
        ):
            if value not in known:
                raise unknown_name(kind, value, known)
        if self.structure != "none":
            self.rule(4, 4)
        if self.rate == "tied" and self.retention == "none":
            raise ConfigError("rate 'tied' couples the write to the decay, but retention 'none' has no decay")

    def rule(self, key_width: int, value_width: int, *, max_error: float | None = None) -> MemoryRule:
        """The arithmetic of this description for given widths."""
        if self.structure == "none":
            raise ConfigError("the memory 'none' has no rule; it reads zeros")
        structure = Structure(
            self.structure, key_width, value_width,
            depth=self.depth, expansion=self.expansion, activation=self.activation,
        )  # fmt: skip
        try:
            bias = make_bias(self.bias, **self.bias_options)
            gate = make_gate(self.retention, **self.retention_options)
        except TypeError as error:
            raise ConfigError(f"bias {self.bias!r} or retention {self.retention!r}: {error}") from None
        return MemoryRule(structure, bias, gate, self.algorithm == "momentum", max_error)


def _gd(structure: str, bias: str, retention: str, **more: Any) -> MemorySpec:
    return MemorySpec(structure, bias, retention, "gradient_descent", **more)


NAMED: dict[str, MemorySpec] = {
    # Titans 2501.00663: deep memory, momentum, weight decay
    "titans_lmm": MemorySpec(),
    # MIRAS 2504.13173, section 5.3
    "moneta": _gd("mlp", "lp", "lq", bias_options={"p": 3.0}, retention_options={"q": 4.0}),
    "yaad": _gd("mlp", "huber_mixture", "l2"),
    "memora": _gd("mlp", "l2", "kl"),
    # matrix memories that have names of their own (MIRAS Table 1)
    "linear_attention": _gd("matrix", "dot_product", "none", rate="unit"),
    "retnet": _gd("matrix", "dot_product", "l2", rate="unit", decay="fixed"),
    "gla": _gd("matrix", "dot_product", "l2", rate="unit"),
    "mamba2": _gd("matrix", "dot_product", "l2", rate="tied"),
    "deltanet": _gd("matrix", "l2", "none"),
    "gated_deltanet": _gd("matrix", "l2", "l2"),
    # TTT 2407.04620
    "ttt_linear": _gd("mlp", "l2", "none", depth=1),
    "ttt_mlp": _gd("mlp", "l2", "none", depth=2),
    # no memory: the Transformer baseline, in an encoder with attention
    "none": MemorySpec("none"),
}


def memory_names() -> tuple[str, ...]:
    """Every memory that can be asked for by name."""
    return tuple(NAMED)


def memory_spec(memory: str | Mapping[str, Any] | MemorySpec, **changes: Any) -> MemorySpec:
    """A named memory, with some of its choices changed; a mapping is a name and the changes, as a preset writes it.

    >>> memory_spec("titans_lmm", depth=3) == memory_spec({"name": "titans_lmm", "depth": 3})
    True
    """
    if isinstance(memory, Mapping):
        if "name" not in memory:
            raise ConfigError(f"expected a memory's name beside its options, found {', '.join(map(str, memory))}")
        changes = {key: value for key, value in memory.items() if key != "name"} | changes
        memory = str(memory["name"])
    if isinstance(memory, str):
        if memory not in NAMED:
            raise unknown_name("memory", memory, NAMED)
        memory = NAMED[memory]
    unknown = set(changes) - set(MemorySpec.__dataclass_fields__)
    if unknown:
        raise unknown_name("memory option", sorted(unknown)[0], MemorySpec.__dataclass_fields__)
    return replace(memory, **changes)


def check_positive(**values: float) -> None:
    """Raise RangeError naming the first value that is not positive."""
    for name, value in values.items():
        if not value > 0:
            raise RangeError(f"{name} must be positive, found {value}")
