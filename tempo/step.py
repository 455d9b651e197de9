"""One step of training as a pure function: gradients, accumulated or not, and what follows them."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from tempo import optim, sharding
from tempo import state as states
from tempo.state import TrainState
from tempo.task import Task
from tempo.types import Array, Batch, network_input

Step = Callable[[TrainState, Batch], tuple[TrainState, dict[str, Array]]]

# Streams of random numbers drawn from one step's key.
_AUGMENT, _DROPOUT = 0, 1


def make_step(
    model: nn.Module,
    task: Task,
    tx: optax.GradientTransformation,
    schedule: optim.Schedule,
    augment: Callable[[Array, Batch], Batch],
    *,
    seed: int = 0,
    accumulate_steps: int = 1,
    ema_decay: float = 0.0,
    shardings: TrainState | None = None,
) -> Step:
    """One optimizer step as a pure function `(state, batch) -> (state, metrics)`, to be jitted.

    Every random draw depends on (seed, step) alone. The batch is cut into `accumulate_steps`
    micro-batches of every n-th clip, so that each device keeps the clips it has; they start from
    the same BatchNorm statistics, and the mean of what they end with goes on, which is what one
    step of a model with that many norm groups does.

    Args:
      model: a `Recognizer`.
      task: loss and metrics.
      tx: optimizer.
      schedule: its learning rate by step.
      augment: of `device_ops.create`.
      seed: of all random draws.
      accumulate_steps: micro-batches of a batch.
      ema_decay: of the moving averages; 0 for a state without.
      shardings: how the state lives on the devices, of `sharding.infer_shardings`; None if each of
        them has all of it.
    """

    def loss_fn(params, batch_stats, fixed, batch, key):
        batch = augment(jax.random.fold_in(key, _AUGMENT), batch)
        outputs, updates = model.apply(
            {"params": params, "batch_stats": batch_stats, **fixed},
            network_input(batch, model.streams),
            train=True,
            rngs={"dropout": jax.random.fold_in(key, _DROPOUT)},
            mutable=["batch_stats"],
        )
        loss, metrics = task.loss(outputs, batch)
        return loss, (metrics, updates.get("batch_stats", {}))

    grad_fn = jax.value_and_grad(loss_fn, has_aux=True)

    def gradients(state, batch, key):
        params = state.params
        if shardings is not None:
            params = sharding.in_use(params, shardings.params)
        variables = (params, state.batch_stats, state.fixed)
        if accumulate_steps == 1:
            (_, (metrics, stats)), grads = grad_fn(*variables, batch, key)
            return grads, metrics, stats

        def micro_step(total, index_and_batch):
            index, micro = index_and_batch
            micro_key = jax.random.fold_in(key, index)
            (_, aux), grads = grad_fn(*variables, micro, micro_key)
            return jax.tree.map(jnp.add, total, (grads, *aux)), None

        micro_batches = jax.tree.map(lambda x: _split(x, accumulate_steps), batch)
        first = jax.tree.map(lambda x: x[0], micro_batches)
        (_, aux), grads = jax.eval_shape(grad_fn, *variables, first, key)
        zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), (grads, *aux))
        indexed = (jnp.arange(accumulate_steps), micro_batches)
        total, _ = jax.lax.scan(micro_step, zeros, indexed)
        return jax.tree.map(lambda x: x / accumulate_steps, total)

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, Array]]:
        key = jax.random.fold_in(jax.random.key(seed), state.step)
        grads, metrics, batch_stats = gradients(state, batch, key)
        updates, opt_state = tx.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        metrics |= {
            "lr": schedule(state.step),
            "grad_norm": optax.tree.norm(grads),
            "state_norm": optax.tree.norm((params, batch_stats)),
        }
        state = state.replace(
            step=state.step + 1, params=params, batch_stats=batch_stats, opt_state=opt_state
        )
        if ema_decay:
            state = states.update_ema(state, ema_decay)
        return state, metrics

    return step


def _split(x: Array, parts: int) -> Array:
    """`[B,...]` -> `[parts,B/parts,...]` by taking every parts-th row: none changes its device."""
    return x.reshape(-1, parts, *x.shape[1:]).swapaxes(0, 1)
