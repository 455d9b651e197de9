"""Networks are known by names and shapes; what a user says must agree."""

import numpy as np
import pytest

from tempo import models, trees
from tempo.convert import asked as asked_model
from tempo.convert import incoming, recognise, rules
from tempo.errors import InputError
from tempo.models import tracing

R50, R101 = (3, 4, 6, 3), (3, 4, 23, 3)
FLAT, SLOWONLY = (1, 1, 1, 1), (1, 1, 3, 3)


def mapped(depths=R50, kernels_t=FLAT, width=64, neck=False, shifted=lambda b: False, **change):
    """The kernels that recognition reads, as views of one zero."""
    kinds, shapes = {}, {"params/backbone/stem_conv/kernel": (1, 7, 7, 3, width)}
    for s, n in enumerate(depths):
        for b in range(n):
            for c, (k, side) in enumerate(((kernels_t[s], 1), (1, 3), (1, 1)), start=1):
                name = f"params/backbone/stage{s + 1}_block{b + 1}/conv{c}/kernel"
                features = width * 2**s
                shapes[name] = (k, side, side, features, features * (4 if c == 3 else 1))
                kinds[name] = "shifted_conv" if c == 1 and shifted(b) else "conv"
    shapes |= {"params/head/fc/kernel": (32 * width, 400), "params/head/fc/bias": (400,)}
    if neck:
        shapes |= {f"params/neck/temporal_mod_{i}/kernel": (3, 1, 1, width, 16 * width)
                   for i in range(2)}  # fmt: skip
        shapes["params/neck/aux_head_0/head/fc/kernel"] = (32 * width, 400)
    shapes = {k: v for k, v in (shapes | change).items() if v is not None}
    zeros = {k: np.broadcast_to(np.float32(0), v) for k, v in shapes.items()}
    return rules.Mapped(zeros, dict.fromkeys(zeros, "key"), kinds, (), (), ())


def network(source, **kwargs):
    return recognise.network(mapped(**kwargs), incoming.SOURCES[source])


EQUAL, CASCADE = {"alphas": "equal"}, {"flow": "cascade"}
NECK = {"neck": EQUAL | CASCADE}
IN_PLACE = {"backbone": {"shift_shortcut": True}}


@pytest.mark.parametrize(
    ("source", "found", "model"),
    [
        ("torchvision", {}, {"name": "tsn_r50"}),
        ("torchvision", {"depths": R101}, {"name": "tsn_r101"}),
        ("mmaction2", {"kernels_t": SLOWONLY}, {"name": "slowonly_r50"}),
        ("mmaction2", {}, {"name": "tsn_r50"}),
        ("mmaction2", {"shifted": lambda b: True}, {"name": "tsm_r50"}),
        ("tsm_release", {"depths": R101, "shifted": lambda b: b % 2 == 0}, {"name": "tsm_r101"}),
        (
            "mmaction2", {"kernels_t": SLOWONLY, "neck": True},
            {"name": "tpn_slowonly_r50", **NECK},
        ),
        (
            "tpn_release", {"kernels_t": SLOWONLY, "neck": True},
            {"name": "tpn_slowonly_r50", **NECK},
        ),
        # R101 of the release pools half as many frames at the lower level.
        (
            "tpn_release", {"depths": R101, "kernels_t": SLOWONLY, "neck": True},
            {"name": "tpn_slowonly_r101", "neck": {"alphas": "rule"} | CASCADE},
        ),
        ("tpn_release", {"neck": True}, {"name": "tpn_tsm_r50", **NECK} | IN_PLACE),
        ("tpn_release", {}, {"name": "tsm_r50"} | IN_PLACE),
        (
            "mmaction2", {"kernels_t": SLOWONLY, "depths": (1, 1, 1, 1), "width": 4},
            {"backbone": {"variant": "slowonly_r50", "depths": (1, 1, 1, 1), "width": 4}},
        ),
    ],
)  # fmt: skip
def test_networks_of_the_sources(source, found, model):
    made = network(source, **found)
    assert made.model() == model
    assert made.num_classes == 400
    models.create(400, **made.model())


