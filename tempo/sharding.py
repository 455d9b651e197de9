"""The device mesh, where arrays live on it, and how host batches become global arrays."""

import re
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from tempo import trees
from tempo.errors import InputError, lookup
from tempo.types import Batch

Rules = Sequence[tuple[str, tuple[str | None, ...]]]
"""(regular expression of leaf names, partition of the trailing axes) rows; the first that matches
and whose partition divides the leaf counts."""

# The outputs of a kernel, or else its inputs.
_KERNEL_AXES = (("data",), ("data", None))
NAMED_RULES: dict[str, Rules] = {
    # Stage 1 of arXiv 1910.02054: only what the optimizer and the averages need is split.
    "zero1": tuple((r"^(opt_state|ema_params)/.*kernel$", axes) for axes in _KERNEL_AXES),
    # The parameters too, which the devices put together anew in every step.
    "fsdp": tuple((r"kernel$", axes) for axes in _KERNEL_AXES),
}
"""Rules by name: kernels are split over the devices that the batch is split over."""


def make_mesh(*, data: int = -1, model: int = 1) -> Mesh:
    """The mesh over all devices, with the axes `data` (the batch) and `model` (parameters).

    Args:
      data: devices along the batch; -1 takes all that `model` leaves.
      model: devices that share one copy of the parameters, split by rules.
    """
    num_devices = jax.device_count()
    if model < 1 or num_devices % model:
        raise InputError(
            f"mesh.model={model} does not divide the {num_devices} devices; use a divisor."
        )
    data = num_devices // model if data == -1 else data
    if data * model != num_devices:
        raise InputError(
            f"mesh.data={data} x mesh.model={model} is not the number of devices, {num_devices}; "
            "set mesh.data=-1 to use all of them."
        )
    # Auto, not the default Explicit: with sharding in types, linen's Dropout does not trace.
    return jax.make_mesh((data, model), ("data", "model"), axis_types=(AxisType.Auto,) * 2)


def batch_unit(mesh: Mesh) -> int:
    """What a batch size must be a multiple of."""
    return mesh.shape["data"]


def process_slot(mesh: Mesh) -> tuple[int, int]:
    """(i, n): this process feeds the i-th of n equal, contiguous parts of every batch.

    Processes whose devices hold the same rows of the batch, because `model` spans them, share a
    slot and must feed the same rows.

    Raises:
      InputError: this process's devices do not hold one contiguous part.
    """
    is_local = np.vectorize(lambda d: d.process_index == jax.process_index())(mesh.devices)
    rows = np.flatnonzero(is_local.any(axis=1))
    first, size = int(rows[0]), len(rows)
    if rows[-1] - first + 1 != size or first % size or mesh.shape["data"] % size:
        raise InputError(
            f"Process {jax.process_index()} holds the rows {rows.tolist()} of the mesh's data axis "
            f"of {mesh.shape['data']}, which are no equal share; choose mesh.model so that it "
            "divides the devices of one process, or is a multiple of them."
        )
    return first // size, mesh.shape["data"] // size


