"""What benchmarks run of a model: a step of training, and the forward pass, on one random batch."""

import functools
import time
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tempo import trees


class Running:
    """A model in training on one random batch: every call is a step, and returns its loss.

    Attributes:
      state: what the next step starts from; the step takes its memory over.
      video, label: the batch.
      compiled: the compiled step, once `compile` has been called.
      losses: of the steps so far.
    """

    def __init__(self, model, shape: tuple[int, ...], num_classes: int):
        self.model = model
        self.video = jax.random.normal(jax.random.key(1), shape, jnp.float32)
        self.label = jnp.arange(shape[0]) % num_classes
        variables = cheap_init(model, self.video)
        params = variables["params"]
        velocity = jax.tree.map(jnp.zeros_like, params)
        self.state = (params, variables["batch_stats"], velocity, jax.random.key(2))
        self.losses = []

    @property
    def num_params(self) -> int:
        """Numbers that training changes."""
        return trees.count_params(self.state[0])

    def compile(self, options: Mapping[str, Any] | None = None) -> float:
        """Seconds that it took, with these options of the compiler."""
        start = time.perf_counter()
        step = jax.jit(make_step(self.model), donate_argnums=0)
        lowered = step.lower(self.state, self.video, self.label)
        self.compiled = lowered.compile(compiler_options=dict(options or {}))
        return time.perf_counter() - start

    def __call__(self):
        """One step; call `compile` first."""
        self.state, loss = self.compiled(self.state, self.video, self.label)
        self.losses.append(loss)
        return loss


class Forward:
    """A model in evaluation on one random batch: every call returns the logits.

    Attributes:
      variables: of the model.
      video: the batch.
      compiled: the compiled forward pass, once `compile` has been called.
    """

    def __init__(self, model, shape: tuple[int, ...], num_classes: int):
        del num_classes  # The model knows; here for the sake of one signature with `Running`.
        self.model = model
        self.video = jax.random.normal(jax.random.key(1), shape, jnp.float32)
        self.variables = cheap_init(model, self.video)

    @property
    def num_params(self) -> int:
        """Numbers that training changes."""
        return trees.count_params(self.variables["params"])

    def compile(self, options: Mapping[str, Any] | None = None) -> float:
        """Seconds that it took, with these options of the compiler."""
        start = time.perf_counter()
        forward = jax.jit(lambda v, x: self.model.apply(v, x, train=False)["logits"])
        lowered = forward.lower(self.variables, self.video)
        self.compiled = lowered.compile(compiler_options=dict(options or {}))
        return time.perf_counter() - start

    def __call__(self):
        """Logits of the batch; call `compile` first."""
        return self.compiled(self.variables, self.video)


def make_step(model, learning_rate: float = 0.01, momentum: float = 0.9):
    """`(state, video, label) -> (state, loss)`; state is `(params, batch_stats, velocity, key)`.

    Loss (with auxiliary heads at weight 0.5) and gradient, batch statistics, SGD with momentum.
    """

    def step(state, video, label):
        params, batch_stats, velocity, key = state
        key, dropout = jax.random.split(key)

        def loss_fn(params):
            outputs, new = model.apply(
                {"params": params, "batch_stats": batch_stats},
                video,
                train=True,
                rngs={"dropout": dropout},
                mutable=["batch_stats"],
            )
            loss = _cross_entropy(outputs["logits"], label)
            for logits in outputs.get("aux_logits", ()):
                loss += 0.5 * _cross_entropy(logits, label)
            return loss, new["batch_stats"]

        (loss, batch_stats), gradients = jax.value_and_grad(loss_fn, has_aux=True)(params)
        velocity = jax.tree.map(lambda v, g: momentum * v + g, velocity, gradients)
        params = jax.tree.map(lambda p, v: p - learning_rate * v, params, velocity)
        return (params, batch_stats, velocity, key), loss

    return step


def cheap_init(model, video):
    """Variables of plausible size without compiling the initialisation of a whole network."""
    init = functools.partial(model.init, train=False)
    shapes = jax.eval_shape(init, jax.random.key(0), video)
    # Not by jax, which would compile a program for each shape.
    rng = np.random.default_rng(0)

    def leaf(name, s):
        if name.endswith("kernel"):
            fan_in = s.size // s.shape[-1]
            values = rng.standard_normal(s.shape, np.float32) * np.float32((2 / fan_in) ** 0.5)
            return jnp.asarray(values, s.dtype)
        return jnp.full(s.shape, float(name.endswith(("scale", "var"))), s.dtype)

    return trees.map_with_names(leaf, shapes)


def _cross_entropy(logits, label):
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), label[:, None], axis=1).mean()
