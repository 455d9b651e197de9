"""The optimizer step: randomness, accumulation, moving average, and what the devices exchange.

Compiling a step takes seconds and running it none: steps are compiled once and shared, and those
that only one test needs are of a network without a neck.
"""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tempo import models, optim, sharding, trees
from tempo import state as states
from tempo import task as tasks
from tempo.step import make_step

NUM_CLASSES = 5
SHAPE = (8, 4, 32, 32, 3)
BACKBONE = {"variant": "slowonly_r50", "depths": (1, 1, 1, 1), "width": 4}
NECK = {"name": "tpn", "groups": 2, "aux_dropout_prob": 0.0}


def normalize(key, batch):
    del key
    return {**batch, "video": batch["video"] / 128.0 - 1}


def batches(num_steps, seed=0):
    """Clips of coarse patches with grain.

    White noise alone would look alike to a network and starve its norms; patches alone would have
    ties under the max pool, which rounding breaks one way or the other.
    """
    rng = np.random.default_rng(seed)
    patches = rng.integers(0, 200, (num_steps, SHAPE[0], SHAPE[1], 4, 4, 3), np.uint8)
    videos = patches.repeat(SHAPE[2] // 4, axis=3).repeat(SHAPE[3] // 4, axis=4)
    videos += rng.integers(0, 56, videos.shape, np.uint8)
    labels = rng.integers(0, NUM_CLASSES, (num_steps, SHAPE[0]), np.int32)
    return [{"video": v, "label": k} for v, k in zip(videos, labels, strict=True)]


def mesh_of(num_devices, model=1):
    return jax.make_mesh(
        (num_devices // model, model),
        ("data", "model"),
        axis_types=(jax.sharding.AxisType.Auto,) * 2,
        devices=jax.devices()[:num_devices],
    )


SCHEDULE = optim.make_schedule(10, 5, 8, name="constant", base_lr=0.005)
TX = optim.create(SCHEDULE, clip_norm=5.0)


@functools.cache
def initial_state(has_neck):
    """On the host, with moving averages; the same for all variants, which differ in no parameter.

    Filled by hand, for to compile the initialisation takes as long as to compile a step.
    """
    net = models.create(NUM_CLASSES, backbone=BACKBONE, neck=NECK if has_neck else {})
    create = functools.partial(states.create, net, TX, clip_shape=SHAPE[1:], ema=True)
    rng = np.random.default_rng(0)

    def leaf(name, s):
        if name.endswith("kernel") and name.startswith(("params", "ema_params")):
            return np.float32(rng.normal(size=s.shape) * (2 / np.prod(s.shape[:-1])) ** 0.5)
        if name.endswith(("scale", "var")) and not name.startswith("opt_state"):
            return np.ones(s.shape, s.dtype)
        return np.zeros(s.shape, s.dtype)

    state = trees.map_with_names(leaf, jax.eval_shape(create, jax.random.key(0)))
    return state.replace(ema_params=state.params, ema_batch_stats=state.batch_stats)


@functools.cache
def trainer(num_devices=1, **kwargs):
    """`Trainer(...)`, which is compiled when first run and shared by the tests."""
    return Trainer(num_devices, **kwargs)


class Trainer:
    """A jitted step on a mesh, and the state it starts from."""

    def __init__(
        self, num_devices=1, *, rules=(), model=1, dropout=0.0, neck=False, norm_groups=1,
        dtype="float32", remat=False, **step,
    ):  # fmt: skip
        mesh = mesh_of(num_devices, model)
        net = models.create(
            NUM_CLASSES,
            backbone=BACKBONE,
            neck=NECK if neck else {},
            head={"dropout_prob": dropout},
            norm_groups=norm_groups,
            dtype=dtype,
            remat=remat,
        )
        state = initial_state(neck)
        if "ema_decay" not in step:
            state = state.replace(ema_params=None, ema_batch_stats=None)
        shardings = sharding.infer_shardings(state, mesh, rules)
        self.start = jax.device_put(state, shardings)
        task = tasks.create("single", NUM_CLASSES)
        function = make_step(net, task, TX, SCHEDULE, normalize, **step)
        self.step = jax.jit(function, out_shardings=(shardings, sharding.replicated(mesh)))
        self.sharding = sharding.batch_sharding(mesh)

    def run(self, data):
        """The state after the batches, from the start; and the metrics of the last one."""
        state = self.start
        for batch in data:
            state, metrics = self.step(state, sharding.to_global(batch, self.sharding))
        return jax.device_get(state), jax.device_get(metrics)

    def hlo(self, batch):
        batch = sharding.to_global(batch, self.sharding)
        return self.step.lower(self.start, batch).compile().as_text()


def assert_close(a, b, **tolerance):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **tolerance), a, b)


