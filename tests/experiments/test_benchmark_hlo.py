"""The account of a compiled program."""

import jax
import jax.numpy as jnp
import pytest

from experiments.benchmarks import hlo, hlo_text, targets
from tempo.errors import InputError
from tempo.layers.conv_spec import ConvSpec

# As compilers for a TPU and a GPU write them: a convolution that is fused with what reads it, in a
# layout of tiles; a copy that runs beside other work; a library's call on a transposed kernel.
TPU = """HloModule jit_f, is_scheduled=true

%fused (p0: bf16[4,6,6,64], p1: bf16[3,3,64,64]) -> bf16[4,6,6,64] {
  %p0 = bf16[4,6,6,64]{3,0,2,1:T(8,128)(2,1)} parameter(0)
  %p1 = bf16[3,3,64,64]{3,2,1,0:T(8,128)(2,1)} parameter(1)
  %conv.1 = bf16[4,6,6,64]{3,0,2,1:T(8,128)(2,1)} convolution(%p0, %p1), window={size=3x3 pad=1_1x1_1}, dim_labels=b01f_01io->b01f
  ROOT %add.1 = bf16[4,6,6,64]{3,0,2,1:T(8,128)(2,1)} add(%conv.1, %conv.1)
}

ENTRY %main (x: bf16[4,6,6,64], k: bf16[3,3,64,64]) -> bf16[4,6,6,64] {
  %x = bf16[4,6,6,64]{3,0,2,1:T(8,128)(2,1)} parameter(0)
  %k = bf16[3,3,64,64]{3,2,1,0:T(8,128)(2,1)} parameter(1)
  %copy-start = (bf16[3,3,64,64]{3,2,1,0:T(8,128)(2,1)S(1)}, bf16[3,3,64,64]{3,2,1,0:T(8,128)(2,1)}, u32[]{:S(2)}) copy-start(%k), cross_program_prefetch_index=0
  %copy-done = bf16[3,3,64,64]{3,2,1,0:T(8,128)(2,1)S(1)} copy-done(%copy-start)
  ROOT %fusion.1 = bf16[4,6,6,64]{3,0,2,1:T(8,128)(2,1)} fusion(%x, %copy-done), kind=kOutput, calls=%fused, backend_config={"window_config":{"estimated_cycles":"470"}}
}
"""  # noqa: E501
GPU = """HloModule jit_f, is_scheduled=true

%wrapped (p0: bf16[3,3,64,64]) -> bf16[64,3,3,64] {
  %p0 = bf16[3,3,64,64]{3,2,1,0} parameter(0)
  ROOT %transpose.2 = bf16[64,3,3,64]{3,2,1,0} transpose(%p0), dimensions={3,0,1,2}
}

ENTRY %main (x: bf16[4,6,6,64], k: bf16[3,3,64,64]) -> bf16[4,6,6,64] {
  %x = bf16[4,6,6,64]{3,2,1,0} parameter(0)
  %k = bf16[3,3,64,64]{3,2,1,0} parameter(1)
  %wrapped_transpose = bf16[64,3,3,64]{3,2,1,0} fusion(%k), kind=kInput, calls=%wrapped
  %conv.1 = (bf16[4,6,6,64]{3,2,1,0}, u8[0]{0}) custom-call(%x, %wrapped_transpose), window={size=3x3 pad=1_1x1_1}, dim_labels=b01f_o01i->b01f, custom_call_target="__cudnn$convForward"
  ROOT %y = bf16[4,6,6,64]{3,2,1,0} get-tuple-element(%conv.1), index=0
}
"""  # noqa: E501


def test_a_convolution_fused_on_a_tpu():
    found = hlo_text.describe(TPU)
    assert found["convolutions"] == {"convolution in a fusion 2d": 1}
    assert found["cycles"] == 470
    # Axes as they lie in memory; 64 channels fill half of 128 lanes, 4 clips half of 8 rows.
    assert found["conv_layouts"] == {"input 01bf": 1, "kernel 01io": 1, "output 01bf": 1}
    video, kernel = 36 * 8 * 128 * 2, 9 * 64 * 128 * 2
    assert found["traffic_mib"] == round((2 * kernel + 2 * video + kernel) / 2**20, 1)
    assert found["layout_changes"]["count"] == 1


def test_a_library_call_on_a_gpu():
    found = hlo_text.describe(GPU)
    assert found["convolutions"] == {"cudnn convForward 2d": 1}
    assert found["conv_layouts"] == {"input b01f": 1, "kernel o01i": 1, "output b01f": 1}
    assert found["layout_changes"]["count"] == 1
    assert found["instructions"] == 2 and found["fusions"] == 1


def test_bytes_are_those_of_whole_tiles():
    assert hlo_text.num_bytes("f32[9,130]{1,0:T(8,128)}") == 16 * 256 * 4
    assert hlo_text.num_bytes("(f32[9,130]{1,0}, pred[3]{0}, token[])") == 9 * 130 * 4 + 3


def test_a_loop_counts_as_often_as_it_runs():
    def function(x):
        return jax.lax.fori_loop(0, 5, lambda _, x: jnp.sin(x @ x), x)

    program = jax.jit(function).lower(jnp.ones((64, 64))).compile()
    convolutions = hlo_text.describe(program.as_text())["convolutions"]
    assert sum(convolutions.values()) == 5


def test_kernel_on_this_machine():
    spec = ConvSpec((1, 1, 1), (1, 1, 1), (0, 0, 0), 1, 8, 16)
    program = hlo.kernel_program(spec, (1, 2, 4, 4, 8), "float32", "matmul_sum", "host")
    row = hlo.account(program, "host")
    assert sum(row["convolutions"].values()) == 3  # forward, and the gradient to each operand
    assert row["gflop"] >= 3 * 2 * 2 * 4 * 4 * 8 * 16 / 1e9 - 1e-3
    assert "collectives" not in row


def test_unknown_targets_are_refused():
    with pytest.raises(InputError, match="tpu-v5e"):
        targets.compile_for("tpu-v5", lambda x: x, jnp.ones(1))
