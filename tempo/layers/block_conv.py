"""What may stand where a residual block has its 3x3 convolution: the `CONV_B` table, and fusing.

Each row is a function that a block calls inside its own compact method, so the modules it makes
are the block's own. It makes the convolutions and norms of one place, not the activation behind
them:

    row(x [B,T,H,W,C], *, conv, norm, act, features, kernel_size, strides, name_suffix, scale_init)
        -> [B,T',H',W',features]

    conv, norm    factories of `Conv` and of a norm with `train` bound
    act           the activation, for rows that have one inside
    kernel_size   (kt, 3, 3); only `plain` reads it, the others have their own
    strides       along T, H, W, of the place as a whole
    name_suffix   the number of the place: its modules are conv{number}*, norm{number}*
    scale_init    initialiser of the scale of the norms behind the place; None is the norm's own

Parameters with a default are the options of a row, see `slots.make`. Sources: arXiv 1711.11248
(2plus1d), 1908.03930 (acb3d, acb2d), 1904.02811 (depthwise, pointwise_depthwise), 2011.03949
(mtconv).
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from flax import linen as nn

from tempo.errors import InputError, lookup
from tempo.layers import mtconv
from tempo.layers.slots import Slot

_SPACE, _TIME, _BOTH = (1, 3, 3), (3, 1, 1), (3, 3, 3)


def plain(x, *, conv, norm, act, features, kernel_size, strides, name_suffix, scale_init):
    """One convolution of `kernel_size`."""
    y = conv(features, kernel_size, strides, name=f"conv{name_suffix}")(x)
    return _norm(norm, name_suffix, scale_init)(y)


def _norm(norm, name: str, scale_init):
    return norm(name=f"norm{name}", **({} if scale_init is None else {"scale_init": scale_init}))


def full(x, *, kernel_size, **place):
    """One 3x3x3 convolution."""
    return plain(x, kernel_size=_BOTH, **place)


def two_plus_one(
    x,
    *,
    conv,
    norm,
    act,
    features,
    kernel_size,
    strides,
    name_suffix,
    scale_init,
    order: str = "spatial_first",
    width: str = "matched",
):
    """A 1x3x3 and a 3x1x1 convolution, a norm and the activation between (1711.11248, 3.5).

    The 1x3x3 one is conv{number} in either order, the 3x1x1 one conv{number}_t, the norm between
    them norm{number}_inner.

    Options:
      order: a name of `ORDERS`; PyTorchVideo's networks are `temporal_first`.
      width: a name of `WIDTHS`: the channels between the two.
    """
    first, second = lookup(ORDERS, order, "order of conv_b '2plus1d'")
    between = lookup(WIDTHS, width, "width of conv_b '2plus1d'")(
        math.prod(first), x.shape[-1], math.prod(second), features
    )
    names = {_SPACE: f"conv{name_suffix}", _TIME: f"conv{name_suffix}_t"}
    steps = {_SPACE: (1, *strides[1:]), _TIME: (strides[0], 1, 1)}
    y = conv(between, first, steps[first], name=names[first])(x)
    y = act(norm(name=f"norm{name_suffix}_inner")(y))
    y = conv(features, second, steps[second], name=names[second])(y)
    return _norm(norm, name_suffix, scale_init)(y)


ORDERS = {"spatial_first": (_SPACE, _TIME), "temporal_first": (_TIME, _SPACE)}
"""Kernels of `2plus1d` in the order in which they are applied."""

WIDTHS = {
    "matched": lambda first, channels, second, features: max(
        1, first * second * channels * features // (first * channels + second * features)
    ),
    "equal": lambda first, channels, second, features: features,
}
"""Channels between the two kernels of `2plus1d`: (taps, channels in, taps, channels out) -> width.

`matched` gives both together the weights of one 3x3x3 kernel, rounded down (section 3.5 there).
"""

ASYMMETRIC = {
    "acb3d": {"": _SPACE, "_3x3x3": _BOTH, "_3x1x1": _TIME},
    "acb2d": {"": _SPACE, "_1x3x1": (1, 3, 1), "_1x1x3": (1, 1, 3)},
}
"""Kernels of the branches by the ends of their names, behind conv{number} and norm{number}.

