"""Rows name arrays both ways; layouts are turned and turned back."""

import numpy as np
import pytest

from tempo import models, trees
from tempo.convert import incoming, mmaction2, rules
from tempo.errors import InputError
from tempo.models import tracing

ROWS = (
    ("stem", "backbone/stem_conv", "conv"),
    ("layer{s}.{b}.conv1.net", "stage{s}_block{b+1}/conv1", "shifted_conv"),
    ("layer{s}.{b}.conv{n}", "stage{s}_block{b+1}/conv{n}", "conv"),
    ("layer{s}.{b}.bn{n}", "stage{s}_block{b+1}/norm{n}", "norm"),
    ("fc", "head/fc", "linear"),
)
SHAPES = {
    "stem.weight": (4, 3, 7, 7),
    "layer1.0.conv1.net.weight": (4, 4, 1, 1),
    "layer1.0.conv2.weight": (4, 4, 3, 3),
    "layer1.10.conv1.weight": (4, 4, 1, 1),
    "layer1.10.bn1.weight": (4,),
    "layer1.10.bn1.bias": (4,),
    "layer1.10.bn1.running_mean": (4,),
    "layer1.10.bn1.running_var": (4,),
    "layer1.10.bn1.num_batches_tracked": (),
    "fc.weight": (5, 4),
    "fc.bias": (5,),
}


def arrays():
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}


def test_numbers_move_by_their_offset_and_kinds_name_arrays():
    mapped = rules.to_leaves(arrays(), ROWS)
    assert mapped.unmapped == mapped.doubled == ()
    assert mapped.counters == ("layer1.10.bn1.num_batches_tracked",)
    shapes = {name: value.shape for name, value in mapped.leaves.items()}
    assert shapes == {
        "params/backbone/stem_conv/kernel": (1, 7, 7, 3, 4),
        "params/stage1_block1/conv1/kernel": (1, 1, 1, 4, 4),
        "params/stage1_block1/conv2/kernel": (1, 3, 3, 4, 4),
        "params/stage1_block11/conv1/kernel": (1, 1, 1, 4, 4),
        "params/stage1_block11/norm1/scale": (4,),
        "params/stage1_block11/norm1/bias": (4,),
        "batch_stats/stage1_block11/norm1/mean": (4,),
        "batch_stats/stage1_block11/norm1/var": (4,),
        "params/head/fc/kernel": (4, 5),
        "params/head/fc/bias": (5,),
    }
    assert mapped.kinds["params/stage1_block1/conv1/kernel"] == "shifted_conv"
    assert mapped.kinds["params/stage1_block11/conv1/kernel"] == "conv"


def test_every_element_goes_to_its_place():
    given = arrays()
    leaves = rules.to_leaves(given, ROWS).leaves
    weight, kernel = given["stem.weight"], leaves["params/backbone/stem_conv/kernel"]
    assert kernel[0, 2, 5, 1, 3] == weight[3, 1, 2, 5]
    assert leaves["params/head/fc/kernel"][2, 4] == given["fc.weight"][4, 2]
    video = np.arange(2 * 3 * 3 * 1 * 1).reshape(2, 3, 3, 1, 1)
    assert rules.to_our_layout(video, "a/kernel")[2, 0, 0, 1, 1] == video[1, 1, 2, 0, 0]


def test_the_inverse_gives_the_keys_and_values_back():
    given = arrays()
    mapped = rules.to_leaves(given, ROWS)
    back, unknown = rules.to_keys(
        {**mapped.leaves, "params/neck/conv/kernel": np.zeros((1, 1))},
        ROWS,
        may_name=lambda row, leaf: (
            row[2] != "shifted_conv" or leaf == "params/stage1_block1/conv1/kernel"
        ),
        is_flat=lambda leaf: True,
    )
    assert unknown == ["params/neck/conv/kernel"]
    assert back.keys() == given.keys()
    for name, value in given.items():
        if name.endswith(rules.COUNTER):
            assert back[name].dtype == np.int64
            assert back[name] == 0
        else:
            np.testing.assert_array_equal(back[name], value, err_msg=name)


def test_what_no_row_knows_and_what_two_keys_claim_is_told():
    given = {"layer1.x.conv1.weight": np.ones((1, 1)), "fc.gamma": np.ones(1)}
    assert rules.to_leaves(given, ROWS).unmapped == tuple(given)
    two = {name: np.ones((1, 1, 1, 1)) for name in
           ("layer1.0.conv1.net.weight", "layer1.0.conv1.weight")}  # fmt: skip
    (doubled,) = rules.to_leaves(two, ROWS).doubled
    assert doubled == "layer1.0.conv1.weight: params/stage1_block1/conv1/kernel"
    with pytest.raises(InputError, match=r"head/fc/kernel needs a weight .* shape \[3\]"):
        rules.to_leaves({"fc.weight": np.ones(3)}, ROWS)


