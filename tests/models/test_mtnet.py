"""MTNet's sizes beside the paper's tables, its shapes for any clip, and what is refused."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tempo
from tempo import trees
from tempo.layers.recurrent import SqueezeRecursion
from tempo.models import mtnet, presets
from tests.models import nets

WIDTHS = (24, 48, 96, 192)
DEPTHS = {"m": (3, 5, 11, 7), "l": (5, 10, 25, 15)}
BLOCK = re.compile(r"stage(\d)_block(\d)")

# Millions of parameters and G multiply-adds of MTNet-M at 16x224, 200 classes, by ratio: table 6a
# of arXiv 2011.03949, and counts with PyTorch of the network built here.
RATIOS = {
    1.0: ((29.7, 10.8), (29.51, 11.23)),
    0.875: ((25.8, 8.8), (25.83, 8.80)),
    0.75: ((21.8, 6.7), (21.59, 6.67)),
    0.625: ((19.3, 4.8), (19.04, 4.93)),
    0.5: ((18.6, 3.6), (18.20, 3.57)),
    0.375: ((19.2, 2.6), (19.05, 2.62)),
    0.25: ((21.0, 2.1), (21.60, 2.01)),
}
# Millions of parameters by cell: table 6b, and counts with PyTorch.
CELLS = {
    "rnn": (24.3, 24.31),
    "lstm": (26.5, 26.57),
    "lstm_peephole": (26.5, 26.58),
    "gru": (25.8, 25.83),
}


@functools.lru_cache
def of_blocks(ratio):
    """Parameters and multiply-adds by (stage, block) with two blocks per stage; () is the rest.

    Blocks behind the second are like it, and a deep network takes long to trace.
    """
    backbone = {"ratio": ratio, "depths": (2, 2, 2, 2), "sr_layers": int(ratio < 1)}
    model = tempo.create_model("mtnet_m", 200, backbone=backbone, lowering="plain")
    seen = {}

    def run(video):
        outputs, variables = model.init_with_output(jax.random.key(0), video, train=False)
        seen["params"] = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), variables)
        return outputs["logits"]

    with nets.shapes_alone():
        found = trees.macs_by_scope(run, jax.ShapeDtypeStruct((1, 16, 224, 224, 3), jnp.float32))
    sizes = {}
    for kind, counts in (
        (0, {k: np.prod(v) for k, v in trees.named_shapes(seen["params"]["params"]).items()}),
        (1, found),
    ):
        for name, count in counts.items():
            place = tuple(map(int, BLOCK.search(name).groups())) if BLOCK.search(name) else ()
            sizes.setdefault(place, [0, 0])[kind] += int(count)
    return sizes


def whole(ratio, depths=DEPTHS["m"]):
    """Parameters and multiply-adds of a network of these depths, 200 classes."""
    sizes = of_blocks(ratio)
    total = np.array(sizes[()])
    for stage, depth in enumerate(depths, start=1):
        total = total + sizes[stage, 1] + (depth - 1) * np.array(sizes[stage, 2])
    return total


def gates(cell="gru", num_layers=1, depths=DEPTHS["m"]):
    """Parameters of the gates of a network."""
    count = 0
    for width, depth in zip(WIDTHS, depths, strict=True):
        gate = SqueezeRecursion(cell, num_layers)
        x = jax.ShapeDtypeStruct((1, 1, width), jnp.float32)
        tree = jax.eval_shape(lambda x, g=gate: g.init(jax.random.key(0), x, method="gates"), x)
        count += depth * trees.count_params(tree)
    return count


def second_biases(num_layers=1, depths=DEPTHS["m"]):
    """What PyTorch's GRU has beyond flax's: two biases of the gates that are only ever added."""
    return num_layers * sum(2 * w * d for w, d in zip(WIDTHS, depths, strict=True))


def test_the_tables_of_ratios_and_cells():
    """To 0.1 % of the parameters and 1 % of the multiply-adds of the same network in PyTorch."""
    print("\nMTNet-M by ratio: M parameters / GMACs of the paper, in PyTorch, here")
    for ratio, (paper, torch) in RATIOS.items():
        params, macs = whole(ratio)
        ours = (params / 1e6, macs / 1e9)
        print(f"{ratio:6}" + "".join(f"{p:9.2f} /{m:6.2f}" for p, m in (paper, torch, ours)))
        assert ours[0] == pytest.approx(torch[0], rel=1e-3)
        assert ours[1] == pytest.approx(torch[1], rel=1e-2)
    print("MTNet-M by cell: M parameters of the paper, in PyTorch, here")
    rest = whole(0.875)[0] - gates()
    for cell, (paper, torch) in CELLS.items():
        ours = (rest + gates(cell)) / 1e6
        print(f"{cell:14}{paper:7.2f}{torch:7.2f}{ours:7.2f}")
        assert ours == pytest.approx(torch, rel=1e-3)


def test_parameters_fall_to_equal_parts_and_multiply_adds_with_the_ratio():
    ratios = sorted(RATIOS, reverse=True)
    params, macs = np.array([whole(ratio) for ratio in ratios]).T
    assert (np.diff(params[:5]) < 0).all()
    assert (np.diff(macs) < 0).all()
    for ratio in (0.625, 0.75):
        np.testing.assert_allclose(whole(ratio)[0], whole(1 - ratio)[0], rtol=1e-3)


@pytest.mark.parametrize(
    ("size", "num_layers", "num_classes", "millions"),
    [
        ("m", 1, 200, 25.831),
        ("m", 1, 400, 25.870),
        ("m", 1, 700, 25.927),
        ("m", 2, 200, 28.083),
        ("m", 2, 400, 28.122),
        ("l", 1, 200, 58.263),
        ("l", 1, 400, 58.301),
        ("l", 2, 400, 63.19),
    ],
)
def test_parameters_are_those_in_pytorch(size, num_layers, num_classes, millions):
    depths = DEPTHS[size]
    count = whole(0.875, depths)[0] + (num_classes - 200) * (192 + 1)
    count += gates(num_layers=num_layers, depths=depths) - gates(depths=depths)
    count += second_biases(num_layers, depths)
    digits = len(str(millions).split(".")[1])
    assert round(count / 1e6, digits) == millions


@pytest.mark.parametrize(
    ("place", "width", "count"),
    [((1, 1), 24, 43_638), ((2, 1), 48, 81_845), ((4, 2), 192, 2_736_432)],
)
def test_parameters_of_blocks_are_those_in_pytorch(place, width, count):
    assert of_blocks(0.875)[place][0] + 2 * width == count


def test_presets():
    for size, clip in (("s", (16, 182)), ("m", (16, 224)), ("l", (16, 224))):
        for name, num_layers in ((f"mtnet_{size}", 1), (f"mtnet_{size}_text", 2)):
            made = tempo.create_model(name, 5).backbone
            assert made.depths == DEPTHS[size.replace("s", "m")]
            assert made.sr_layers == num_layers
            assert presets.clip_of(name) == clip


def test_options_reach_the_network():
    options = {"ratio": 0.5, "sr_layers": 0, "cell": "lstm", "mtconv": {"pool": "avg"}}
    made = tempo.create_model("mtnet_m", 5, backbone=options).backbone
    split = made._split(made.norm)()
    assert (split.pool, split.ratio) == ("avg", 0.5)


def tiny(**fields):
    backbone = {"depths": (1, 1, 1, 1), "widths": (6, 6, 8, 8), "expansion": 1.5, **fields}
    return tempo.create_model("mtnet_m", 5, backbone=backbone)


def stage_shapes(model, frames, height, width):
    video = jax.ShapeDtypeStruct((1, frames, height, width, 3), jnp.float32)
    run = functools.partial(model.init_with_output, jax.random.key(0), train=False)
    features = jax.eval_shape(run, video)[0]["features"]
    return [features[f"res{i}"].shape[1:] for i in range(2, 6)]


def test_stages_of_the_published_clip():
    model = tempo.create_model("mtnet_m", 5, backbone={"depths": (1, 1, 1, 1)})
    assert stage_shapes(model, 16, 224, 224) == [
        (8, 56, 56, 24),
        (4, 28, 28, 48),
        (2, 14, 14, 96),
        (1, 7, 7, 192),
    ]


@pytest.mark.parametrize(
    ("frames", "height", "width"),
    [(1, 1, 3), (2, 97, 64), (5, 91, 112), (8, 112, 158), (13, 182, 356)],
)
def test_clips_of_any_size(frames, height, width):
    """Those of multigrid training too, and the sides that it multiplies."""

    def halved(n, times):
        return -(-n // 2**times)

    expected = [
        (halved(max(1, frames // 2), i), halved(height, i + 2), halved(width, i + 2), channels)
        for i, channels in enumerate((6, 6, 8, 8))
    ]
    assert stage_shapes(tiny(), frames, height, width) == expected


@pytest.mark.parametrize("block", mtnet.BLOCKS)
def test_bodies_of_blocks(block):
    """One gate, a projection where the width changes, and one MTConv but for `mt4`'s four."""
    model = tiny(block=block, depths=(1, 1, 0, 0), use_se=True)
    video = jax.ShapeDtypeStruct((1, 4, 16, 16, 3), jnp.float32)
    init = functools.partial(model.init, jax.random.key(0), train=False)
    params = jax.eval_shape(init, video)["params"]["backbone"]
    split = [1, 2, 3, 4] if block == "mt4" else [2]
    plain = [] if block == "mt4" else [1, 3]
    names = {f"mtconv{i}" for i in split} | {
        f"{kind}{i}" for i in plain for kind in ("conv", "norm")
    }
    names |= {"gate", "se"}
    assert params["stage1_block1"].keys() == names
    assert params["stage2_block1"].keys() == names | {"conv_proj", "norm_proj"}
    if block == "mt4":
        # Beside a projection the last convolution sees one place.
        kernels = [params[f"stage{i}_block1"]["mtconv4"]["local_conv"]["kernel"] for i in (1, 2)]
        assert [kernel.shape[:3] for kernel in kernels] == [(1, 3, 3), (1, 1, 1)]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"ratio": 0}, "backbone.ratio must be a number above 0 and at most 1"),
        ({"ratio": 1.25}, "backbone.ratio must be a number above 0 and at most 1"),
        ({"ratio": "half"}, "backbone.ratio must be a number above 0 and at most 1"),
        ({"cell": "grus"}, "Unknown cell (config.backbone.cell) 'grus'. Did you mean 'gru'?"),
        ({"block": "mt5"}, "Unknown block (config.backbone.block) 'mt5'. Did you mean 'mt4'?"),
        ({"mtconv": {"pool": "avgg"}}, "'avgg'. Did you mean 'avg'?"),
        ({"mtconv": {"pol": "avg"}}, "has no option 'pol'. Did you mean 'pool'?"),
        ({"mtconv": {"ratio": 0.5}}, "has no option 'ratio'"),
        ({"mtconv": "avg"}, "backbone.mtconv must be a mapping of options"),
        ({"stem_frames": "half"}, "Unknown stem_frames"),
        ({"sr_layers": 1.5}, "backbone.sr_layers must be a whole number of at least 0"),
        ({"widths": (24, 48)}, "backbone.widths needs one entry per stage, 4"),
        ({"expansion": 0.01}, "it must be at least 1 / 24"),
        ({"expansion": float("inf")}, "backbone.expansion must be a number above 0"),
        ({"mtconv": {"name": "abc"}}, "backbone.mtconv has options and no name; got name='abc'"),
    ],
    ids=str,
)
def test_fields_that_cannot_be(fields, message):
    with pytest.raises(tempo.InputError) as error:
        tempo.create_model("mtnet_m", 5, backbone=fields)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_clips_of_nothing_are_refused():
    with pytest.raises(tempo.InputError, match="Clips of 4x0x8 .* leave the stages of MTNet"):
        stage_shapes(tiny(), 4, 0, 8)


@pytest.mark.parametrize(
    "backbone",
    [
        {"variant": "mtnet_s", "widths": (8,) * 4, "mtconv": {"pool": "stochastic"}},
        {"variant": "c2d_r50", "width": 8, "conv_b": {"name": "mtconv", "pool": "stochastic"}},
    ],
)
def test_stochastic_pools_draw_in_training_alone_whatever_keys_there_are(backbone):
    backbone = {**backbone, "depths": (1, 0, 0, 0)}
    model = tempo.create_model({"backbone": backbone, "head": {"dropout_prob": 0.0}}, 3)
    x = jax.ShapeDtypeStruct((1, 4, 16, 16, 3), jnp.float32)
    variables = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), x)

    def run(variables, x, key, train):
        return model.apply(
            variables, x, train=train, rngs={"dropout": key}, mutable=["batch_stats"]
        )

    def draws(train):
        traced = functools.partial(run, train=train)
        return "random_bits" in str(jax.make_jaxpr(traced)(variables, x, jax.random.key(0)))

    assert draws(True)
    assert not draws(False)
