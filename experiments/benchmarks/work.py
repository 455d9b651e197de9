"""What a compiled program does: operations, bytes, memory, and its share of what the device can."""

import resource
from collections.abc import Mapping

import jax
import jax.numpy as jnp

import tempo
from tempo import peaks, trees

MIB = 2.0**20

BYTES = "XLA's cost analysis: operands and results of each fused instruction, a loop's body once"
"""What the bytes of a row are: what caches hold is counted too, so a share may exceed 1."""


def gmacs(name: str, shape: tuple[int, ...], num_classes: int, *, train: bool) -> float:
    """Multiply-adds, in G, of the forward pass of preset `name` on a batch of `shape`.

    Those of convolutions and matrix products, by the plain lowering; in training with those of the
    auxiliary heads. Norms, activations and the optimizer count nothing.
    """
    model = tempo.create_model(name, num_classes=num_classes, lowering="plain")
    video = jax.ShapeDtypeStruct(shape, jnp.float32)
    variables = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), video)

    def forward(v, x):
        if not train:
            return model.apply(v, x, train=False)
        rngs = {"dropout": jax.random.key(0)}
        return model.apply(v, x, train=True, rngs=rngs, mutable=["batch_stats"])

    return trees.count_macs(forward, variables, video) / 1e9


def memory(compiled) -> dict[str, float]:
    """MiB: what XLA plans for a program, and what process and device have seen at most."""
    found = {"process_peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MIB}
    plan = compiled.memory_analysis()
    if plan is not None:
        found["step_arguments"] = plan.argument_size_in_bytes / MIB
        found["step_temporaries"] = plan.temp_size_in_bytes / MIB
    stats = jax.devices()[0].memory_stats()
    if stats and "peak_bytes_in_use" in stats:
        found["device_peak"] = stats["peak_bytes_in_use"] / MIB
    return {name: round(value, 1) for name, value in found.items()}


def achieved(gflop: float, counted_as: str, compiled, dtype, ms: Mapping[str, float]) -> dict:
    """Rates of a run that took `ms["median"]`, and their shares of the peaks, measured now.

    Args:
      gflop: operations of one run, in G.
      counted_as: what counts as one.
      compiled: the program, whose bytes its compiler counts.
      dtype: of the matrix product that is the peak.
      ms: a summary of `turns`.
    """
    seconds = ms["median"] / 1e3
    matmul = peaks.matmul_flops_per_s(dtype) / 1e9
    copy = peaks.copy_bytes_per_s() / 1e9
    found = {
        "gflop": round(gflop, 3),
        "gflop_counted_as": counted_as,
        "gflop_per_s": round(gflop / seconds, 1),
        "share_of_matmul": round(gflop / seconds / matmul, 3),
        "peaks": {"matmul_gflop_per_s": round(matmul, 1), "copy_gbyte_per_s": round(copy, 2)},
    }
    gbyte = _gbyte(compiled)
    if gbyte:
        found |= {
            "gbyte": round(gbyte, 3),
            "gbyte_counted_as": BYTES,
            "gbyte_per_s": round(gbyte / seconds, 2),
            "share_of_copy": round(gbyte / seconds / copy, 3),
        }
    return found


def _gbyte(compiled) -> float:
    """Bytes that a program moves as its compiler counts them, in G; 0 if it does not say."""
    costs = compiled.cost_analysis() or {}
    costs = costs[0] if isinstance(costs, list) else costs
    return costs.get("bytes accessed", 0.0) / 1e9