def test_a_prefix_goes_if_all_have_it():
    a, b = np.ones(1), np.ones(2)
    assert rules.without_prefix({"module.a": a, "module.b": b}, "module.").keys() == {"a", "b"}
    assert rules.without_prefix({"module.a": a, "b": b}, "module.").keys() == {"module.a", "b"}


def test_half_precision_becomes_float32():
    mapped = rules.to_leaves({"fc.bias": np.ones(5, np.float16)}, ROWS)
    assert mapped.leaves["params/head/fc/bias"].dtype == np.float32


def full_size(name, num_classes):
    """Leaves of a preset, without values to speak of."""
    shapes = tracing.module_shapes(models.create(num_classes, name=name), (8, 32, 32, 3))
    return trees.named(shapes)


# Check 23 of the list for TPN: numbers of entries and some shapes of mmaction2's state dicts.
@pytest.mark.parametrize(
    ("name", "num_classes", "rows"),
    [
        (
            "tpn_slowonly_r50", 400,
            {
                "backbone.conv1.conv.weight": (64, 3, 1, 7, 7),
                "backbone.layer3.5.conv1.conv.weight": (256, 1024, 3, 1, 1),
                "backbone.layer2.0.conv1.conv.weight": (128, 256, 1, 1, 1),
                "backbone.layer4.2.conv2.conv.weight": (512, 512, 1, 3, 3),
                "neck.spatial_modulation.spatial_modulation.0.0.conv.weight":
                    (2048, 1024, 1, 3, 3),
                "neck.temporal_modulation_ops.1.conv.conv.weight": (1024, 64, 3, 1, 1),
                "neck.downsample_ops.0.conv.conv.weight": (1024, 1024, 3, 1, 1),
                "neck.level_fusion_1.downsamples.1.conv.conv.weight": (1024, 32, 1, 1, 1),
                "neck.level_fusion_2.fusion_conv.bn.running_var": (2048,),
                "neck.pyramid_fusion.conv.weight": (2048, 4096, 1, 1, 1),
                "neck.aux_head.conv.conv.weight": (2048, 1024, 1, 3, 3),
                "neck.aux_head.fc.weight": (400, 2048),
                "cls_head.fc_cls.bias": (400,),
            },
        ),
        (
            "tpn_tsm_r50", 174,
            {
                "backbone.conv1.conv.weight": (64, 3, 7, 7),
                "backbone.layer3.5.conv1.conv.net.weight": (256, 1024, 1, 1),
                "backbone.layer4.0.downsample.conv.weight": (2048, 1024, 1, 1),
                "backbone.layer4.2.conv2.conv.weight": (512, 512, 3, 3),
                "neck.pyramid_fusion.conv.weight": (2048, 4096, 1, 1, 1),
                "neck.aux_head.fc.weight": (174, 2048),
            },
        ),
    ],
)  # fmt: skip
def test_entries_of_the_public_state_dicts(name, num_classes, rows):
    is_tsm = "tsm" in name
    # Nearly empty arrays of the right rank: names need no values.
    leaves = full_size(name, num_classes)
    stubs = {n: np.empty((1,) * len(s.shape)) for n, s in leaves.items()}
    arrays, unknown = rules.to_keys(
        stubs,
        mmaction2.ROWS,
        may_name=lambda row, leaf: row[2] != "shifted_conv" or (is_tsm and "/conv1/" in leaf),
        is_flat=lambda leaf: is_tsm and "backbone" in leaf,
    )
    assert not unknown
    parts = {p: sum(k.startswith(p) for k in arrays) for p in ("backbone", "neck", "cls_head")}
    assert parts == {"backbone": 318, "neck": 59, "cls_head": 2}
    assert len(arrays) == 379
    for key, shape in rows.items():
        mapped = rules.to_leaves({key: np.broadcast_to(np.float16(0), shape)}, mmaction2.ROWS)
        ((leaf, value),) = mapped.leaves.items()
        assert value.shape == leaves[leaf].shape, key
        assert key in arrays


@pytest.mark.parametrize("source", incoming.SOURCES)
def test_no_key_is_claimed_by_two_rows_for_different_places(source):
    for layout in incoming.SOURCES[source].layouts:
        for row in layout.rows:
            numbers = {"s": 1, "b": 0, "n": 2, "i": 1, "j": 0}
            key = f"{rules._fill(row[0], numbers)}.weight"
            assert (
                rules._translate(key, layout.rows, rules._forward)[0]
                == (rules._translate(key, [row], rules._forward)[0])
            )
