"""What programs of one cluster of a Hopper GPU do together: wait, and read each other's memory.

Gluon has no words for it in Triton 3.6. Addresses are those of the first thing that a kernel has
in shared memory, which begins where that memory does. Where Triton places it elsewhere, a value
that is read is not the one that was stored: `trap_where_unlike` ends the kernel then.
"""

from __future__ import annotations

from triton.experimental import gluon
from triton.experimental.gluon import language as gl


@gluon.jit
def arrive():
    """Say to the cluster that what was stored is there, and what was wanted is read."""
    gl.inline_asm_elementwise(
        "barrier.cluster.arrive.release.aligned; mov.b32 $0, 0;", "=r,~{memory}", [],
        dtype=gl.int32, is_pure=False, pack=1,
    )  # fmt: skip


@gluon.jit
def wait():
    """Wait until every warp of the cluster has arrived as often as this one."""
    gl.inline_asm_elementwise(
        "barrier.cluster.wait.acquire.aligned; mov.b32 $0, 0;", "=r,~{memory}", [],
        dtype=gl.int32, is_pure=False, pack=1,
    )  # fmt: skip


@gluon.jit
def stay(PROGRAMS: gl.constexpr, TIMES: gl.constexpr):
    """Arrive and wait as often as other warps do, where a cluster has several programs."""
    if PROGRAMS > 1:
        for _ in gl.static_range(TIMES):
            arrive()
            wait()


@gluon.jit
def memory_of(rank):
    """The address that the shared memory of a program of the cluster begins at, int32."""
    return gl.inline_asm_elementwise(
        "{ .reg .b32 own; mov.b32 own, global_smem; mapa.shared::cluster.u32 $0, own, $1; }",
        "=r,r", [rank], dtype=gl.int32, is_pure=True, pack=1,
    )  # fmt: skip


@gluon.jit
def of_program(memory, offsets):
    """float32 at these bytes of a program's shared memory; `memory` is from `memory_of`."""
    return gl.inline_asm_elementwise(
        "ld.shared::cluster.f32 $0, [$1];", "=f,r,~{memory}", [memory + offsets],
        dtype=gl.float32, is_pure=False, pack=1,
    )  # fmt: skip


@gluon.jit
def four_of_program(memory, offsets):
    """The same, where a thread has four neighbours at a time, which it reads at once."""
    return gl.inline_asm_elementwise(
        "ld.shared::cluster.v4.f32 {$0, $1, $2, $3}, [$4];", "=f,=f,=f,=f,r,r,r,r,~{memory}",
        [memory + offsets], dtype=gl.float32, is_pure=False, pack=4,
    )  # fmt: skip


@gluon.jit
def trap_where_unlike(stored, read):
    """End the kernel with an error where two float32 differ in a bit."""
    gl.inline_asm_elementwise(
        "{ .reg .pred p; setp.ne.b32 p, $1, $2; @p trap; mov.b32 $0, 0; }", "=r,r,r",
        [stored.to(gl.int32, bitcast=True), read.to(gl.int32, bitcast=True)],
        dtype=gl.int32, is_pure=False, pack=1,
    )  # fmt: skip
