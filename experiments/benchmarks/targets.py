"""Compilers for devices that need not be present: XLA makes the program, nothing runs it.

`host` is the first device of this machine. The TPUs need the wheel `libtpu` (`pip install
'jax[tpu]'`), the GPU the wheels of `jax[cuda13]`; neither needs the device nor its driver.
"""

import dataclasses
import functools
import os

import jax
import numpy as np
from jax.experimental import topologies

from tempo.errors import lookup

# What the compiler asks of a GPU; the names are those of XLA's message `GpuDeviceInfoProto`.
_H100 = {
    "threads_per_block_limit": 1024,
    "threads_per_warp": 32,
    "shared_memory_per_block": 49152,
    "shared_memory_per_core": 233472,
    "shared_memory_per_block_optin": 232448,
    "threads_per_core_limit": 2048,
    "core_count": 132,
    "fpus_per_core": 128,
    "block_dim_limit_x": 2**31 - 1,
    "block_dim_limit_y": 65535,
    "block_dim_limit_z": 65535,
    "thread_dim_limit_x": 1024,
    "thread_dim_limit_y": 1024,
    "thread_dim_limit_z": 64,
    "registers_per_core_limit": 65536,
    "registers_per_block_limit": 65536,
    "memory_bandwidth": 3352320000000,
    "l2_cache_size": 52428800,
    "clock_rate_ghz": 1.98,
    "device_memory_size": 84942979072,
    "device_address_bits": 64,
    "device_vendor": '"NVIDIA Corporation"',
    "name": '"NVIDIA H100 80GB HBM3"',
    "driver_version": '"13.0.0"',
    "runtime_version": '"13.0.0"',
    "compile_time_toolkit_version": '"13.0.0"',
    "cuda_compute_capability": "{ major: 9 feature_extension: ACCELERATED_FEATURES }",
}


@dataclasses.dataclass(frozen=True)
class Target:
    """What programs are compiled for.

    Attributes:
      backend: jax's name of it, by which layers choose how they compute.
      topology: of `get_topology_desc`; None for a device that is present.
      clock_ghz: at which the cycles that the compiler tells are counted; None where it tells none.
        From the data sheet: peak FLOP/s by those of one cycle (2 x 128 x 128 per matrix unit).
    """

    backend: str | None
    topology: dict[str, str] | None = None
    clock_ghz: float | None = None


TARGETS = {
    "host": Target(None),
    "tpu-v4": Target("tpu", {"platform": "tpu", "topology_name": "v4:2x2x1"}, 275e3 / 2**18),
    "tpu-v5e": Target("tpu", {"platform": "tpu", "topology_name": "v5e:2x2"}, 197e3 / 2**17),
    "gpu-h100": Target("gpu", {"platform": "cuda", "topology_name": "h100", "topology": "1x1x1"}),
}


def compile_for(name: str, function, *arguments, donate: tuple[int, ...] = ()):
    """The compiled program of `function` for one device of target `name`.

    Args:
      name: of `TARGETS`.
      function: of arrays; traced here as layers are computed on that backend.
      arguments: their shapes and types, as `jax.eval_shape` gives them.
      donate: arguments whose memory the results take over.

    Raises:
      InputError: there is no such target.
    """
    target = lookup(TARGETS, name, "target")
    if target.topology is None:
        return jax.jit(function, donate_argnums=donate).lower(*arguments).compile()
    from tempo.layers.target import compiled_for

    one = _sharding(name)
    program = jax.jit(function, donate_argnums=donate, in_shardings=one, out_shardings=one)
    with compiled_for(target.backend):
        return program.lower(*arguments).compile()


@functools.cache
def _sharding(name: str):
    """Of one device of a target: everything whole on it."""
    options = dict(TARGETS[name].topology)
    if options["platform"] == "cuda":
        options["target_config"] = _gpu_config(_H100)
    else:
        os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # there is no machine to ask
        os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")  # no device that they could share
    devices = topologies.get_topology_desc(**options).devices[:1]
    mesh = jax.sharding.Mesh(np.array(devices), ("device",))
    return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())


def _gpu_config(info: dict) -> str:
    """XLA's `GpuTargetConfigProto` as text."""
    fields = (
        f"{key} {value}" if str(value)[0] == "{" else f"{key}: {value}"
        for key, value in info.items()
    )
    return (
        f'gpu_device_info {{ {" ".join(fields)} }} platform_name: "CUDA" '
        f"dnn_version_info {{ major: 9 minor: 10 }} device_description_str: {info['name']}"
    )
