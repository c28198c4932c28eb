"""Every kernel compiled ahead of time for the cards and memories that dispatch uses: does it fit, does it spill?

Run by `test_compile.py` in a process of its own, without the interpreter. This shows that a kernel can be launched and
keeps its numbers in registers; what it computes is shown by `interpreted.py`, how fast by `tests/benchmarks/gpu.py`.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from titans_seq.ops import MemoryRule, Structure, make_bias, make_gate
from titans_seq.ops.triton import gates, read, read_adjoint, write, write_adjoint
from titans_seq.ops.triton.limits import refusal, tiles, unproven
from titans_seq.ops.triton.memory import constants_of

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


def rule_of(depth: int, width: int, hidden: int, *, momentum: bool = True) -> MemoryRule:
    st = Structure("mlp" if depth else "matrix", width, width, depth=max(depth, 1), expansion=hidden / width)
    return MemoryRule(st, make_bias("l2"), make_gate("l2"), momentum, None if depth else 16.0)


def resources(kernel: Any, rule: MemoryRule, chunk: int, products: torch.dtype, card: int, tmp: Path) -> dict[str, int]:
    """Shared memory and bytes of stack (spills and local arrays) of a compiled kernel."""
    constants = constants_of(rule, chunk, products, aligned=True)
    tile = tiles(kernel.__name__, rule, chunk, products, (card // 10, card % 10))
    constants["BE"] = min(tile.block, constants["E"])
    special = {"base": "*i64", "length": "*i32", "first": "*i32", "row_of": "*i32"}
    special |= {"inputbar": TYPES[products], "hiddenbar": TYPES[products]}
    names = kernel.arg_names
    source = ASTSource(
        fn=kernel,
        signature={n: "constexpr" if n in constants else special.get(n, "*fp32") for n in names},
        constexprs={(names.index(n),): x for n, x in constants.items() if n in names},
        attrs={(names.index(n),): [["tt.divisibility", 16]] for n in names if n not in constants},
    )
    options = {"num_warps": tile.warps, "num_stages": tile.stages}
    built = triton.compile(source, target=GPUTarget("cuda", card, 32), options=options)
    binary = tmp / "kernel.cubin"
    binary.write_bytes(built.asm["cubin"])
    said = subprocess.run([cuobjdump(), "-res-usage", binary], capture_output=True, text=True, check=True).stdout
    stack = re.search(r"STACK:(\d+)", said)
    assert stack, said
    return {"shared": built.metadata.shared, "stack": int(stack[1])}


def check(kernel: Any, rule: MemoryRule, chunk: int, card: int, tmp: Path, *, stack: int = 0) -> None:
    """``auto`` would take this memory on this card, and the kernel fits there."""
    capability = divmod(card, 10)
    assert refusal(rule, chunk, capability=capability, products=torch.bfloat16, state=torch.float32) is None
    assert unproven(rule, chunk, capability=capability, products=torch.bfloat16) is None
    used = resources(kernel, rule, chunk, torch.bfloat16, card, tmp)
    assert used["shared"] <= SHARED[card]
    assert used["stack"] <= stack


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: k.__name__)
@pytest.mark.parametrize(("depth", "width", "hidden", "chunk"), [(2, 64, 128, 64), (2, 64, 256, 64), (0, 64, 64, 64)])
def test_fits_without_spilling(kernel: Any, depth: int, width: int, hidden: int, chunk: int, tmp_path: Path) -> None:
    if depth < 2 and kernel is read_adjoint.read_backward_first:
        pytest.skip("one layer has no first below its last")
    # Six registers per thread of the longest kernel go to the stack, 24 bytes; all others keep everything.
    longest = depth == 2 and kernel is write_adjoint.write_backward
    check(kernel, rule_of(depth, width, hidden), chunk, 90, tmp_path, stack=24 if longest else 0)


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: k.__name__)
@pytest.mark.parametrize(
    ("depth", "hidden", "chunk", "momentum"),
    [(0, 64, 32, True), (0, 64, 32, False), (1, 64, 16, True), (2, 128, 16, True), (2, 256, 16, True)],
)
@pytest.mark.parametrize("card", [80, 89])
def test_fits_older_cards_without_spilling(
    kernel: Any, depth: int, hidden: int, chunk: int, momentum: bool, card: int, tmp_path: Path
) -> None:
    if depth < 2 and kernel is read_adjoint.read_backward_first:
        pytest.skip("one layer has no first below its last")
    check(kernel, rule_of(depth, 64, hidden, momentum=momentum), chunk, card, tmp_path)
