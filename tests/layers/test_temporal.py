"""Temporal shift and the temporal adaptive module: what moves where, and who is refused."""

import functools

import jax
import numpy as np
import pytest

import tempo
from tempo.layers import conv
from tempo.layers.conv import Conv
from tempo.layers.norm import BatchNorm
from tempo.layers.temporal import TEMPORAL, TemporalShift


def shift(x, **fields):
    return np.asarray(TemporalShift(**fields).apply({}, x))


@pytest.mark.parametrize(("channel", "step"), [(0, -1), (1, -1), (2, 1), (3, 1), (4, 0), (15, 0)])
def test_impulse_moves_as_its_channel_says(channel, step):
    x = np.zeros((2, 5, 2, 2, 16), np.float32)
    x[0, 2, 1, 0, channel] = 7.0
    expected = np.zeros_like(x)
    expected[0, 2 + step, 1, 0, channel] = 7.0
    np.testing.assert_array_equal(shift(x), expected)


def test_zeros_enter_at_the_ends_only_in_shifted_channels():
    x = np.ones((1, 4, 1, 1, 16), np.float32)
    y = shift(x)[0, :, 0, 0]
    np.testing.assert_array_equal(y[1:-1], 1.0)
    assert np.flatnonzero(y[-1] == 0).tolist() == [0, 1]
    assert np.flatnonzero(y[0] == 0).tolist() == [2, 3]


def test_videos_of_a_batch_do_not_leak():
    x = np.random.default_rng(0).normal(size=(3, 4, 2, 2, 16)).astype(np.float32)
    alone = np.concatenate([shift(x[i : i + 1]) for i in range(3)])
    np.testing.assert_array_equal(shift(x), alone)


def test_shift_has_no_parameters():
    x = np.zeros((1, 2, 1, 1, 16), np.float32)
    assert TEMPORAL["tsm"]().init(jax.random.key(0), x) == {}


def test_too_few_channels_are_refused():
    with pytest.raises(tempo.InputError, match=r"shift_div=8 .* 4 channels"):
        shift(np.zeros((1, 2, 1, 1, 4), np.float32))


def test_shift_is_a_depthwise_convolution_with_a_kernel_of_zeros_and_ones():
    x = np.random.default_rng(0).normal(size=(2, 5, 2, 3, 16)).astype(np.float32)
    kernel = np.zeros((3, 1, 1, 1, 16), np.float32)
    for tap, channels in ((2, slice(0, 2)), (0, slice(2, 4)), (1, slice(4, 16))):
        kernel[tap, ..., channels] = 1
    y = conv.convolve(x, kernel, strides=(1, 1, 1), padding=(1, 0, 0), groups=16)
    np.testing.assert_array_equal(shift(x), y)


def test_a_reversed_clip_shifts_the_other_way():
    x = np.random.default_rng(0).normal(size=(1, 5, 2, 2, 16)).astype(np.float32)
    swapped = np.concatenate([x[..., 2:4], x[..., :2], x[..., 4:]], -1)
    y = shift(swapped[:, ::-1])[:, ::-1]
    np.testing.assert_array_equal(
        shift(x), np.concatenate([y[..., 2:4], y[..., :2], y[..., 4:]], -1)
    )


def test_clips_that_a_shift_is_not_for_are_refused():
    one = np.zeros((1, 1, 1, 1, 16), np.float32)
    with pytest.raises(tempo.InputError, match=r"zero 4 of 16 channels of a clip of 1 frame"):
        shift(one)
    eight = np.zeros((1, 8, 1, 1, 16), np.float32)
    assert shift(eight, num_segments=8).shape == eight.shape
    with pytest.raises(tempo.InputError, match=r"num_segments=16 frames and the clip has 8"):
        shift(eight, num_segments=16)