def check_batch_size(name: str, batch_size: int, mesh: Mesh, micro_batches: int = 1) -> None:
    """Raises `InputError` unless `batch_size` splits evenly over devices and micro-batches.

    Args:
      name: how the config calls the batch size.
      batch_size: global batch.
      mesh: of `make_mesh`.
      micro_batches: parts that gradients are accumulated over.
    """
    unit = batch_unit(mesh) * micro_batches
    if batch_size < 1 or batch_size % unit:
        low = batch_size // unit * unit
        sizes = [str(s) for s in (low, low + unit) if s > 0]
        parts = f"{mesh.shape['data']} devices along the batch"
        if micro_batches > 1:
            parts += f" x {micro_batches} micro-batches"
        raise InputError(
            f"{name}={batch_size} is not divisible by {unit} ({parts}); "
            f"the nearest sizes that are: {' and '.join(sizes)}."
        )


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Sharding of a batch: its leading axis over `data`."""
    return NamedSharding(mesh, P("data"))


def replicated(mesh: Mesh) -> NamedSharding:
    """Sharding of an array that every device holds whole."""
    return NamedSharding(mesh, P())


def rules_of(rules: Rules | str) -> Rules:
    """The rules, or those of that name in `NAMED_RULES`; "" names none.

    Raises:
      InputError: an unknown name, what is no list of rules, or a rule that is no (regular
        expression, axes of the mesh) pair.
    """
    if isinstance(rules, str):
        return lookup(NAMED_RULES, rules, "sharding_rules") if rules else ()
    if not isinstance(rules, Sequence):
        raise InputError(
            f"sharding_rules={rules!r} is neither a name ({', '.join(NAMED_RULES)}) nor a list of "
            "(regular expression, axes) pairs; () is none."
        )
    for rule in rules:
        try:
            pattern, spec = rule
            re.compile(pattern)
            unknown = [axis for axis in spec if axis not in ("data", "model", None)]
        except (TypeError, ValueError, re.error) as e:
            raise InputError(
                f"sharding_rules: {rule!r} is no (regular expression, axes) pair ({e}); an example "
                "is ('head/fc/kernel$', (None, 'model'))."
            ) from None
        if unknown:
            raise InputError(
                f"sharding_rules: {rule!r} names the axis {unknown[0]!r}; the mesh "
                "has 'data' and 'model'."
            )
    return rules


def infer_shardings(tree: Any, mesh: Mesh, rules: Rules = ()) -> Any:
    """The tree of shardings for a tree of arrays or shapes.

    One mechanism for parameters and optimizer state: a rule on `head/fc/kernel` also meets the
    momentum's `opt_state/.../head/fc/kernel`. A rule's partition is aligned with the leaf's last
    axes; a leaf that no rule matches, or whose axes none divides, is replicated.
    """
    compiled = [(re.compile(pattern), tuple(spec)) for pattern, spec in rules]

    def sharding(name: str, leaf: Any) -> NamedSharding:
        for pattern, spec in compiled:
            if pattern.search(name) and len(spec) <= len(leaf.shape):
                full = (None,) * (len(leaf.shape) - len(spec)) + spec
                if all(
                    axis is None or size % mesh.shape[axis] == 0
                    for size, axis in zip(leaf.shape, full, strict=True)
                ):
                    return NamedSharding(mesh, P(*full))
        return NamedSharding(mesh, P())

    return trees.map_with_names(sharding, tree)


def whole_over_data(shardings: Any) -> Any:
    """The shardings with nothing split over `data`."""

    def whole(sharding: Any) -> Any:
        if "data" not in getattr(sharding, "spec", ()):
            return sharding  # also of arrays that one device has
        spec = P(*(None if axis == "data" else axis for axis in sharding.spec))
        return NamedSharding(sharding.mesh, spec)

    return jax.tree.map(whole, shardings)


def in_use(tree: Any, shardings: Any) -> Any:
    """Arrays as a network takes them: whole over `data`, where each device has other clips.

    Left as they live, the compiler splits layers by what their parameters are split by, and sends
    activations around in place of parameters. To be called under jit.

    Args:
      tree: of arrays.
      shardings: how they live, of `infer_shardings`.
    """
    return jax.tree.map(
        lambda x, old, new: x if old == new else jax.lax.with_sharding_constraint(x, new),
        tree,
        shardings,
        whole_over_data(shardings),
    )


def gathered(tree: Any) -> Any:
    """Arrays as `in_use`, put together once for many passes; the tree itself if they are so."""
    old = jax.tree.map(lambda x: getattr(x, "sharding", None), tree)
    new = whole_over_data(old)
    return tree if old == new else jax.jit(_same, out_shardings=new)(tree)


def _same(tree: Any) -> Any:
    return tree


def as_abstract(shapes: Any, shardings: Any) -> Any:
    """Shapes with shardings, as a checkpoint wants them to restore into."""
    return jax.tree.map(
        lambda s, sharding: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=sharding),
        shapes,
        shardings,
    )


def to_global(batch: Batch, sharding: NamedSharding) -> Batch:
    """This process's part of a batch -> arrays of the global batch; strings stay behind."""
    numeric = {k: v for k, v in batch.items() if np.asarray(v).dtype.kind not in "OSU"}
    return jax.make_array_from_process_local_data(sharding, numeric)


def is_lead_process() -> bool:
    """True in the one process that writes files and prints."""
    return jax.process_index() == 0
