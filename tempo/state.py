"""The training state: arrays only, so that it can be sharded, donated, saved and compared."""

import types
from collections.abc import Mapping
from typing import Any

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from tempo import trees
from tempo.types import Array, ClipShapes


class TrainState(flax.struct.PyTreeNode):
    """What changes from step to step.

    There is no random key in it: every draw comes from `fold_in(fold_in(key(seed), step), stream)`
    and the data from (seed, step), so these arrays alone resume a run exactly.

    Attributes:
      step: finished steps, int32 scalar.
      params: trained parameters, float32.
      batch_stats: running statistics of the norms; empty for a model without.
      opt_state: of the optax transformation.
      ema_params: moving average of `params`, or None when not kept.
      ema_batch_stats: that of `batch_stats`: the averaged parameters see other activations than
        the trained ones do, so they need statistics averaged alike.
      sketch: what compact bilinear pooling drew once and for all (`tempo.layers.sketch`); nothing
        trains, decays or averages it. None for a model without.
    """

    step: Array
    params: Any
    batch_stats: Any
    opt_state: Any
    ema_params: Any = None
    ema_batch_stats: Any = None
    sketch: Any = None

    def eval_variables(self) -> dict[str, Any]:
        """Variables to evaluate with: the moving averages where they are kept."""
        if self.ema_params is None:
            found = {"params": self.params, "batch_stats": self.batch_stats}
        else:
            found = {"params": self.ema_params, "batch_stats": self.ema_batch_stats}
        return found | self.fixed

    @property
    def fixed(self) -> dict[str, Any]:
        """Variables that no step changes, by collection."""
        return {} if self.sketch is None else {"sketch": self.sketch}


def create(
    model: nn.Module,
    tx: optax.GradientTransformation,
    key: Array,
    clip_shape: ClipShapes,
    *,
    ema: bool,
    loaded: Mapping[str, Array] = types.MappingProxyType({}),
) -> TrainState:
    """A state before its first step; pure, so it can be traced or jitted with shardings.

    Args:
      model: called as `model(clips, train=False)`.
      tx: optimizer.
      key: random key of the initial values.
      clip_shape: of one clip; its resolution does not matter for the parameters.
      ema: whether to keep moving averages.
      loaded: arrays by leaf name, such as `params/head/fc/bias`, in place of the initial values.
    """
    clips = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), trees.clip_like(clip_shape))
    variables = dict(model.init(key, clips, train=False))
    variables = trees.map_with_names(lambda name, leaf: loaded.get(name, leaf), variables)
    params, batch_stats = variables["params"], variables.get("batch_stats", {})
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=batch_stats,
        opt_state=tx.init(params),
        ema_params=jax.tree.map(jnp.copy, params) if ema else None,
        ema_batch_stats=jax.tree.map(jnp.copy, batch_stats) if ema else None,
        sketch=variables.get("sketch"),
    )


def update_ema(state: TrainState, decay: float) -> TrainState:
    """One step of the moving averages towards the state's own parameters and statistics.

    `decay` is approached from 0.1, so that the averages leave the initial values behind early.
    """
    done = state.step - 1
    decay = jnp.minimum(decay, (1.0 + done) / (10.0 + done))

    def towards(average, new):
        return jax.tree.map(lambda a, n: a * decay + n * (1 - decay), average, new)

    return state.replace(
        ema_params=towards(state.ema_params, state.params),
        ema_batch_stats=towards(state.ema_batch_stats, state.batch_stats),
    )
