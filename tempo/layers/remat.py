"""Which activations of a block the backward pass finds in memory and which it computes again.

A network is trained with one of `POLICIES` for all of its blocks. What is computed again has the
same numbers; it costs time and saves the memory of what lies between two saved values
(arXiv 1604.06174, section 3).
"""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
from jax.ad_checkpoint import checkpoint_name

from tempo.errors import lookup
from tempo.layers import target

_NARROW, _WIDE, _MOMENTS = "narrow_conv", "wide_conv", "moments"


@dataclasses.dataclass(frozen=True)
class Policy:
    """What is kept of a block besides its input, by the names that layers give with `conv_output`.

    Attributes:
      saved: names of values that are kept; all others are computed again.
    """

    saved: tuple[str, ...]


POLICIES: dict[str, Policy | None] = {
    # Everything: what XLA needs of a block it keeps.
    "none": None,
    # Norms and activations are computed again, no convolution is.
    "convs": Policy((_NARROW, _WIDE, _MOMENTS)),
    # Also the convolutions that widen: most of a bottleneck's memory, a third of its work.
    "narrow": Policy((_NARROW, _MOMENTS)),
    # The whole block, from its input.
    "blocks": Policy(()),
}
"""Policies by name, from the most memory to the least."""

_OLD = {False: "none", True: "blocks"}


def check(policy: str | bool) -> str:
    """Name of a policy; True and False, as configs had it, are `blocks` and `none`.

    Raises:
      InputError: it is no name of `POLICIES`.
    """
    name = _OLD[policy] if isinstance(policy, bool) else policy
    lookup(POLICIES, str(name), "rematerialisation policy (config.model.remat)")
    return str(name)


def block(module: type[nn.Module], policy: str | bool) -> type[nn.Module]:
    """The class of a block whose backward pass does as `policy` says; names of leaves stay."""
    row = POLICIES[check(policy)]
    if row is None:
        return module
    return nn.remat(module, policy=jax.checkpoint_policies.save_only_these_names(*row.saved))


def conv_output(y: jax.Array, in_features: int) -> jax.Array:
    """`y [..., C]`, which a convolution of `in_features` channels gives, by a policy's name."""
    return checkpoint_name(y, _WIDE if y.shape[-1] > in_features else _NARROW)


def moments(mean: jax.Array, var: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A norm's mean and variance of a batch, by a policy's name."""
    return checkpoint_name(mean, _MOMENTS), checkpoint_name(var, _MOMENTS)


def compiler_options(policy: str | bool) -> dict[str, Any]:
    """Options of `jax.jit` without which a policy saves nothing on this backend.

    XLA on the CPU removes optimization barriers before it looks for common subexpressions, and so
    finds that what is computed again is there already, and keeps it. There the pass that removes
    them is left out; what they leave in the compiled program are names without work.
    """
    is_needed = POLICIES[check(policy)] is not None and target.backend() == "cpu"
    return {"xla_disable_hlo_passes": "cse_barrier_expander"} if is_needed else {}
