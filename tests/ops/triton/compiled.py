"""Every kernel compiled ahead of time for the cards and memories that dispatch uses: does it fit, does it spill?

Run by `test_compile.py` in a process of its own, without the interpreter. This shows that a kernel can be launched and
keeps its numbers in registers; what it computes is shown by `interpreted.py`, how fast by `tests/benchmarks/gpu.py`.
"""

from __future__ import annotations

import itertools
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from titans_seq.memory import memory_spec
from titans_seq.ops import MemoryRule, Structure, make_bias, make_gate
from titans_seq.ops.triton import (
    closing,
    gates,
    read,
    read_adjoint,
    write,
    write_adjoint,
)
from titans_seq.ops.triton.launch import constants_of
from titans_seq.ops.triton.limits import refusal, tiles, unproven
from titans_seq.ops.triton.split import Split, split_refusal
from titans_seq.ops.triton.write_split import write_split_forward
from titans_seq.ops.triton.write_split_adjoint import write_split_backward

# Shared memory that one program may ask for, in bytes: the published limits of these architectures.
SHARED = {80: 166912, 89: 101376, 90: 232448}
TYPES = {torch.float32: "*fp32", torch.bfloat16: "*bf16"}
KERNELS = [
    gates.gates_forward, write.write_forward, read.read_forward, read_adjoint.read_backward_last,
    read_adjoint.read_backward_first, write_adjoint.write_backward, gates.gates_backward,
]  # fmt: skip


def cuobjdump() -> Path:
    return Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"


pytestmark = pytest.mark.skipif(not cuobjdump().is_file(), reason="this triton wheel has no assembler beside it")


def rule_of(depth: int, width: int, hidden: int, *, momentum: bool = True, gate: str = "l2") -> MemoryRule:
    st = Structure("mlp" if depth else "matrix", width, width, depth=max(depth, 1), expansion=hidden / width)
    return MemoryRule(st, make_bias("l2"), make_gate(gate), momentum, None if depth else 16.0)


