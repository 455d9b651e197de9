"""Compact bilinear pooling against convolutions, outer products and statistics in plain numpy."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tempo
from tempo.layers import count_sketch, sketch
from tempo.layers.sketch import CompactBilinear

KEY = jax.random.key(0)


def features(*widths, rows=5, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(rows, p)).astype(np.float32) for p in widths]


def hashes(variables, i):
    stored = variables["sketch"]
    return np.asarray(stored[f"h{i}"]), np.asarray(stored[f"s{i}"], np.float64)


def sketched(x, h, s, dim):
    out = np.zeros((*x.shape[:-1], dim))
    for n, place in enumerate(h):
        out[..., place] += s[n] * x[..., n].astype(np.float64)
    return out


def error(got, expected):
    return np.abs(np.asarray(got) - expected).max() / np.abs(expected).max()


@pytest.mark.parametrize("transform", ["fft", "dft"])
@pytest.mark.parametrize(("widths", "dim"), [((7, 5), 63), ((7, 5, 9), 64), ((7, 5, 9), 512)])
def test_equals_the_circular_convolution_and_the_sketch_of_the_outer_product(
    widths, dim, transform
):
    x = features(*widths, rows=2)
    z, variables = jax.jit(CompactBilinear(dim, transform=transform).init_with_output)(KEY, *x)
    pairs = [hashes(variables, i) for i in range(1, len(x) + 1)]
    convolved = sketched(x[0], *pairs[0], dim)
    for y, pair in zip(x[1:], pairs[1:], strict=True):
        y = sketched(y, *pair, dim)
        full = np.stack([np.convolve(a, b) for a, b in zip(convolved, y, strict=True)])
        convolved = full[:, :dim] + np.pad(full[:, dim:], ((0, 0), (0, 1)))
    outer = np.zeros((2, dim))
    for place in itertools.product(*map(range, widths)):
        h = sum(h[n] for (h, _), n in zip(pairs, place, strict=True)) % dim
        s = math.prod(s[n] for (_, s), n in zip(pairs, place, strict=True))
        outer[:, h] += s * math.prod(y[:, n] for y, n in zip(x, place, strict=True))
    assert error(convolved, outer) < 1e-6  # of float32 products, the second
    assert error(z, convolved) < (1e-5 if transform == "dft" else 1e-6)


@pytest.mark.parametrize("way", [*count_sketch.METHODS, "dft"])
def test_every_way_gives_the_same_values_and_gradients(way, monkeypatch):
    monkeypatch.setattr(count_sketch, "ROWS_TOGETHER", 4)  # the last part is filled up
    x = features(6, 4, 3, rows=7)
    given = {"transform": "dft"} if way == "dft" else {"method": way}
    module = CompactBilinear(16, **given)
    z, variables = jax.jit(module.init_with_output)(KEY, *x)
    weights = np.random.default_rng(1).normal(size=z.shape)
    run = jax.jit(
        jax.value_and_grad(lambda *x: jnp.sum(module.apply(variables, *x) * weights), (0, 1, 2))
    )
    value, gradients = run(*x)
    pairs = [hashes(variables, i) for i in (1, 2, 3)]
    spectra = [np.fft.rfft(sketched(y, *p, 16)) for y, p in zip(x, pairs, strict=True)]
    np.testing.assert_allclose(value, np.sum(np.fft.irfft(math.prod(spectra)) * weights), rtol=1e-5)
    for i, (h, s) in enumerate(pairs):
        others = math.prod(spectra[:i] + spectra[i + 1 :])
        correlation = np.fft.irfft(np.fft.rfft(weights) * np.conj(others))
        assert error(gradients[i], s * correlation[:, h]) < 1e-5


def test_gradient_of_a_sketch_is_a_gather():
    (x,) = features(6)
    h, s = jnp.array([3, 0, 3, 1, 2, 3]), jnp.array([1.0, -1, -1, 1, 1, -1])
    for method in ("auto", *count_sketch.METHODS):
        y, back = jax.vjp(lambda x, m=method: count_sketch.count_sketch(x, h, s, 4, m), x)
        np.testing.assert_allclose(y, sketched(x, h, s, 4), rtol=1e-6, atol=1e-7)
        g = jnp.arange(20.0).reshape(5, 4)
        assert (back(g)[0] == g[:, h] * s).all()


def test_published_sizes_equal_a_convolution_in_double_precision():
    x = features(1024, 1024, 1024, rows=2)
    z, variables = CompactBilinear(4096).init_with_output(KEY, *x)
    pairs = [hashes(variables, i) for i in (1, 2, 3)]
    spectra = [np.fft.rfft(sketched(y, *p, 4096)) for y, p in zip(x, pairs, strict=True)]
    assert error(z, np.fft.irfft(math.prod(spectra))) < 1e-6


def test_a_tuple_is_convolved_as_a_list_is():
    x = features(8, 8)
    listed, tupled = (
        jax.vjp(count_sketch.circular_convolution, kind(x))[1](x[0])[0] for kind in (list, tuple)
    )
    assert isinstance(tupled, tuple)
    np.testing.assert_array_equal(listed, tupled)


def test_method_follows_the_size_on_a_cpu_and_is_a_product_elsewhere(monkeypatch):
    assert count_sketch.choose(1568, 1024, 4096) == "loop"
    assert count_sketch.choose(64, 64, 256) == "matmul"
    assert count_sketch.choose(64, 64, 256, "scatter") == "scatter"
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert count_sketch.choose(1568, 1024, 4096) == "matmul"


@pytest.mark.parametrize("num_inputs", [2, 3])
def test_inner_products_are_those_of_the_outer_products_in_expectation(num_inputs):
    """Their deviation is that of independent hashes, which falls with the square root of d.

    Two terms of a product of sketches, of which the features differ in k of m inputs, collide with
    probability 1/d, and count twice where both vectors have both features.
    """
    pairs, cosine = [], 0.8
    for y in features(*(64,) * num_inputs, rows=2, seed=7):
        a, b = np.linalg.qr(y.T)[0].T
        pairs.append(np.stack([a, cosine * a + (1 - cosine**2) ** 0.5 * b]))
    expected, square = cosine**num_inputs, cosine**2
    collisions = (1 + square) ** num_inputs + square**num_inputs * (2**num_inputs - 2)
    assert abs(collisions**0.5 - {2: 1.87, 3: 2.44}[num_inputs]) < 0.01
    for dim in (256, 2048):
        module = CompactBilinear(dim, method="matmul")

        def draw(key, module=module):
            x, y = module.init_with_output(key, *pairs)[0]
            return x @ y

        found = np.asarray(jax.jit(jax.vmap(draw))(jax.random.split(KEY, 200)))
        assert abs(found.mean() - expected) < 3 * found.std() / 200**0.5
        assert abs(found.std() * dim**0.5 / collisions**0.5 - 1) < 0.25


def test_linear_in_every_input_and_not_symmetric():
    x, y = features(8, 8)
    z, variables = CompactBilinear(32).init_with_output(KEY, x, y)
    assert (CompactBilinear(32).apply(variables, 2 * x, y) == 2 * z).all()
    swapped = CompactBilinear(32).apply(variables, y, x)
    assert np.abs(swapped - z).max() > 0.1
    stored = variables["sketch"]
    other = {**stored, **{a + b: stored[a + c] for a in "hs" for b, c in ("12", "21")}}
    np.testing.assert_allclose(
        CompactBilinear(32).apply({"sketch": other}, y, x), z, rtol=1e-5, atol=1e-5
    )


def test_hashes_are_no_parameters_and_independent():
    x = features(200, 200)
    first, second = (CompactBilinear(64).init(jax.random.key(k), *x) for k in (0, 1))
    assert set(first) == {"sketch"}
    (h1, s1), (h2, s2) = (hashes(first, i) for i in (1, 2))
    for h, s in ((h1, s1), (h2, s2)):
        assert h.min() >= 0 and h.max() < 64 and len(set(h)) > 50
        assert set(s) == {-1, 1} and abs(s.sum()) < 60
    assert (h1 == h2).mean() < 0.1 and (h1 == hashes(second, 1)[0]).mean() < 0.1
    assert 0.3 < (s1 == s2).mean() < 0.7


def test_half_precision_inputs_are_multiplied_in_full():
    x = [1e3 * y / np.linalg.norm(y, axis=1, keepdims=True) for y in features(64, 64, 64)]
    z, variables = CompactBilinear(128).init_with_output(KEY, *x)
    halves = CompactBilinear(128).apply(variables, *(jnp.asarray(y, jnp.bfloat16) for y in x))
    assert halves.dtype == jnp.float32 and np.isfinite(halves).all()
    assert np.linalg.norm(halves - z) < 1e-2 * np.linalg.norm(z)


@pytest.mark.parametrize("name", ["l2", "ssqrt_l2"])
def test_norm_is_the_scale_and_gradients_at_zero_are_finite(name):
    x, y = features(8, 8)
    x[2] = 0
    z, variables = CompactBilinear(64, normalisation=name).init_with_output(KEY, x, y)
    norms = np.linalg.norm(z, axis=1)
    np.testing.assert_allclose(norms, [8, 8, 0, 8, 8], rtol=1e-6)  # sqrt(64)
    module = CompactBilinear(64, normalisation=name, l2_scale=3.0)
    np.testing.assert_allclose(np.linalg.norm(module.apply(variables, x, y)[0]), 3, rtol=1e-5)
    gradients = jax.grad(lambda x, y: module.apply(variables, x, y).sum(), (0, 1))(x, y)
    assert np.isfinite(gradients[0]).all() and np.isfinite(gradients[1]).all()
    assert np.abs(gradients[1][0]).max() > 0


@pytest.mark.parametrize("name", ["l2", "ssqrt_l2"])
def test_gradients_at_nearly_dead_places_are_bounded(name):
    """They grew as the inverse of the features, and overflowed at last."""
    x, y = features(8, 8)
    module = CompactBilinear(64, normalisation=name)
    variables = module.init(KEY, x, y)
    run = jax.grad(lambda x, y: (module.apply(variables, x, y) * jnp.arange(64)).sum(), (0, 1))
    usual = max(np.abs(g).max() for g in run(x, y))
    for size in (1e-4, 1e-8, 1e-16, 1e-30):
        both, one = run(x * size, y * size), run(x * size, y)
        assert np.isfinite([*both, *one]).all()
        assert np.abs(both).max() < 1e4 * usual and np.abs(one[0]).max() < 1e7 * usual, size
        assert np.abs(one[1]).max() < 2 * usual


def test_signed_square_root():
    x = jnp.array([-4.0, 0.0, 9.0])
    np.testing.assert_allclose(sketch.signed_sqrt(x), [-2, 0, 3], rtol=1e-6)
    slope = jax.vmap(jax.grad(sketch.signed_sqrt))(x)
    np.testing.assert_allclose(slope, [1 / 4, 0, 1 / 6], rtol=1e-5)


def test_stored_hashes_are_checked():
    x = features(8, 6)
    module = CompactBilinear(16)
    own = sketch.traced(lambda key: module.init(key, *x), KEY)["sketch"]
    stored = module.init(KEY, *x)["sketch"]
    assert own["dim"] == stored["dim"] == 16
    sketch.check(stored, own)
    sketch.check({"neck": {"level1": stored}}, {"neck": {"level1": own}})
    bad = {
        "no sketch 'dim'": {},
        "no sketch 's2'": {k: v for k, v in stored.items() if k != "s2"},
        "'h3' is none of this network's": {**stored, "h3": stored["h1"]},
        "is of 32 dimensions and this network's of 16": {**stored, "dim": np.int32(32)},
        r"h1 is for features of \(6,\) and this network's have \(8,\)": {
            **stored,
            "h1": stored["h2"],
        },
        "h1 has the place 16, outside 0 to 15": {**stored, "h1": stored["h1"].at[3].set(16)},
        "s1 has the sign 0.5": {**stored, "s1": stored["s1"].at[3].set(0.5)},
    }
    for message, tree in bad.items():
        with pytest.raises(tempo.InputError, match=message):
            sketch.check(tree, own, "file")
    with pytest.raises(tempo.InputError, match="no sketch 'neck'"):
        sketch.check(None, {"neck": own})


def test_wrong_inputs_are_told():
    x, y = features(8, 6)
    variables = CompactBilinear(16).init(KEY, x, y)
    with pytest.raises(tempo.InputError, match="hashes for 2 inputs and gets 3"):
        CompactBilinear(16).apply(variables, x, y, y)
    with pytest.raises(tempo.InputError, match="two inputs or more; got 1"):
        CompactBilinear(16).init(KEY, x)
    with pytest.raises(tempo.InputError, match="alike but for their channels"):
        CompactBilinear(16).init(KEY, x, y[:2])
    with pytest.raises(tempo.InputError, match="from 1 to 32767"):
        CompactBilinear(0)
    with pytest.raises(tempo.InputError, match="Did you mean 'ssqrt_l2'"):
        CompactBilinear(16, normalisation="ssqrt")