def test_the_step_counts_learns_and_reports():
    [batch] = batches(1)
    _, first = trainer(neck=True).run([batch])
    state, last = trainer(neck=True).run([batch] * 5)
    assert state.step == 5
    assert last["loss"] < first["loss"]
    assert {"loss", "loss_main", "loss_aux", "lr", "grad_norm", "train_top1"} <= set(last)


def test_dropout_depends_on_seed_and_step_alone():
    data = batches(2)
    seeded = Trainer(dropout=0.5, seed=1)
    first, _ = seeded.run(data)
    again, _ = seeded.run(data)
    other, _ = Trainer(dropout=0.5, seed=2).run(data)
    jax.tree.map(np.testing.assert_array_equal, first, again)
    kernels = [s.params["head"]["fc"]["kernel"] for s in (first, other)]
    assert np.abs(kernels[0] - kernels[1]).max() > 1e-4


def test_one_and_four_devices_agree_after_three_steps():
    data = batches(3)
    one, _ = trainer(neck=True).run(data)
    four, _ = Trainer(4, neck=True).run(data)
    assert_close(four.params, one.params, atol=1e-5)
    assert_close(four.batch_stats, one.batch_stats, atol=1e-5)


def test_sharded_parameters_agree_too():
    data = batches(3)
    one, _ = trainer().run(data)
    split = Trainer(4, model=2, rules=[("kernel$", ("model",))])
    kernel = split.start.params["backbone"]["stem_conv"]["kernel"]
    assert not kernel.sharding.is_fully_replicated
    sharded, _ = split.run(data)
    assert_close(sharded.params, one.params, atol=1e-5)


@pytest.mark.parametrize("accumulate_steps", [1, 2])
def test_data_parallel_devices_exchange_sums_only(accumulate_steps):
    hlo = Trainer(4, accumulate_steps=accumulate_steps, dropout=0.5).hlo(batches(1)[0])
    collectives = set(re.findall(r"\b(all-\w+|collective-\w+|reduce-scatter)(?:-start)?\(", hlo))
    assert {c.removesuffix("-start") for c in collectives} == {"all-reduce"}


def test_accumulation_is_one_step_with_as_many_norm_groups():
    [batch] = batches(1)
    accumulated, m1 = Trainer(accumulate_steps=2).run([batch])
    # Micro-batches are every second clip, norm groups are neighbours.
    order = np.r_[0:8:2, 1:8:2]
    grouped, m2 = Trainer(norm_groups=2).run([{k: v[order] for k, v in batch.items()}])
    np.testing.assert_allclose(m1["loss"], m2["loss"], rtol=1e-5)
    assert_close(accumulated.params, grouped.params, atol=1e-5)
    assert_close(accumulated.batch_stats, grouped.batch_stats, atol=1e-5)


def test_batch_statistics_move_a_tenth_of_the_way():
    before = jax.device_get(trainer().start)
    [batch] = batches(1)
    after, _ = trainer().run([batch])
    video = normalize(None, {"video": jnp.float32(batch["video"])})["video"]
    kernel = before.params["backbone"]["stem_conv"]["kernel"]
    stem = jax.lax.conv_general_dilated(
        video, kernel, (1, 2, 2), [(0, 0), (3, 3), (3, 3)],
        dimension_numbers=("NTHWC", "THWIO", "NTHWC"),
    )  # fmt: skip
    old, new = (s.batch_stats["backbone"]["stem_norm"] for s in (before, after))
    for name, statistic in (("mean", stem.mean((0, 1, 2, 3))), ("var", stem.var((0, 1, 2, 3)))):
        expected = 0.9 * old[name] + 0.1 * statistic
        np.testing.assert_allclose(new[name], expected, rtol=1e-4, atol=1e-5)


def test_moving_average_follows_and_is_evaluated():
    averaged = Trainer(ema_decay=0.5)
    before = jax.device_get(averaged.start)
    after, _ = averaged.run(batches(1))
    decay = 0.1  # min(0.5, (1 + 0) / (10 + 0))
    for name in ("params", "batch_stats"):
        old, new = getattr(before, name), getattr(after, name)
        expected = jax.tree.map(lambda o, n: decay * o + (1 - decay) * n, old, new)
        average = getattr(after, f"ema_{name}")
        assert_close(average, expected, rtol=1e-5, atol=1e-6)
        assert after.eval_variables()[name] is average


def test_bfloat16_keeps_float32_state_and_stays_close():
    data = batches(2)
    _, m32 = trainer().run(data)
    half, m16 = Trainer(dtype="bfloat16").run(data)
    assert {x.dtype for x in jax.tree.leaves(half.params)} == {np.dtype("float32")}
    np.testing.assert_allclose(m16["loss"], m32["loss"], rtol=0.1)


def test_remat_changes_memory_not_numbers():
    data = batches(1)
    plain, _ = trainer().run(data)
    saved, _ = Trainer(remat=True).run(data)
    assert_close(saved.params, plain.params, atol=1e-5)