The first has the name of a plain block's convolution, and so takes its weights.
"""


def asymmetric_3d(x, *, zero_init: bool = False, **place):
    """The sum of a 1x3x3, a 3x3x3 and a 3x1x1 convolution, each with its norm.

    The asymmetric block of 1908.03930 (section 3.2) with kernels in time and space.

    Options:
      zero_init: start the scale of the two added norms at zero: a plain block, at first.
    """
    return _asymmetric(x, ASYMMETRIC["acb3d"], zero_init, **place)


def asymmetric_2d(x, *, zero_init: bool = False, **place):
    """The sum of a 1x3x3, a 1x3x1 and a 1x1x3 convolution, each with its norm (1908.03930, 3.2).

    Options:
      zero_init: start the scale of the two added norms at zero: a plain block, at first.
    """
    return _asymmetric(x, ASYMMETRIC["acb2d"], zero_init, **place)


def _asymmetric(x, branches, zero_init, *, kernel_size, name_suffix, scale_init, **place):
    added_init = nn.initializers.zeros if zero_init else scale_init
    return sum(
        plain(
            x,
            kernel_size=kernel,
            name_suffix=name_suffix + end,
            scale_init=added_init if end else scale_init,
            **place,
        )
        for end, kernel in branches.items()
    )


def depthwise(x, *, conv, norm, act, features, kernel_size, strides, name_suffix, scale_init):
    """A depthwise 3x3x3 convolution: the interaction-reduced block (1904.02811, section 3.4)."""
    if x.shape[-1] != features:
        raise InputError(
            f"conv_b: a depthwise convolution keeps its {x.shape[-1]} channels and cannot give "
            f"{features}; use backbone.block='bottleneck'."
        )
    y = conv(features, _BOTH, strides, groups=features, name=f"conv{name_suffix}")(x)
    return _norm(norm, name_suffix, scale_init)(y)


def pointwise_depthwise(x, *, conv, norm, features, name_suffix, **place):
    """A 1x1x1 convolution and a depthwise 3x3x3 one: interaction-preserved (1904.02811, 3.4).

    Between them a norm (norm{number}_pointwise) and no activation, as in the authors' release.
    """
    x = conv(features, (1, 1, 1), name=f"conv{name_suffix}_pointwise")(x)
    x = norm(name=f"norm{name_suffix}_pointwise")(x)
    return depthwise(x, conv=conv, norm=norm, features=features, name_suffix=name_suffix, **place)


def multi_temporal(
    x,
    *,
    conv,
    norm,
    act,
    features,
    kernel_size,
    strides,
    name_suffix,
    scale_init,
    ratio: float = 0.875,
    input: str = "split",
    lateral_from: str = "post",
    share_norm: bool = False,
    pool: str = "soft",
    frames: Slot = "triplet",
    share_indices: bool = False,
    train: bool = False,
):
    """A multi-temporal convolution of 3x3x3, mtconv{number} (2011.03949, section III).

    Both of its branches end in the activation, so that of the block behind it should be one that
    changes nothing when it is applied again, as `relu` is. `train` is given by the network.

    Options: those fields of `mtconv.MTConv`.
    """
    return mtconv.MTConv(
        conv=conv,
        norm=norm,
        act=act,
        features=features,
        kernel_size=_BOTH,
        strides=strides,
        ratio=ratio,
        input=input,
        lateral_from=lateral_from,
        share_norm=share_norm,
        pool=pool,
        frames=frames,
        share_indices=share_indices,
        scale_init=scale_init,
        train=train,
        name=f"mtconv{name_suffix}",
    )(x)


CONV_B = {
    "plain": plain,
    "3x3x3": full,
    "2plus1d": two_plus_one,
    "acb3d": asymmetric_3d,
    "acb2d": asymmetric_2d,
    "depthwise": depthwise,
    "pointwise_depthwise": pointwise_depthwise,
    "mtconv": multi_temporal,
}
"""What stands in the place of a block's 3x3 convolution, by name: the `conv_b` slot."""


def fuse(
    params: Mapping[str, Any],
    batch_stats: Mapping[str, Any],
    name_suffix: str = "2",
    epsilon: float = 1e-5,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The leaves of a block with the branches of `acb3d` or `acb2d` made one convolution.

    In evaluation a norm is linear and so is a sum. With s = scale / sqrt(var + epsilon) of a branch
    the kernel is the sum of the s * kernel, each with zeros around it up to the size of the
    largest, and the bias the sum of the bias - s * mean (1908.03930, section 3.3). What is left are
    conv{number} with that kernel (3x3x3 for `acb3d`, 1x3x3 for `acb2d`) and a norm{number} that
    adds the bias and nothing else.

    Args:
      params: of one block, by the names of its modules; other modules pass unchanged.
      batch_stats: of the same block.
      name_suffix: the number of the place.
      epsilon: of the norms.

    Raises:
      InputError: the place has no branches.
    """
    conv, norm = f"conv{name_suffix}", f"norm{name_suffix}"
    known = {end for branches in ASYMMETRIC.values() for end in branches}
    ends = [end for end in known if conv + end in params]
    if len(ends) < 2:
        raise InputError(
            f"{conv} of a block with {', '.join(sorted(params))} has no branches to fuse; only "
            f"networks with conv_b {' or '.join(ASYMMETRIC)} have them."
        )
    kernels, biases = [], []
    for end in ends:
        leaves = {**params[norm + end], **batch_stats[norm + end]}
        leaves = {name: np.asarray(leaf, np.float64) for name, leaf in leaves.items()}
        scale = leaves["scale"] / np.sqrt(leaves["var"] + epsilon)
        kernels.append(np.asarray(params[conv + end]["kernel"], np.float64) * scale)
        biases.append(leaves["bias"] - leaves["mean"] * scale)
    size = np.max([kernel.shape[:3] for kernel in kernels], axis=0)
    kernel = sum(_centred(kernel, size) for kernel in kernels).astype(np.float32)
    bias = sum(biases).astype(np.float32)
    one = np.ones_like(bias)
    gone = {name + end for name in (conv, norm) for end in ends}
    return (
        {name: leaves for name, leaves in params.items() if name not in gone}
        | {conv: {"kernel": kernel}, norm: {"scale": one, "bias": bias}},
        {name: leaves for name, leaves in batch_stats.items() if name not in gone}
        | {norm: {"mean": 0 * one, "var": one * np.float32(1 - epsilon)}},
    )


def _centred(kernel, size):
    """`kernel` with zeros around its first three axes up to `size`, which computes the same."""
    pads = [((n - k) // 2,) * 2 for n, k in zip(size, kernel.shape[:3], strict=True)]
    return np.pad(kernel, [*pads, (0, 0), (0, 0)])
