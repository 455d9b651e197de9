"""MTConv against its equations, option by option; what each branch can see; bad input."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import lax

import tempo
from tempo.layers import frame_selection, mtconv, pooling, resize
from tempo.layers.conv import Conv
from tempo.layers.norm import BatchNorm

LOCAL, PROLONGED = 6, 3  # of 9 features at the ratio of these tests
SEEN, UNSEEN = 4, 2  # of 6 channels


def build(train=False, **fields):
    fields = {"features": 9, "kernel_size": (3, 3, 3), "ratio": 0.6, "act": nn.relu, **fields}
    norm = functools.partial(BatchNorm, use_running_average=not train)
    return mtconv.MTConv(conv=Conv, norm=norm, train=train, **fields)


def clips(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def weights(module, x):
    """Variables with random statistics and affine terms."""
    shapes = jax.eval_shape(module.init, jax.random.key(0), x)
    rng = np.random.default_rng(1)
    return jax.tree.map(
        lambda leaf: (
            np.abs(rng.normal(0.5, 0.3, leaf.shape)).astype(np.float32)
            * rng.choice([-1, 1], leaf.shape)
            if len(leaf.shape) == 5
            else rng.uniform(0.5, 1.5, leaf.shape).astype(np.float32)
        ),
        shapes,
    )


def conv_norm(variables, conv, norm, x, strides=(1, 1, 1)):
    """A branch's convolution and its norm in evaluation, by the definitions."""
    kernel = variables["params"][conv]["kernel"]
    dimensions = ("NDHWC", "DHWIO", "NDHWC")
    pads = [(k // 2, k // 2) for k in kernel.shape[:3]]
    raw = lax.conv_general_dilated(x, kernel, strides, pads, dimension_numbers=dimensions)
    affine, stats = variables["params"][norm], variables["batch_stats"][norm]
    y = (raw - stats["mean"]) / np.sqrt(stats["var"] + 1e-5) * affine["scale"] + affine["bias"]
    return raw, y


def equations(variables, x, fields):
    """Equations 2 to 4 of the paper, with the options of the layer."""
    get = fields.get
    strides = get("strides", (1, 1, 1))
    act = nn.relu if get("is_activated", True) else lambda x: x
    is_split = get("input", "split") == "split"
    raw, z = conv_norm(
        variables, "local_conv", "local_norm", x[..., :SEEN] if is_split else x, strides
    )
    a_local = act(z)
    frames = get("frames", "triplet")
    window = (2, 2, 2) if frames == "pool" else (1, 2, 2)
    x_p, x_l = (
        pooling.POOLS[get("pool", "soft")](v, window)
        for v in (
            x[..., SEEN:] if is_split else x,
            raw if get("lateral_from") == "pre" else a_local,
        )
    )
    if frames != "pool":
        options = {} if frames == "triplet" else {k: v for k, v in frames.items() if k != "name"}
        indices_l = frame_selection.indices(x_l, **options)
        indices_p = frame_selection.indices(x_p, **options)
        x_l = np.take_along_axis(np.asarray(x_l), indices_l[:, :, None, None, None], 1)
        chosen = indices_l if get("share_indices") else indices_p
        x_p = np.take_along_axis(np.asarray(x_p), chosen[:, :, None, None, None], 1)
    _, u = conv_norm(variables, "prolonged_conv", "prolonged_norm", x_p, strides)
    lateral_norm = "prolonged_norm" if get("share_norm") else "lateral_norm"
    _, v = conv_norm(variables, "lateral_conv", lateral_norm, x_l)
    up = resize.trilinear(u + resize.trilinear(v, u.shape[1:4]), a_local.shape[1:4])
    return np.concatenate([a_local, act(up)], -1)


OPTIONS = [
    {},
    {"input": "full"},
    {"lateral_from": "pre"},
    {"share_norm": True},
    {"pool": "avg"},
    {"frames": {"name": "triplet", "select": "highest", "square": True}},
    {"frames": {"name": "triplet", "border": "replicate"}},
    {"frames": "pool"},
    {"share_indices": True},
    {"is_activated": False},
    {"strides": (2, 2, 2)},
]


@pytest.mark.parametrize("fields", OPTIONS, ids=str)
def test_the_equations_with_each_option(fields):
    x = clips(2, 13, 5, 7, 6)  # T and sizes for which u and v differ in shape at stride 2
    module = build(**fields)
    variables = weights(module, x)
    expected = equations(variables, x, fields)
    y = module.apply(variables, x)
    np.testing.assert_allclose(y, expected, atol=1e-4, rtol=1e-4)
    assert np.abs(expected[..., LOCAL:]).max() > 0.1
    if (
        fields
        and "strides" not in fields
        and "share_norm" not in fields
        and fields != {"input": "full"}
    ):
        assert np.abs(y - build().apply(variables, x)).max() > 1e-2


def test_the_whole_local_part_is_a_convolution_with_its_norm():
    x = clips(2, 3, 4, 4, 6)
    module = build(ratio=1.0)
    variables = weights(module, x)
    assert set(variables["params"]) == {"local_conv", "local_norm"}
    assert variables["params"]["local_conv"]["kernel"].shape == (3, 3, 3, 6, 9)
    y = Conv(9, (3, 3, 3)).apply({"params": variables["params"]["local_conv"]}, x)
    norm = {name: leaves["local_norm"] for name, leaves in variables.items()}
    y = nn.relu(BatchNorm(use_running_average=True).apply(norm, y))
    np.testing.assert_array_equal(module.apply(variables, x), y)
    # Four channels at 7/8 leave none for the prolonged branch, and all of the input is read.
    few = build(ratio=0.875, features=4)
    variables = weights(few, x)
    np.testing.assert_array_equal(
        few.apply(variables, x), build(ratio=1.0, features=4).apply(variables, x)
    )


def test_split_is_whole_and_rounds_the_local_part_up():
    for channels, percent in itertools.product(range(1, 513), range(5, 101, 5)):
        local, prolonged = mtconv.split(channels, percent / 100)
        assert (local, prolonged) == (
            -(-channels * percent // 100),
            channels * (100 - percent) // 100,
        )
    assert mtconv.split(54, 0.875) == (48, 6)


def test_where_no_input_channel_is_left_the_lateral_connection_is_alone():
    x = clips(1, 4, 4, 4, 3)
    variables = weights(build(ratio=0.875), x)
    assert set(variables["params"]) == {"local_conv", "local_norm", "lateral_conv", "lateral_norm"}
    y = build(ratio=0.875).apply(variables, x)
    assert y.shape == (1, 4, 4, 4, 9) and np.ptp(y[..., 8]) > 0


def test_what_each_branch_sees():
    x = clips(1, 6, 4, 4, 6)
    module = build(train=True)
    params = weights(module, x)["params"]
    ones = {part: np.zeros(9, np.float32) for part in ("local", "prolonged")}
    ones["local"][:LOCAL] = ones["prolonged"][LOCAL:] = 1

    @jax.jit
    def run(params, x, part):
        def total(params, x):
            y, _ = module.apply({"params": params}, x, mutable=["batch_stats"])
            return jnp.sum(jnp.square(y) * part), y

        return jax.value_and_grad(total, (0, 1), has_aux=True)(params, x)

    _, (_, dx) = run(params, x, ones["local"])
    np.testing.assert_array_equal(dx[..., SEEN:], 0)
    assert np.abs(dx[..., :SEEN]).max() > 0
    _, (d_params, dx) = run(params, x, ones["prolonged"])
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(d_params["local_conv"]))
    assert np.isfinite(dx).all()
    params["lateral_conv"]["kernel"] *= 0
    (_, before), (d_params, dx) = run(params, x, ones["prolonged"])
    np.testing.assert_array_equal(d_params["local_conv"]["kernel"], 0)
    np.testing.assert_array_equal(dx[..., :SEEN], 0)
    assert np.abs(dx[..., SEEN:]).max() > 0
    params["prolonged_conv"]["kernel"] *= 0
    for name in ("prolonged_norm", "lateral_norm"):
        params[name]["bias"] *= 0
    (_, y), _ = run(params, x, ones["prolonged"])
    np.testing.assert_array_equal(y[..., LOCAL:], 0)
    np.testing.assert_array_equal(y[..., :LOCAL], before[..., :LOCAL])


def test_a_shared_norm_is_updated_by_both():
    x = clips(2, 6, 4, 4, 6)

    def step(variables, **fields):
        module = build(train=True, **fields)
        run = jax.jit(functools.partial(module.apply, mutable=["batch_stats"]))
        return run(variables, x)[1]["batch_stats"]

    variables = weights(build(), x)
    stats = variables["batch_stats"]
    stats["lateral_norm"] = stats["prolonged_norm"]
    separate = step(variables)
    del variables["params"]["lateral_norm"], stats["lateral_norm"]
    shared = step(variables, share_norm=True)
    assert set(shared) == {"local_norm", "prolonged_norm"}
    of_lateral = separate["lateral_norm"]["mean"] - 0.9 * stats["prolonged_norm"]["mean"]
    expected = 0.9 * separate["prolonged_norm"]["mean"] + of_lateral
    np.testing.assert_allclose(shared["prolonged_norm"]["mean"], expected, rtol=1e-4)


def test_scale_init_and_stochastic_draws():
    x = np.abs(clips(2, 4, 4, 4, 6))
    module = build(pool="stochastic", scale_init=nn.initializers.zeros, is_activated=False)
    variables = jax.jit(module.init)(jax.random.key(0), x)
    run = jax.jit(lambda variables, **rngs: module.apply(variables, x, rngs=rngs))
    np.testing.assert_array_equal(run(variables), 0)
    variables = weights(module, x)
    # In training alone, where the norms still have their running statistics: the draws are seen.
    trained = module.clone(train=True)
    draw = jax.jit(lambda variables, **rngs: trained.apply(variables, x, rngs=rngs))
    draws = [draw(variables, dropout=jax.random.key(seed)) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert np.abs(draws[0] - draws[2]).max() > 1e-3
    assert np.abs(draws[0] - run(variables)).max() > 1e-3
    np.testing.assert_array_equal(run(variables, dropout=jax.random.key(0)), run(variables))
    with pytest.raises(tempo.InputError, match="draws in training; give it a random key"):
        jax.eval_shape(draw, variables)


def test_half_precision_gives_half_precision():
    x = jnp.zeros((1, 5, 5, 5, 6), jnp.bfloat16)
    conv = functools.partial(Conv, dtype=jnp.bfloat16)
    y, _ = jax.eval_shape(build().clone(conv=conv).init_with_output, jax.random.key(0), x)
    assert (y.dtype, y.shape) == (jnp.bfloat16, (1, 5, 5, 5, 9))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"ratio": 0.0}, "ratio=0.0 must be above 0 and at most 1"),
        ({"ratio": 1.25}, "ratio=1.25 must be above 0"),
        ({"input": "spilt"}, "input of MTConv 'spilt'. Did you mean 'split'"),
        ({"lateral_from": "mid"}, "lateral_from of MTConv 'mid'"),
        ({"pool": "softt"}, "pool of MTConv 'softt'. Did you mean 'soft'"),
        ({"frames": "tripletts"}, "frames of MTConv 'tripletts'. Did you mean 'triplet'"),
        ({"frames": {"name": "triplet", "sqare": True}}, "has no option 'sqare'"),
        ({"frames": "pool", "share_indices": True}, "share_indices=True needs frames to select"),
    ],
)
def test_bad_options_are_told_in_one_line(fields, message):
    with pytest.raises(tempo.InputError, match=message) as error:
        build(**fields)
    assert "\n" not in str(error.value)
