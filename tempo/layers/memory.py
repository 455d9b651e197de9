"""Where a value is kept in memory instead of being computed again by each of its readers."""

import jax
from jax import lax
from jax.experimental import xla_metadata

from tempo.layers import target


def stored(*operands):
    """The operands, a tuple, as arrays in memory and not as expressions that readers compute.

    A kernel's gradient contracts the batch and so transposes its operands. XLA on the CPU may fuse
    the norm and activation that make an operand into that transpose and compute them once more,
    element by element in the wrong order: two seconds of a five-second step of SlowOnly-R50.
    Accelerators fuse to good effect and are left alone.
    """
    return lax.optimization_barrier(operands) if target.backend() == "cpu" else operands


def apart(function, *operands):
    """`function(*operands)` computed by itself, from operands and to results in memory.

    XLA on the CPU drops the barriers of `stored` before it fuses, and then fuses what makes a value
    into every reader of it, whatever it costs: the 27 products of a depthwise convolution into each
    of the six passes in which a norm, its gradient and a gate read them. A call that it may not
    inline stays whole. Elsewhere this is a plain call.

    Args:
      function: of arrays, made of `lax` primitives: a jitted function in it is a call as well.
      operands: its arguments.
    """
    if target.backend() != "cpu":
        return function(*operands)
    with xla_metadata.set_xla_metadata(inlineable="false"):
        return jax.jit(function)(*operands)