@pytest.mark.parametrize(
    ("source", "name", "said", "num_frames"),
    [
        ("mmaction2", "c2d", "embedded_gaussian", None),
        ("mmaction2", "slowonly", "softmax", None),
        ("pyslowfast", "c2d", "softmax", None),
        ("pyslowfast", "slowonly", "dot_product", None),
        ("pyslowfast", "slowfast_r50_8x8_nl", "slow_stride=8", None),
        ("pyslowfast", "slowfast_r101_16x8_nl", "slow_stride=4", 64),
    ],
)
def test_what_public_networks_with_non_local_blocks_are(source, name, said, num_frames):
    shallow = {"depths": (1, 1, 1, 1), "nonlocal_blocks": ((), (0,), (0,), ())}
    shallow |= {"depths": (1, 1, 23, 1)} if "16x8" in name else {}
    told = {"name": name} if "fast" in name else {}
    variant = {} if told else {"variant": f"{name}_r50"}
    model = {**told, "backbone": variant | shallow}
    made = models.create(7, **model)
    shapes = trees.named_shapes(tracing.module_shapes(made, (16, 64, 64, 3)))
    zeros = {k: np.broadcast_to(np.float32(0), v) for k, v in shapes.items()}
    arrays = rules.Mapped(zeros, dict.fromkeys(zeros, "key"), {}, (), (), ())
    found = recognise.network(arrays, incoming.SOURCES[source])
    assert any(said in text for text in found.assumed), found.assumed
    assert found.clip.get("num_frames") == num_frames
    if name == "slowfast_r50_8x8_nl":
        assert any("give --model slowfast_r50_8x8_nl" in text for text in found.assumed)
        agreed = asked_model.agreed(model, found)
        assert agreed.all_fields["slow_stride"] == 4


def test_a_classifier_without_a_bias():
    made = network("mmaction2", **{"params/head/fc/bias": None})
    assert made.model()["head"] == {"use_bias": False}
    models.create(400, **made.model())


def test_a_neck_without_its_auxiliary_head():
    aux = {"params/neck/aux_head_0/head/fc/kernel": None}
    made = network("mmaction2", kernels_t=SLOWONLY, neck=True, **aux)
    assert made.neck["aux_levels"] == "none"


@pytest.mark.parametrize(
    ("asked", "found", "message"),
    [
        (
            "tpn_slowonly_r50", {"depths": R101, "kernels_t": SLOWONLY, "neck": True},
            r"tpn_slowonly_r50 is ResNet-50 \(3, 4, 6, 3 blocks\), but the weights are of "
            r"ResNet-101 \(3, 4, 23, 3 blocks\); use --model tpn_slowonly_r101 or leave",
        ),
        (
            "slowonly_r50", {},
            r"the extent in frames .* is \(1, 1, 3, 3\), that of the weights \(1, 1, 1, 1\); use "
            "--model tsn_r50",
        ),
        ("slowonly_r50", {"kernels_t": SLOWONLY, "neck": True}, "no neck, but the weights have a"),
        ("tpn_tsn_r50", {}, "has a neck, but the weights have no neck; use --model tsn_r50"),
        ("tsm_r50", {}, "temporal module is tsm, that of the weights none; use --model tsn_r50"),
        ("tsn_r50", {"shifted": lambda b: True}, "module is none, that of the weights tsm"),
        ("slowfast_r50_4x16", {}, "does not fit weights of one pathway"),
        ("tsn_r18", {}, r"tsn_r18 is ResNet-18 .* are of ResNet-50"),
        ("tsn_r5", {}, "Unknown model .*'tsn_r5'. Did you mean 'tsn_r50'"),
    ],
)  # fmt: skip
def test_a_model_that_the_weights_are_not_of_is_refused(asked, found, message):
    with pytest.raises(InputError, match=message) as error:
        asked_model.agreed({"name": asked}, network("mmaction2", **found))
    assert "\n" not in str(error.value)


def test_the_release_takes_the_users_word_on_the_shift():
    found = network("tpn_release", neck=True)
    assert [text.split(" ")[0] for text in found.assumed] == [
        "temporal=tsm,", "flow=cascade", "alphas=equal",
    ]  # fmt: skip
    made = asked_model.agreed({"name": "tpn_tsn_r50"}, found)
    assert made.model()["name"] == "tpn_tsn_r50"
    assert "backbone" not in made.model()
    kept = asked_model.agreed({"name": "tpn_tsm_r50"}, found)
    assert kept.model()["backbone"] == {"shift_shortcut": True}
    assert [text.split(" ")[0] for text in kept.assumed] == ["flow=cascade", "alphas=equal"]


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({"shifted": lambda b: b == 0}, "shift 4 of 16 blocks"),
        ({"params/backbone/stage2_block3/conv1/kernel": None,
          "params/backbone/stage2_block3/conv2/kernel": None,
          "params/backbone/stage2_block3/conv3/kernel": None}, "cut: stage 2 .* blocks"),
        ({"depths": (3, 4, 6, 0)}, "cut: stage 4 of the residual network has no blocks"),
        ({"params/backbone/stem_conv/kernel": None}, "holds no network of mmaction2: its keys"),
    ],
)  # fmt: skip
def test_weights_of_no_known_network_are_refused(found, message):
    with pytest.raises(InputError, match=message):
        network("mmaction2", **found)
