"""Models by name: exact parameter counts, multiply-adds, shapes, and what is refused."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tempo
from tempo import models, trees

CLIP = (1, 8, 224, 224, 3)
TINY = {"variant": "slowonly_r50", "depths": (1, 1, 1, 1), "width": 4}


@functools.lru_cache
def shapes(name, num_classes, clip=CLIP, **overrides):
    model = tempo.create_model(name, num_classes=num_classes, **overrides)
    video = jax.ShapeDtypeStruct(clip, jnp.float32)
    return jax.eval_shape(lambda v: model.init(jax.random.key(0), v, train=False), video)


@pytest.mark.parametrize(
    ("name", "num_classes", "part", "count"),
    [
        ("slowonly_r50", 400, "backbone", 31_634_496),
        ("slowonly_r50", 400, "", 32_454_096),
        ("slowonly_r101", 400, "backbone", 59_539_520),
        ("slowonly_r101", 400, "", 60_359_120),
        ("tsn_r50", 400, "backbone", 23_508_032),
        ("tsn_r50", 400, "", 24_327_632),
        ("tsm_r50", 174, "", 23_864_558),
        ("tsn_r101", 400, "backbone", 42_500_160),
        ("tsm_r101", 174, "", 42_856_686),
        # torchvision's counts of the image networks.
        ("tsn_r18", 1000, "", 11_689_512),
        ("tsn_r34", 1000, "", 21_797_672),
        ("tpn_slowonly_r50", 400, "", 91_498_336),
        ("tpn_slowonly_r101", 400, "", 119_403_360),
        ("tpn_tsn_r50", 400, "", 83_371_872),
        ("tpn_tsm_r50", 174, "", 82_445_724),
        ("tpn_tsm_r50", 174, "neck/aux_head_0", 19_234_990),
        ("tpn_slowonly_r50", 400, "neck/aux_head_0", 19_698_064),
        ("tpn_slowonly_r50", 400, "neck/spatial_mod_0_0", 18_878_464),
        ("tpn_slowonly_r50", 400, "neck/temporal_mod_0", 196_608),
        ("tpn_slowonly_r50", 400, "neck/temporal_mod_1", 196_608),
        ("tpn_slowonly_r50", 400, "neck/lateral_down_0", 3_145_728),
        ("tpn_slowonly_r50", 400, "neck/level_fusion_td", 4_268_032),
        ("tpn_slowonly_r50", 400, "neck/level_fusion_bu", 4_268_032),
        ("tpn_slowonly_r50", 400, "neck/pyramid_fusion", 8_392_704),
    ],
)
def test_parameter_count(name, num_classes, part, count):
    params = shapes(name, num_classes)["params"]
    for key in filter(None, part.split("/")):
        params = params[key]
    assert trees.count_params(params) == count


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("res45", 39_346_176),
        ("res345", 70_551_552),
        ("res2345", 102_937_600),
        ("res5", 35_680_256),
    ],
)
def test_neck_parameter_count_by_source_of_levels(source, count):
    model = models.create(
        400, name="tpn_slowonly_r50", neck={"source": source, "aux_levels": "none"}
    )
    video = jax.ShapeDtypeStruct(CLIP, jnp.float32)
    tree = jax.eval_shape(lambda v: model.init(jax.random.key(0), v, train=False), video)
    assert trees.count_params(tree["params"]["neck"]) == count


@pytest.mark.parametrize(
    ("name", "frames", "side", "gmacs"),
    [
        ("slowonly_r50", 8, 224, 41.74),
        ("slowonly_r50", 8, 256, 54.52),
        ("slowonly_r101", 8, 224, 85.41),
        ("tsn_r50", 8, 224, 32.70),
    ],
)
def test_multiply_adds(name, frames, side, gmacs):
    macs = multiply_adds(models.create(400, name=name, lowering="plain"), frames, side)
    assert macs / 1e9 == pytest.approx(gmacs, rel=1e-3)


def test_multiply_adds_of_backbone_and_neck_alone():
    """Res4 and res5, 8 frames of 224 px, one frame left of each level, no auxiliary head."""
    model = models.create(400, name="tpn_slowonly_r50", neck={"alphas": "equal"}, lowering="plain")
    backbone = multiply_adds(model.backbone, 8, 224)
    neck = multiply_adds(model, 8, 224) - backbone - 2048 * 400  # less those of the head
    assert backbone / 1e9 == pytest.approx(41.740, rel=1e-3)
    assert neck / 1e9 == pytest.approx(8.536, rel=1e-3)


def multiply_adds(module, frames, side):
    """Of one clip at inference."""
    video = jax.ShapeDtypeStruct((1, frames, side, side, 3), jnp.float32)
    variables = jax.eval_shape(lambda v: module.init(jax.random.key(0), v, train=False), video)
    return trees.count_macs(lambda v, x: module.apply(v, x, train=False), variables, video)


@pytest.mark.parametrize(("num_frames", "side"), [(8, 224), (16, 224), (32, 224), (8, 256)])
def test_slowonly_stage_shapes(num_frames, side):
    model = tempo.create_model("slowonly_r50", num_classes=400)
    rows = dict(models.describe(model, (2, num_frames, side, side, 3)))
    assert rows.pop("logits") == (2, 400)
    assert rows == {
        f"res{i}": (2, num_frames, side // 2**i, side // 2**i, 64 * 2**i) for i in range(2, 6)
    }


def test_inflated_network_strides_time_in_stem_and_pools():
    rows = dict(models.describe(tempo.create_model("i3d_r50", num_classes=5), (1, 32, 64, 64, 3)))
    assert [rows[f"res{i}"][1] for i in range(2, 6)] == [8, 4, 4, 4]
    kernels = shapes("i3d_r50", 5, clip=(1, 16, 64, 64, 3))["params"]["backbone"]
    assert [kernels[f"stage3_block{i}"]["conv1"]["kernel"].shape[0] for i in range(1, 7)] == [
        3, 1, 3, 1, 3, 1,
    ]  # fmt: skip
    assert kernels["stem_conv"]["kernel"].shape == (5, 7, 7, 3, 64)


def test_leaf_names_of_a_block():
    tree = shapes("tpn_slowonly_r50", 400)["params"]
    assert sorted(tree["backbone"]["stage1_block1"]) == [
        "conv1", "conv2", "conv3", "conv_proj", "norm1", "norm2", "norm3", "norm_proj",
    ]  # fmt: skip
    names = trees.leaf_names(tree)
    for name in ("backbone/stem_conv/kernel", "backbone/stem_norm/scale", "head/fc/bias"):
        assert name in names


def test_list_models_matches_patterns():
    assert tempo.list_models("tpn*") == [m for m in tempo.list_models() if m.startswith("tpn")]
    assert {"tsn_r50", "tsm_r50", "slowonly_r50", "slowonly_r101"} <= set(tempo.list_models())
    assert tempo.list_models("no_such*") == []


def test_mapping_and_preset_with_overrides_build_the_same_network():
    a = tempo.create_model("tpn_slowonly_r50", num_classes=5, backbone=TINY)
    b = tempo.create_model({"backbone": TINY, "neck": {"name": "tpn"}}, num_classes=5)
    for part in ("backbone", "neck", "head"):
        fields = [
            {k: v for k, v in vars(getattr(m, part)).items() if k not in ("conv", "norm")}
            for m in (a, b)
        ]
        assert {k: v for k, v in fields[0].items() if not k.startswith("_")} == {
            k: v for k, v in fields[1].items() if not k.startswith("_")
        }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "tpn_slowonly_r5"}, "Unknown model 'tpn_slowonly_r5'. Did you mean"),
        ({}, "needs a name"),
        ({"backbone": {"variant": "slowonly_r52"}}, "Did you mean 'slowonly_r50'"),
        ({"name": "tsn_r50", "backbone": {"widht": 8}}, "no key 'widht'. Did you mean 'width'"),
        ({"name": "tsn_r50", "backbone": {"conv": 8}}, "no key 'conv'"),
        ({"name": "tsn_r50", "backbone": {"act": "rellu"}}, "Did you mean 'relu'"),
        ({"name": "tsn_r50", "backbone": {"temporal": "tms"}}, "Did you mean 'tsm'"),
        ({"name": "tsn_r50", "backbone": {"depths": (1, 1)}}, "depths needs one entry per stage"),
        ({"name": "tsn_r50", "head": {"dropout_prop": 0.1}}, "Did you mean 'dropout_prob'"),
        ({"name": "tsn_r50", "neck": {"flow": "cascade"}}, "neck needs a name"),
        ({"name": "tsn_r50", "dtype": "float16"}, "Unknown dtype 'float16'"),
        ({"name": "tsn_r50", "norm": "bach"}, "Did you mean 'batch'"),
        ({"name": "tsn_r50", "lowering": "fold_sums"}, "Did you mean 'fold_sum'"),
        ({"name": "tpn_tsn_r50", "neck": {"flow": "paralel"}}, "Did you mean 'parallel'"),
        ({"name": "tpn_tsn_r50", "neck": {"source": "res46"}}, "Did you mean 'res4"),
        ({"name": "tpn_tsn_r50", "neck": {"alphas": "equals"}}, "Did you mean 'equal'"),
        ({"name": "tpn_tsn_r50", "neck": {"aux_levels": "second"}}, "Did you mean 'second_top'"),
    ],
)
def test_bad_arguments_are_refused_when_the_model_is_made(arguments, message):
    with pytest.raises(tempo.InputError) as error:
        models.create(5, **arguments)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_unknown_argument_of_create_model_is_refused():
    with pytest.raises(tempo.InputError, match="model has no key 'loweringg'"):
        tempo.create_model({"name": "tsn_r50", "loweringg": "plain"}, num_classes=5)


def test_number_of_classes_of_a_mapping_must_be_that_of_the_call():
    config = {"backbone": TINY, "num_classes": 7}
    assert tempo.create_model(config, num_classes=7).head.num_classes == 7
    with pytest.raises(tempo.InputError, match="num_classes=7 and the call num_classes=5"):
        tempo.create_model(config, num_classes=5)
    assert config["num_classes"] == 7  # the caller's mapping is left as it was


@pytest.mark.parametrize("num_classes", [0, -3, 2.5, "5"])
def test_number_of_classes_is_checked(num_classes):
    with pytest.raises(tempo.InputError, match="num_classes"):
        tempo.create_model("tsn_r50", num_classes=num_classes)


def test_lowerings_and_remat_give_the_same_logits_and_gradients(random_variables):
    base = {"name": "tpn_slowonly_r50", "backbone": TINY, "neck": {"groups": 4}}
    video = np.random.default_rng(0).normal(size=(2, 4, 32, 32, 3)).astype(np.float32)
    variables = random_variables(models.create(5, **base), video, train=False)

    def run(**extra):
        model = models.create(5, **base, **extra)

        @jax.jit
        def f(params):
            def loss(params):
                outputs = model.apply({**variables, "params": params}, video, train=False)
                return jnp.sum(outputs["logits"][:, 0])

            return jax.value_and_grad(loss)(params)

        return f(variables["params"])

    expected = run(lowering="plain")
    for extra in ({"lowering": "auto"}, {"lowering": "gpu", "remat": True}):
        for a, b in zip(jax.tree.leaves(run(**extra)), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5 + 1e-4 * np.abs(b).max())


def test_bfloat16_activations_float32_parameters_and_logits():
    model = models.create(
        5, name="tpn_slowonly_r50", backbone=TINY, neck={"groups": 4}, dtype="bfloat16"
    )
    video = jax.ShapeDtypeStruct((2, 4, 32, 32, 3), jnp.float32)

    def run(video):
        return model.init_with_output(
            {"params": jax.random.key(0), "dropout": jax.random.key(1)}, video, train=True
        )

    outputs, variables = jax.eval_shape(run, video)
    assert {x.dtype for x in outputs["features"].values()} == {jnp.dtype(jnp.bfloat16)}
    assert outputs["logits"].dtype == outputs["aux_logits"][0].dtype == jnp.float32
    assert {x.dtype for x in jax.tree.leaves(variables)} == {jnp.dtype(jnp.float32)}