def compiled(
    kernel: Any,
    rule: MemoryRule,
    chunk: int,
    products: torch.dtype,
    card: int,
    *,
    aligned: bool = True,
    slices: int = 1,
) -> Any:
    """``kernel`` as Triton compiles it for ``card`` with the tiles of the table."""
    constants = constants_of(rule, chunk, products, aligned)
    tile = tiles(kernel.__name__, rule, chunk, products, (card // 10, card % 10), aligned=aligned)
    constants |= {"SLICE": constants["E"] // slices, "WAITS": True, "NUMBERS": tile.numbers}
    constants["BE"] = min(tile.block, constants["SLICE"])
    special: dict[str, Any] = {"base": "*i64", "length": "*i32", "first": "*i32", "row_of": "*i32", "closing": "*i32"}
    special |= {"inputbar": TYPES[products], "hiddenbar": TYPES[products]}
    special |= {"arrived": "*i32", "begin": "i32", "stop": "i32", "total": "i32"}
    names = kernel.arg_names
    source = ASTSource(
        fn=kernel,
        signature={n: "constexpr" if n in constants else special.get(n, "*fp32") for n in names},
        constexprs={(names.index(n),): x for n, x in constants.items() if n in names},
        attrs={(names.index(n),): [["tt.divisibility", 16]] for n in names
               if n not in constants and special.get(n) != "i32"},
    )  # fmt: skip
    options = {"num_warps": tile.warps, "num_stages": tile.stages}
    return triton.compile(source, target=GPUTarget("cuda", card, 32), options=options)


def resources(built: Any, tmp: Path) -> dict[str, int]:
    """Shared memory and bytes of stack (spills and local arrays) of a compiled kernel."""
    binary = tmp / "kernel.cubin"
    binary.write_bytes(built.asm["cubin"])
    said = subprocess.run([cuobjdump(), "-res-usage", binary], capture_output=True, text=True, check=True).stdout
    stack = re.search(r"STACK:(\d+)", said)
    assert stack, said
    return {"shared": built.metadata.shared, "stack": int(stack[1])}


def check(kernel: Any, rule: MemoryRule, chunk: int, card: int, tmp: Path, *, aligned: bool = True) -> None:
    """``auto`` would take this memory on this card, and the kernel fits there with all of its numbers in registers."""
    capability = divmod(card, 10)
    state = torch.float64 if rule.retention.precise else torch.float32
    assert refusal(rule, chunk, capability=capability, products=torch.bfloat16, state=state) is None
    assert unproven(rule, chunk, capability=capability, products=torch.bfloat16) is None
    if len(rule.structure.shapes) < 2 and kernel is read_adjoint.read_backward_first:
        pytest.skip("one layer has no first below its last")
    used = resources(compiled(kernel, rule, chunk, torch.bfloat16, card, aligned=aligned), tmp)
    assert used["shared"] <= SHARED[card]
    assert used["stack"] == 0


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: k.__name__)
@pytest.mark.parametrize(("depth", "hidden"), [(2, 128), (2, 256), (0, 64)])
def test_fits_without_spilling(kernel: Any, depth: int, hidden: int, tmp_path: Path) -> None:
    check(kernel, rule_of(depth, 64, hidden), 64, 90, tmp_path)


@pytest.mark.parametrize("kernel", KERNELS[1:-1], ids=lambda k: k.__name__)
@pytest.mark.parametrize(("hidden", "chunk"), [(256, 64), (128, 32)])
def test_starts_inside_a_chunk_without_spilling(kernel: Any, hidden: int, chunk: int, tmp_path: Path) -> None:
    check(kernel, rule_of(2, 64, hidden), chunk, 90, tmp_path, aligned=False)


@pytest.mark.parametrize("kernel", KERNELS[1:-1], ids=lambda k: k.__name__)
@pytest.mark.parametrize("name", ["yaad", "ttt_linear"])
def test_named_memories_fit_without_spilling(kernel: Any, name: str, tmp_path: Path) -> None:
    check(kernel, memory_spec(name).rule(64, 64), 64, 90, tmp_path)


# The reads are the same under every non-linear gate; the writes hold the gate's own arithmetic.
LINKED = [read.read_forward, read_adjoint.read_backward_last, read_adjoint.read_backward_first,
          closing.closing_forward, closing.closing_backward]  # fmt: skip


@pytest.mark.parametrize("kernel", LINKED, ids=lambda k: k.__name__)
@pytest.mark.parametrize(
    ("depth", "hidden", "momentum", "aligned"),
    [(2, 256, False, True), (2, 256, True, True), (2, 256, True, False), (0, 64, True, True)],
)
def test_reads_of_borders_fit_without_spilling(
    kernel: Any, depth: int, hidden: int, momentum: bool, aligned: bool, tmp_path: Path
) -> None:
    check(kernel, rule_of(depth, 64, hidden, momentum=momentum, gate="kl"), 64, 90, tmp_path, aligned=aligned)


@pytest.mark.parametrize("kernel", [write.write_forward, write_adjoint.write_backward], ids=lambda k: k.__name__)
@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("moneta", {}),
        ("memora", {}),
        ("moneta", {"bias": "l2", "bias_options": {}, "algorithm": "momentum"}),
        ("moneta", {"bias": "l2", "bias_options": {}, "algorithm": "momentum", "expansion": 2}),
        ("memora", {"algorithm": "momentum"}),
        ("memora", {"structure": "matrix"}),
    ],
)
def test_writes_over_borders_fit_without_spilling(
    kernel: Any, name: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    clip = 16.0 if "structure" in changes else None
    check(kernel, memory_spec(name, **changes).rule(64, 64, max_error=clip), 64, 90, tmp_path)


# The kernels that were ever short of registers, where the table takes other tiles, and beside that.
@pytest.mark.parametrize("kernel", KERNELS[3:6], ids=lambda k: k.__name__)
@pytest.mark.parametrize(
    ("depth", "hidden", "chunk"),
    [(2, 32, 64), (2, 64, 64), (1, 64, 64), (2, 64, 32), (2, 128, 32), (2, 256, 32), (0, 64, 32), (2, 128, 16),
     (2, 256, 16)],
)  # fmt: skip
def test_other_shapes_fit_without_spilling(kernel: Any, depth: int, hidden: int, chunk: int, tmp_path: Path) -> None:
    check(kernel, rule_of(depth, 64, hidden), chunk, 90, tmp_path)


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: k.__name__)
@pytest.mark.parametrize(
    ("depth", "hidden", "chunk", "momentum"),
    [(0, 64, 32, True), (0, 64, 32, False), (1, 64, 16, True), (2, 128, 16, True), (2, 256, 16, True)],
)
@pytest.mark.parametrize("card", [80, 89])
def test_fits_older_cards_without_spilling(
    kernel: Any, depth: int, hidden: int, chunk: int, momentum: bool, card: int, tmp_path: Path
) -> None:
    check(kernel, rule_of(depth, 64, hidden, momentum=momentum), chunk, card, tmp_path)


SHARED_ROWS = [write_split_forward, write_split_backward]


@pytest.mark.parametrize("kernel", SHARED_ROWS, ids=lambda k: k.__name__)
@pytest.mark.parametrize(
    ("card", "depth", "hidden", "chunk", "slices", "aligned"),
    [
        (90, 2, 256, 64, 8, True),
        (90, 2, 256, 64, 8, False),
        (90, 2, 256, 64, 16, True),
        (90, 2, 128, 64, 4, True),
        (90, 0, 64, 64, 2, True),
        (80, 2, 256, 32, 8, True),
        (80, 0, 64, 32, 2, True),
    ],
)
def test_slices_of_a_row_fit_without_spilling(
    kernel: Any, card: int, depth: int, hidden: int, chunk: int, slices: int, aligned: bool, tmp_path: Path
) -> None:
    """The barrier, too: sums are stored past the first cache, then released; acquired, then loaded."""
    rule = rule_of(depth, 64, hidden)
    assert split_refusal(rule, Split(slices), rows=2, processors=108) is None
    built = compiled(kernel, rule, chunk, torch.bfloat16, card, aligned=aligned, slices=slices)
    used = resources(built, tmp_path)
    assert used["shared"] <= SHARED[card]
    assert used["stack"] == 0
    names = {"st.global.cg": "store", "bar.sync": "all", "gpu.release.add": "release", "gpu.acquire": "acquire",
             "ld.global.cg": "load"}  # fmt: skip
    order = [names[x] for x in re.findall("|".join(map(re.escape, names)), built.asm["ptx"])]
    order = [x for x, before in itertools.pairwise([*order, ""]) if x != before]
    said = " ".join(order)
    assert order.count("release") == said.count("store all release") > 0
    assert order.count("acquire") == said.count("all acquire all load") == 1
