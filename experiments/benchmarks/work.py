"""What a compiled program does: operations, bytes, memory, and its share of what the device can."""

import resource

import jax
import jax.numpy as jnp

import tempo
from experiments.benchmarks.turns import take_turns
from tempo import trees

MIB = 2.0**20


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


def matmul_gflops(dtype, size: int | None = None) -> float:
    """Speed of a large square matrix product on this device, GFLOP/s: best of twenty."""
    size = size or (2048 if jax.default_backend() == "cpu" else 8192)
    a = jnp.ones((size, size), dtype)
    product = jax.jit(jnp.matmul)
    times = take_turns({"product": lambda: product(a, a)}, 20)["product"]
    return 2 * size**3 / (times["min"] * 1e6)
