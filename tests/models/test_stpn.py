"""The spatiotemporal pyramid: its counts, the models it is built up from, and that it trains."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import tempo
from tempo import models, trees
from tempo.layers import sketch
from tempo.models.stpn import STPN, Snippets

TINY = {"variant": "c2d_r18", "depths": (1, 0, 0, 0), "width": 4}
PAIR = {"variant": "two_stream", "spatial": TINY, "temporal": TINY}
DIMS = {"level1_dim": 16, "level2_dim": 16, "level3_dim": 32, "attention_width": 4}
CONV = models.create(2, backbone=TINY).backbone.conv
KEY = jax.random.key(0)


def maps(num_snippets, channels=6):
    rng = np.random.default_rng(num_snippets)
    spatial = rng.normal(size=(2, 1, 3, 3, channels)).astype(np.float32)
    temporal = rng.normal(size=(2, num_snippets, 3, 3, channels)).astype(np.float32)
    return {"spatial": spatial, "temporal": temporal}


def neck(**fields):
    return STPN(CONV, 2, **{**DIMS, **fields})


def test_published_number_of_parameters():
    """Of 101 classes: two BN-Inceptions, 20 channels of flow, the attention, the classifier."""
    model = models.create(101, name="stpn_bninception", lowering="plain")
    clips = {
        "video": jax.ShapeDtypeStruct((1, 1, 64, 64, 3), jnp.float32),
        "flow": jax.ShapeDtypeStruct((1, 3, 64, 64, 20), jnp.float32),
    }
    shapes = sketch.traced(lambda key, x: model.init(key, x, train=False), KEY, clips)
    expected = 2 * 10_270_240 + 53_312 + 131_201 + 413_797
    assert trees.count_params(shapes["params"]) == expected == 21_138_790
    stored = trees.named(shapes["sketch"])
    places = {name: leaf.shape for name, leaf in stored.items() if "/h" in name}
    assert set(places.values()) == {(1024,)} and len(places) == 8
    dims = {name.split("/")[1]: int(d) for name, d in stored.items() if name.endswith("dim")}
    assert dims == {"level1": 1024, "level2": 2048, "level3": 4096}


def test_one_snippet_and_no_guidance_leave_the_simplest_model():
    x = maps(1)
    simplest = neck(level1="identity", guidance="none")
    (z, _), variables = simplest.init_with_output(KEY, x, train=False)
    assert z.shape == (2, 1, 1, 1, 32) and list(variables) == ["sketch"]
    fused, _ = neck(guidance="none").apply(variables, x, train=False)
    np.testing.assert_array_equal(fused, z)
    # Level three is that of the pooled maps alone.
    pool = sketch.CompactBilinear(32, normalisation="ssqrt_l2")
    own = {"sketch": variables["sketch"]["level3"]}
    vectors = [x[name].mean((1, 2, 3)) for name in ("spatial", "temporal")]
    np.testing.assert_allclose(z[:, 0, 0, 0], pool.apply(own, *vectors), rtol=1e-5, atol=1e-5)


def test_snippets_have_hashes_of_their_own_and_sums_have_none():
    x = maps(3)["temporal"]
    swapped = x[:, [1, 0, 2]]
    for mode, channels in {"concat": 18, "sum": 6, "stcb": 16}.items():
        module = Snippets(level1=mode, level1_dim=16)
        (y, _), variables = module.init_with_output(KEY, {"res5": x}, train=False)
        (other, _) = module.apply(variables, {"res5": swapped}, train=False)
        assert y.shape == (2, 1, 3, 3, channels) and "params" not in variables
        assert np.allclose(y, other, atol=1e-5) == (mode == "sum")
    np.testing.assert_allclose(np.linalg.norm(y, axis=-1), 4, rtol=1e-5)  # sqrt(16), at each place


def test_the_motion_map_guides_what_is_seen():
    x = maps(3)
    module = neck(level3="attention")
    (z, _), variables = module.init_with_output(KEY, x, train=False)
    np.testing.assert_allclose(z[:, 0, 0, 0], x["spatial"].mean((1, 2, 3)), atol=1e-6)
    variables["params"]["attention"]["conv2"]["kernel"] += 2.0
    (z, _), found = module.apply(variables, x, train=False, mutable=["intermediates"])
    (weights,) = found["intermediates"]["attention_weights"]
    expected = np.einsum("bthw,bthwc->bc", weights, x["spatial"])
    np.testing.assert_allclose(z[:, 0, 0, 0], expected, rtol=1e-5, atol=1e-6)
    still, _ = module.apply(variables, {**x, "temporal": -x["temporal"]}, train=False)
    assert np.abs(still - z).max() > 1e-3
    # Level two is normalised: brighter frames are looked at in the same places.
    variables["params"]["attention"]["conv2"]["kernel"] *= 0.1  # no place has it all
    (z, _) = module.apply(variables, x, train=False)
    (brighter, _) = module.apply(variables, {**x, "spatial": 16 * x["spatial"]}, train=False)
    np.testing.assert_allclose(brighter, 16 * z, rtol=1e-4, atol=1e-4)
    # Several frames are looked at one by one, and averaged.
    other = x["spatial"][:, :, ::-1] ** 2
    (alone, _) = module.apply(variables, {**x, "spatial": other}, train=False)
    both = np.concatenate([x["spatial"], other], 1)
    (mean, _) = module.apply(variables, {**x, "spatial": both}, train=False)
    assert np.abs(alone - z).max() > 0.1
    np.testing.assert_allclose(mean, (z + alone) / 2, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("given", [0.0, 3.0])
def test_the_norm_of_what_is_classified_is_the_scale(given):
    (z, _), _ = neck(guidance="none", l2_scale=given).init_with_output(KEY, maps(1), train=False)
    np.testing.assert_allclose(np.linalg.norm(z, axis=-1), given or 32**0.5, rtol=1e-5)


def test_half_precision_is_of_the_maps_alone():
    """What is fused, attended to and classified is float32, and near to that of full precision."""
    x = maps(3)
    variables = neck().init(KEY, x, train=False)
    variables["params"]["attention"]["conv2"]["kernel"] += 2.0
    conv = models.create(2, backbone=TINY, dtype="bfloat16").backbone.conv
    halves = jax.tree.map(lambda y: jnp.asarray(y, jnp.bfloat16), x)
    full, half = (
        module.apply(variables, given, train=False)[0]
        for module, given in ((neck(), x), (STPN(conv, 2, **DIMS), halves))
    )
    assert half.dtype == jnp.float32
    assert 0 < np.linalg.norm(half - full) < 0.05 * np.linalg.norm(full)


def test_auxiliary_heads_score_each_stream_in_training():
    x = maps(3)
    module = neck(aux_heads=True, guidance="none", aux_dropout_prob=0.0)
    (_, aux), variables = module.init_with_output(KEY, x, train=False)
    assert [y.shape for y in aux] == [(2, 2), (2, 2)]
    _, aux = module.apply(variables, x, train=True)
    fc = variables["params"]["aux_temporal"]["fc"]
    np.testing.assert_allclose(
        aux[1], x["temporal"].mean((1, 2, 3)) @ fc["kernel"] + fc["bias"], rtol=1e-4, atol=1e-6
    )
    assert module.apply(variables, x, train=False)[1] == ()


def test_the_whole_pyramid_learns_a_few_clips():
    """And its hashes stay as they were; one temporal network sees every snippet."""
    head = {"dropout_prob": 0.0}
    model = models.create(8, backbone=PAIR, neck={"name": "stpn", **DIMS}, head=head)
    rng = np.random.default_rng(0)
    clips = {
        "video": rng.normal(size=(8, 1, 16, 16, 3)),
        "flow": rng.normal(size=(8, 3, 16, 16, 4)),
    }
    clips = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), clips)
    variables = jax.jit(lambda: model.init(KEY, clips, train=False))()
    alone = {**clips, "flow": clips["flow"][:, :1]}
    single = jax.eval_shape(lambda: model.init(KEY, alone, train=False))["params"]
    assert trees.count_params(single) == trees.count_params(variables["params"])
    optimizer = optax.adam(0.01)
    labels = jnp.arange(8)

    @jax.jit
    def step(params, stats, state):
        def loss(params):
            both = {**variables, "params": params, "batch_stats": stats}
            outputs, new = model.apply(both, clips, train=True, mutable=["batch_stats"])
            losses = optax.softmax_cross_entropy_with_integer_labels(outputs["logits"], labels)
            return losses.mean(), (outputs["logits"], new["batch_stats"])

        (value, (logits, stats)), gradients = jax.value_and_grad(loss, has_aux=True)(params)
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), stats, state, value, logits, gradients

    params, stats = variables["params"], variables["batch_stats"]
    state = optimizer.init(params)
    for i in range(60):
        params, stats, state, value, logits, gradients = step(params, stats, state)
        assert np.isfinite(value)
        if i == 1:  # of the first step conv2 is zero, and nothing comes through it
            assert all(np.abs(g).max() > 0 for g in jax.tree.leaves(gradients["backbone"]))
            assert np.abs(gradients["neck"]["attention"]["conv1"]["kernel"]).max() > 0
    assert (logits.argmax(-1) == labels).all()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"level1": "st_cb"}, "Did you mean 'stcb'"),
        ({"guidance": "level2"}, "Did you mean 'level1'"),
        ({"level3": "attention", "guidance": "none"}, "neck.guidance='level1'"),
        ({"level3_dim": 0}, "neck.level3_dim must be a whole number"),
        ({"l2_scale": -1.0}, "neck.l2_scale must be a number of at least 0"),
        ({"method": "scater"}, "Did you mean 'scatter'"),
    ],
)
def test_wrong_fields_are_told(fields, message):
    with pytest.raises(tempo.InputError, match=message):
        neck(**fields)


def test_wrong_features_are_told():
    x = maps(3)
    with pytest.raises(tempo.InputError, match=r"passes one snippet on and gets 3"):
        neck(level1="identity").init(KEY, x, train=False)
    with pytest.raises(tempo.InputError, match="needs maps of one size"):
        neck().init(KEY, {**x, "spatial": x["spatial"][:, :, :2]}, train=False)
    with pytest.raises(tempo.InputError, match="variant two_stream"):
        neck().init(KEY, {"res5": x["spatial"]}, train=False)
    module = Snippets(level1_dim=16)
    variables = module.init(KEY, {"res5": x["temporal"]}, train=False)
    with pytest.raises(tempo.InputError, match="hashes for 3 inputs and gets 2"):
        module.apply(variables, {"res5": x["temporal"][:, :2]}, train=False)
