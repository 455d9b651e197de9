"""The temporal pyramid neck: frames of its levels, its parts, auxiliary heads, refusals."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tempo
from tempo import models
from tempo.models import tpn
from tests.models.nets import (
    WIDTH,
    apply_training,
    named_leaves,
    neck,
    pyramids,
    stage_shapes,
)


@pytest.mark.parametrize(
    ("fields", "frames"),
    [
        ({"source": "res45"}, [2, 1]),
        ({"source": "res345"}, [4, 2, 1]),
        ({"source": "res2345"}, [8, 4, 2, 1]),
        ({"source": "res5"}, [8, 4, 2, 1]),
        ({"source": "res5", "single_depth": "pool"}, [8, 4, 2, 1]),
        ({"source": "res45", "alphas": "equal"}, [1, 1]),
        ({"source": "res45", "alphas": (1, 2)}, [8, 4]),
        ({"source": "res2345", "temporal_modulation": False}, [8, 8, 8, 8]),
        ({"source": "res2345", "spatial_modulation": False}, [8, 4, 2, 1]),
    ],
)
@pytest.mark.parametrize("flow", sorted(tpn.FLOWS))
def test_frames_per_level_and_output_shape(fields, frames, flow, stages):
    module = neck(**{"groups": 2, **fields}, flow=flow)
    init = functools.partial(module.init_with_output, train=False)
    (out, _), seen = pyramids(jax.eval_shape, lambda s: init(jax.random.key(0), s)[0], stages)
    for levels in seen.values():
        assert [x.shape for x in levels] == [(2, t, 2, 2, WIDTH // 2) for t in frames]
    assert len(seen) == (2 if flow in ("parallel", "cascade") else 1)
    assert out.shape == (2, frames[-1], 2, 2, WIDTH)


def parameter_parts(**fields):
    init = functools.partial(neck(**fields).init, train=False)
    return jax.eval_shape(init, jax.random.key(0), stage_shapes(1))["params"]


def test_each_component_can_be_removed():
    full = parameter_parts()
    assert "spatial_mod_0_0" in full
    assert "spatial_mod_0_0" not in parameter_parts(spatial_modulation=False)
    assert full["temporal_mod_0"]["kernel"].shape == (3, 1, 1, 8, 16)
    assert parameter_parts(temporal_modulation=False)["temporal_mod_0"]["kernel"].shape[0] == 1
    assert "lateral_down_0" not in parameter_parts(flow="isolation")
    assert "pyramid_fusion" not in parameter_parts(flow="isolation")
    assert not any("aux" in key for key in parameter_parts(aux_levels="none"))


@pytest.mark.parametrize(
    ("source", "aux_levels", "heads"),
    [
        ("res45", "second_top", {"aux_head_0": 16}),
        ("res345", "second_top", {"aux_head_1": 16}),
        ("res2345", "all_but_top", {"aux_head_0": 4, "aux_head_1": 8, "aux_head_2": 16}),
        ("res2345", "none", {}),
        ("res5", "second_top", {}),
    ],
)
def test_auxiliary_heads_by_level(source, aux_levels, heads):
    params = parameter_parts(source=source, aux_levels=aux_levels, groups=2)
    kernels = {k: v["conv"]["conv"]["kernel"].shape for k, v in params.items() if "aux" in k}
    assert kernels == {k: (1, 3, 3, c, 2 * c) for k, c in heads.items()}


@pytest.fixture(scope="module")
def small_model():
    return models.create(
        5,
        name="tpn_slowonly_r50",
        backbone={"depths": (1, 1, 1, 1), "width": 2},
        neck={"groups": 2},
    )


def test_auxiliary_logits_come_in_training_only(small_model, random_variables):
    clip = np.random.default_rng(0).normal(size=(2, 4, 32, 32, 3)).astype(np.float32)
    variables = random_variables(small_model, clip, train=False)
    run = jax.jit(functools.partial(small_model.apply, train=False))
    outputs = run(variables, clip)
    assert "aux_logits" not in outputs
    neck_params = {k: v for k, v in variables["params"]["neck"].items() if "aux" not in k}
    without = {**variables, "params": {**variables["params"], "neck": neck_params}}
    np.testing.assert_array_equal(run(without, clip)["logits"], outputs["logits"])
    trained, _ = jax.eval_shape(
        lambda v: apply_training(small_model, v, v["params"], clip), variables
    )
    assert [a.shape for a in trained["aux_logits"]] == [(2, 5)]


def test_gradient_of_the_auxiliary_head_reaches_res4_and_below_only(small_model, random_variables):
    clip = np.random.default_rng(0).normal(size=(2, 4, 32, 32, 3)).astype(np.float32)
    variables = random_variables(small_model, clip, train=False)

    @jax.jit
    def gradient(params):
        def loss(params):
            outputs, _ = apply_training(small_model, variables, params, clip)
            return jnp.sum(outputs["aux_logits"][0] ** 2)

        return jax.grad(loss)(params)

    gradients = gradient(variables["params"])
    for name, g in named_leaves(gradients).items():
        below = name.startswith("backbone") and "stage4" not in name
        # A norm takes away what a shift before it adds; scale and kernel tell.
        if below and name.endswith(("kernel", "scale")):
            assert np.abs(g).max() > 0, name
        elif not below and "aux_head" not in name:
            assert np.abs(g).max() == 0, name


# --- what is refused ---


@pytest.mark.parametrize(
    ("fields", "num_frames", "message"),
    [
        ({"alphas": (3, 8)}, 8, "divide the 8 frames"),
        ({"alphas": (0, 8)}, 8, "divide the 8 frames"),
        ({"alphas": (8, 16)}, 8, "divide the 8 frames"),
        ({"alphas": (2, 4, 8)}, 8, "3 entries for the 2 levels"),
        ({"alphas": (8, 4)}, 8, "must divide the next"),
        ({"alphas": (3, 4)}, 12, "must divide the next"),
        ({"source": "res2345"}, 12, "'rule' needs a multiple of 8"),
    ],
)
def test_alphas_that_do_not_fit_are_refused_when_traced(fields, num_frames, message):
    model = models.create(5, name="tpn_slowonly_r18", backbone={"width": 4}, neck=fields)
    with pytest.raises(tempo.InputError) as error:
        models.describe(model, (1, num_frames, 32, 32, 3))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_groups_that_do_not_divide_the_channels_are_refused():
    model = models.create(5, name="tpn_slowonly_r18", backbone={"width": 2})
    with pytest.raises(tempo.InputError, match="neck/temporal_mod_0: groups=32 must divide"):
        models.describe(model, (1, 8, 32, 32, 3))
