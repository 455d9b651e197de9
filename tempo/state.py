"""The training state: arrays only, so that it can be sharded, donated, saved and compared."""

from typing import Any

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from tempo.types import Array


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
    """

    step: Array
    params: Any
    batch_stats: Any
    opt_state: Any
    ema_params: Any = None

    def eval_variables(self) -> dict[str, Any]:
        """Variables to evaluate with: the averaged parameters where they are kept."""
        params = self.params if self.ema_params is None else self.ema_params
        return {"params": params, "batch_stats": self.batch_stats}


def create(
    model: nn.Module,
    tx: optax.GradientTransformation,
    key: Array,
    video_shape: tuple[int, ...],
    *,
    ema: bool,
) -> TrainState:
    """A fresh state; pure, so it can be traced by `eval_shape` or jitted with shardings.

    Args:
      model: called as `model(video, train=False)`.
      tx: optimizer.
      key: random key of the initial values.
      video_shape: `[B,T,H,W,C]`; the batch and the resolution do not matter for the parameters.
      ema: whether to keep a moving average of the parameters.
    """
    variables = model.init(key, jnp.zeros(video_shape, jnp.float32), train=False)
    params = variables["params"]
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=variables.get("batch_stats", {}),
        opt_state=tx.init(params),
        ema_params=jax.tree.map(jnp.copy, params) if ema else None,
    )


def update_ema(ema_params: Any, params: Any, step: Array, decay: float) -> Any:
    """One step of the moving average; `decay` is approached from 0.1 so that early steps count."""
    decay = jnp.minimum(decay, (1.0 + step) / (10.0 + step))
    return jax.tree.map(lambda e, p: e * decay + p * (1 - decay), ema_params, params)
