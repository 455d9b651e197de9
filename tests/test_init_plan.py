"""Which leaves of a model come from other weights, by names and shapes alone."""

import pytest

import tempo
from tempo import init_plan, trees
from tempo.errors import InputError
from tempo.init_plan import Classes
from tempo.models import tracing

WIDTH = {"depths": (1, 1, 1, 1), "width": 4}
NECK = {"name": "tpn", "groups": 4, "alphas": "equal", "features": 16}
NAMES = ("a", "b", "c")


def shapes_of(variant, neck=None, num_classes=3, **backbone):
    model = tempo.create_model(
        {"backbone": {"variant": variant, **WIDTH, **backbone}, "neck": neck or {}}, num_classes
    )
    tree = tracing.module_shapes(model, (4, 32, 32, 3))
    return trees.named_shapes(tree)


def starting(names, *parts):
    return {name for name in names if name.split("/", 1)[1].startswith(parts)}


@pytest.fixture(scope="module")
def nets():
    return {
        "tsn": shapes_of("c2d_r50"),
        "slowonly": shapes_of("slowonly_r50"),
        "tpn": shapes_of("slowonly_r50", NECK),
    }


def test_the_same_network_and_classes_are_taken_whole(nets):
    plan = init_plan.plan(nets["tpn"], nets["tpn"], Classes(3, NAMES), Classes(3, NAMES))
    assert plan.taken == set(nets["tpn"]) and not plan.inflated
    assert not any("fresh" in line or "left over" in line for line in plan.report)


def test_kernels_of_a_2d_network_are_inflated_and_its_head_is_kept(nets):
    plan = init_plan.plan(nets["tsn"], nets["slowonly"], Classes(3), Classes(3, NAMES))
    assert plan.taken == set(nets["slowonly"])
    assert {name.split("/", 2)[2] for name in plan.inflated} == {
        "stage3_block1/conv1/kernel",
        "stage4_block1/conv1/kernel",
    }
    assert "leaves taken, 2 of them inflated" in plan.report[0]


def test_a_neck_that_the_weights_lack_is_fresh_and_so_is_what_reads_it(nets):
    plan = init_plan.plan(nets["tsn"], nets["tpn"], Classes(3, NAMES), Classes(3, NAMES))
    assert plan.taken == starting(nets["tpn"], "backbone/")
    report = "\n".join(plan.report)
    assert "neck: " in report and "fresh: the weights have none" in report
    assert "aux classifiers: 2 leaves fresh: the weights have none" in report
    assert "head: 2 leaves fresh: it reads other features" in report
    # Nor is anything else said of parts that are not there.
    plan = init_plan.plan(nets["tsn"], nets["tpn"], Classes(5), Classes(3, NAMES))
    report = "\n".join(plan.report)
    assert "aux classifiers: 2 leaves fresh: the weights have none" in report
    assert "head: 2 leaves fresh: 5 classes there, 3 here" in report


def test_a_neck_that_the_model_lacks_is_left_over(nets):
    plan = init_plan.plan(nets["tpn"], nets["slowonly"], Classes(3, NAMES), Classes(3, NAMES))
    assert plan.taken == starting(nets["slowonly"], "backbone/")
    report = "\n".join(plan.report)
    assert "head: 2 leaves fresh: it reads other features" in report
    assert report.count("left over") == 3  # neck, auxiliary heads, their classifiers
    plan = init_plan.plan(nets["tpn"], nets["slowonly"], Classes(3), Classes(2))
    assert "\n".join(plan.report).count("left over") == 3


def test_a_neck_of_another_shape_is_fresh_whole(nets):
    wide = shapes_of("slowonly_r50", {**NECK, "features": 32})
    plan = init_plan.plan(wide, nets["tpn"], Classes(3, NAMES), Classes(3, NAMES))
    assert not starting(plan.taken, "neck/level_fusion", "neck/spatial", "neck/pyramid", "head/")
    assert "neck/" in " ".join(plan.report) and "in the weights" in " ".join(plan.report)


