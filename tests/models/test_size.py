"""The size of a small network, counted by hand."""

import pytest

from tempo.models import size

# Two frames of 32 px, width 2, one basic block per stage, 5 classes. Per part: weights of its
# convolutions (or linear layer), places they are applied at per frame, and what else it has.
MODEL = {"backbone": {"variant": "c2d_r18", "depths": (1, 1, 1, 1), "width": 2}}
CLIP = (2, 32, 32, 3)
PARTS = {
    "stem": (7 * 7 * 3 * 2, 16 * 16, 2 * 2),
    "stage1": (9 * 2 * 2 + 9 * 2 * 2, 8 * 8, 2 * (2 + 2)),  # no projection: nothing changes shape
    "stage2": (9 * 2 * 4 + 9 * 4 * 4 + 2 * 4, 4 * 4, 2 * (4 + 4 + 4)),
    "stage3": (9 * 4 * 8 + 9 * 8 * 8 + 4 * 8, 2 * 2, 2 * (8 + 8 + 8)),
    "stage4": (9 * 8 * 16 + 9 * 16 * 16 + 8 * 16, 1, 2 * (16 + 16 + 16)),
}
HEAD_WEIGHTS, HEAD_BIASES = 16 * 5, 5


@pytest.mark.parametrize("lowering", ["auto", "plain", "fold_sum"])
def test_parameters_and_multiply_adds_by_hand(lowering):
    """Of any lowering: what is counted is the definition of the convolution."""
    params = sum(weights + norms for weights, _, norms in PARTS.values())
    macs = sum(CLIP[0] * weights * places for weights, places, _ in PARTS.values())
    counted = size.count(5, {**MODEL, "lowering": lowering}, CLIP)
    assert counted == (params + HEAD_WEIGHTS + HEAD_BIASES, macs + HEAD_WEIGHTS)


def test_auxiliary_heads_are_parameters_but_no_work_at_inference():
    with_neck = {**MODEL, "neck": {"name": "tpn", "groups": 2, "alphas": "equal"}}
    without_heads = {**with_neck, "neck": {**with_neck["neck"], "aux_levels": "none"}}
    params, macs = size.count(5, with_neck, CLIP)
    # On res4: 3x3 convolution of 8 to 16 channels, its norm, and a linear layer.
    head = 9 * 8 * 16 + 2 * 16 + 16 * 5 + 5
    assert size.count(5, without_heads, CLIP) == (params - head, macs)


def test_size_in_words():
    assert size.describe(5, MODEL, CLIP) == (
        "5,335 parameters, 0.0001813 GMACs (0.0003627 GFLOPs) per clip of 2x32x32x3"
    )