EVAL = functools.partial(BatchNorm, use_running_average=True)
X = np.random.default_rng(0).normal(size=(2, 4, 3, 2, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def adaptive():
    """A temporal adaptive module for four frames and its variables, all of them random."""
    module = TEMPORAL["tam"](Conv, EVAL)
    shapes = jax.eval_shape(module.init, jax.random.key(0), X)
    rng = np.random.default_rng(1)
    return module, jax.tree.map(lambda s: rng.uniform(0.2, 0.8, s.shape).astype(np.float32), shapes)


def saturated(variables, taps, weight):
    """Both branches made constant: logits of the taps, and of the local weight."""
    params = {name: dict(leaves) for name, leaves in variables["params"].items()}
    for name in ("global_norm", "local_norm"):
        params[name] = {k: np.full_like(v, k == "bias") for k, v in params[name].items()}
    fc2, conv2 = params["global_fc2"], params["local_conv2"]
    fc2["kernel"] = np.broadcast_to(np.float32(taps), fc2["kernel"].shape) / len(fc2["kernel"])
    conv2["kernel"] = np.full_like(conv2["kernel"], weight)
    return {**variables, "params": params}


def test_adaptive_kernel_of_one_tap_is_the_identity(adaptive):
    module, variables = adaptive
    apply = jax.jit(module.apply)
    np.testing.assert_array_equal(apply(saturated(variables, (-200, 200, -200), 100), X), X)
    later = apply(saturated(variables, (-200, -200, 200), 100), X)
    np.testing.assert_array_equal(later, np.concatenate([X[:, 1:], 0 * X[:, :1]], 1))


def test_adaptive_kernels_sum_to_one(adaptive):
    module, variables = adaptive
    static = np.broadcast_to(X[:, :1], X.shape)
    variables = saturated(variables, (0, 0, 0), 100)
    variables["params"]["global_fc2"] = adaptive[1]["params"]["global_fc2"]
    y = jax.jit(module.apply)(variables, static)
    np.testing.assert_allclose(y[:, 1:-1], static[:, 1:-1], rtol=1e-5)
    assert (np.abs(y[:, 0]) < 0.9 * np.abs(static[:, 0])).all()


def test_adaptive_module_is_for_one_number_of_frames(adaptive):
    module, variables = adaptive
    with pytest.raises(tempo.InputError, match=r"weights for clips of 4 frames and gets 3"):
        module.apply(variables, X[:, :3])
    with pytest.raises(tempo.InputError, match=r"'tam': kernel=4 must be odd"):
        TEMPORAL["tam"](Conv, EVAL, kernel=4).init(jax.random.key(0), X)


@pytest.mark.parity
def test_adaptive_module_equals_its_formula_in_torch(adaptive):
    """The formula of arXiv 2005.06803, section 3.2, with a group per clip and channel."""
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    module, variables = adaptive
    tensors = jax.tree.map(torch.tensor, variables)
    params, stats = tensors["params"], tensors["batch_stats"]

    def norm(name, x):
        leaves = (stats[name]["mean"], stats[name]["var"])
        return functional.batch_norm(
            x, *leaves, params[name]["scale"], params[name]["bias"], eps=1e-5
        )

    b, t, h, w, c = X.shape
    x = torch.tensor(X).permute(0, 4, 1, 2, 3)
    means = x.mean((3, 4))
    taps = means.reshape(b * c, t) @ params["global_fc1"]["kernel"]
    taps = functional.relu(norm("global_norm", taps)) @ params["global_fc2"]["kernel"]
    taps = functional.softmax(taps, -1)
    kernels = [params[f"local_conv{i}"]["kernel"][:, 0, 0].permute(2, 1, 0) for i in (1, 2)]
    local = functional.relu(norm("local_norm", functional.conv1d(means, kernels[0], padding=1)))
    x = x * torch.sigmoid(functional.conv1d(local, kernels[1]))[..., None, None]
    y = functional.conv3d(
        x.reshape(1, b * c, t, h, w),
        taps.reshape(b * c, 1, 3, 1, 1),
        padding=(1, 0, 0),
        groups=b * c,
    )
    expected = y.reshape(b, c, t, h, w).permute(0, 2, 3, 4, 1).numpy()
    np.testing.assert_allclose(jax.jit(module.apply)(variables, X), expected, rtol=1e-5, atol=1e-6)