@pytest.mark.parametrize(
    ("there", "here", "reason"),
    [
        (Classes(4), Classes(3, NAMES), "4 classes there, 3 here"),
        (Classes(3, ("c", "b", "a")), Classes(3, NAMES), "the same classes there in another order"),
        (Classes(3, ("a", "x", "c")), Classes(3, NAMES), "'x' where 'b' is here"),
        (Classes(3), Classes(3, NAMES), ""),
        (Classes(3, NAMES), Classes(3, list(NAMES)), ""),
    ],
)
def test_every_classifier_is_fresh_where_the_classes_differ(nets, there, here, reason):
    names = nets["tpn"]
    shapes = {**names}
    if there.count != here.count:
        shapes = shapes_of("slowonly_r50", NECK, there.count)
    plan = init_plan.plan(shapes, names, there, here)
    classifiers = {name for name in names if "head/fc" in name}
    assert len(classifiers) == 4  # of the head and of an auxiliary one
    assert plan.taken == set(names) - (classifiers if reason else set())
    assert sum(reason in line for line in plan.report if "fresh" in line) == (2 if reason else 0)


@pytest.mark.parametrize(
    ("there", "leaf"),
    [
        ({"width": 8}, r"params/\S+: \[.*\] in the weights, \[.*\] in the model; .*; and \d+ more"),
        ({"variant": "slowonly_r50"}, r"stage3_block1/conv1/kernel: \[3, .* in the weights, \[1"),
        ({"variant": "c2d_r18"}, r"params/\S+stage1_block1/conv3/kernel: only in the model"),
    ],
)
def test_another_backbone_is_refused_by_leaf(nets, there, leaf):
    other = shapes_of(**{"variant": "c2d_r50", **there})
    with pytest.raises(InputError, match=f"another backbone: .*{leaf}") as e:
        init_plan.plan(other, nets["tsn"], Classes(3), Classes(3))
    assert "batch_stats" not in str(e.value)
    assert str(e.value).count("/backbone/") <= 3


@pytest.mark.parametrize(
    ("there", "stages"),
    [
        ({"depths": (1, 1, 2, 1)}, "1, 1, 2, 1"),
        (
            {"variant": "slowfast_r50", "width": 8, "slow_stride": 4},
            "1, 1, 1, 1 (fast) and 1, 1, 1, 1 (slow)",
        ),
        ({}, "1, 1, 1"),
    ],
)
def test_another_depth_is_told_by_the_blocks_of_its_stages(nets, there, stages):
    other = shapes_of(**{"variant": "c2d_r50", **there})
    if not there:
        other = {n: s for n, s in other.items() if "stage4" not in n}
    with pytest.raises(InputError) as e:
        init_plan.plan(other, nets["tsn"], Classes(3), Classes(3))
    assert str(e.value) == (
        f"are of another backbone: stages of {stages} blocks in the weights, 1, 1, 1, 1 in the "
        "model. Give weights of the same depth and width, or the config's model those of the "
        "weights."
    )


def test_leaves_that_may_be_fresh_are_those_that_do_not_fit(nets):
    wide = shapes_of("slowonly_r50", conv_b={"name": "2plus1d"})
    same = Classes(3)
    with pytest.raises(InputError, match="another backbone: .*conv2/kernel"):
        init_plan.plan(nets["slowonly"], wide, same, same, "conv2_t/|norm2_inner/")
    # conv2 has other channels out; conv1 and norm2 match as well, but fit.
    plan = init_plan.plan(nets["slowonly"], wide, same, same, "/(conv1|conv2(_t)?|norm2(_inner)?)/")
    fresh = {name.split("/")[-2] for name in set(wide) - plan.taken}
    assert fresh == {"conv2", "conv2_t", "norm2_inner"}
    assert "backbone: 24 leaves fresh, as config.init_fresh has it: params/" in plan.report[0]
    # What only the weights have is never dropped so.
    with pytest.raises(InputError, match="conv2_t/kernel: only in the weights"):
        init_plan.plan(wide, nets["slowonly"], same, same, "conv2|norm2")
