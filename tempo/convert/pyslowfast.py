"""Checkpoints of PySlowFast (github.com/facebookresearch/SlowFast) as PyTorch saves them.

X3D, and SlowFast, Slow, C2D and I3D, each with or without non-local blocks. Not those that Caffe2
saved.
"""

from collections.abc import Callable
from typing import Any

from tempo.convert import rules, x3d
from tempo.convert.source import Defaults, Guess, Layout, Source, is_16x8

BLOCK: tuple[rules.Row, ...] = (
    ("branch2.a", "conv1", "conv"),
    ("branch2.a_bn", "norm1", "norm"),
    ("branch2.b", "conv2", "conv"),
    ("branch2.b_bn", "norm2", "norm"),
    ("branch2.c", "conv3", "conv"),
    ("branch2.c_bn", "norm3", "norm"),
    ("branch1", "conv_proj", "conv"),
    ("branch1_bn", "norm_proj", "norm"),
)

NONLOCAL: tuple[rules.Row, ...] = (
    ("conv_theta", "theta", "biased_conv"),
    ("conv_phi", "phi", "biased_conv"),
    ("conv_g", "g", "biased_conv"),
    ("conv_out", "out", "biased_conv"),
    ("bn", "norm", "norm"),
    # Its name in the first version.
    ("norm", "norm", "norm"),
)


def _path(number: int, ours: str) -> tuple[rules.Row, ...]:
    stage, block = f"s{{s}}.pathway{number}_", f"{ours}stage{{s-1}}_block{{b+1}}"
    return (
        (f"s1.pathway{number}_stem.conv", f"{ours}stem_conv", "conv"),
        (f"s1.pathway{number}_stem.bn", f"{ours}stem_norm", "norm"),
        *rules.prefixed(BLOCK, f"{stage}res{{b}}.", f"{block}/"),
        *rules.prefixed(NONLOCAL, f"{stage}nonlocal{{b}}.", f"{block}_nonlocal/"),
    )


HEAD: tuple[rules.Row, ...] = (("head.projection", "head/fc", "linear"),)

SLOWFAST = (
    *_path(0, "backbone/slow/"),
    *_path(1, "backbone/fast/"),
    ("s{s}_fuse.conv_f2s", "backbone/lateral_{s-1}/conv", "conv"),
    ("s{s}_fuse.bn", "backbone/lateral_{s-1}/norm", "norm"),
    *HEAD,
)

ROWS = (*_path(0, "backbone/"), *HEAD)

X3D = (
    ("s1.pathway0_stem.conv_xy", "backbone/stem_conv", "conv"),
    ("s1.pathway0_stem.conv", "backbone/stem_conv_t", "conv"),
    ("s1.pathway0_stem.bn", "backbone/stem_norm", "norm"),
    *rules.prefixed(
        (
            *BLOCK,
            ("branch2.se.fc1", "se/fc1", "biased_conv"),
            ("branch2.se.fc2", "se/fc2", "biased_conv"),
        ),
        "s{s}.pathway0_res{b}.",
        "backbone/stage{s-1}_block{b+1}/",
    ),
    ("head.conv_5", "head/conv5", "conv"),
    ("head.conv_5_bn", "head/norm5", "norm"),
    ("head.lin_5", "head/fc1", "conv"),
    *HEAD,
)

_VIEWS = "k400_10x3_linspace"


def _is_c2d_or_i3d(network) -> bool:
    """Of the networks of one pathway: not Slow."""
    trunk = network.trunk
    return len(network.told) == 1 and (trunk.is_flat or trunk["stem_kernel_t"] == 5)


def _nonlocal(mode: str, about: str, when: Callable[[Any], bool]) -> Guess:
    return Guess(
        when=lambda network: any(network.trunk["nonlocal_blocks"]) and when(network),
        fields={"nonlocal_mode": mode, "nonlocal_pool": "input"},
        about=about,
    )


SOURCE = Source(
    about="PySlowFast",
    layouts=(
        Layout(rows=SLOWFAST, marker="s1.pathway1_stem."),
        Layout(rows=X3D, marker="s1.pathway0_stem.conv_xy.", family=x3d.FAMILY),
        Layout(rows=ROWS, fields={"stem_stride_t": 1, "pool1_stride_t": 1, "pool2_stride_t": 1}),
    ),
    guesses=(
        Guess(
            when=is_16x8,
            fields={"slow_stride": 4, "slow_index": "linspace"},
            clip={"num_frames": 64, "stride": 2},
            about="16x8 of PySlowFast has; of 8x8_R101_50_50, whose arrays are the same, give "
            "--frames 32, as that has",
        ),
        Guess(
            when=lambda network: len(network.told) > 1 and network.trunk["depths"][2] > 6,
            fields={"slow_stride": 4, "slow_index": "linspace"},
            about="SlowFast-R101 of PySlowFast has",
        ),
        Guess(
            when=lambda network: (
                network.fields.get("fusion_kernel") == 5 and any(network.trunk["nonlocal_blocks"])
            ),
            fields={"slow_stride": 8, "slow_index": "linspace"},
            about="SLOWFAST_NLN_4x16 of PySlowFast has; the arrays are those of 4x16 or 8x8: give "
            "--model slowfast_r50_8x8_nl for the latter",
        ),
        Guess(
            when=lambda network: network.fields.get("fusion_kernel") == 5,
            fields={"slow_stride": 8, "slow_index": "linspace"},
            about="4x16 of PySlowFast has",
        ),
        Guess(
            when=lambda network: network.fields.get("fusion_kernel") == 7,
            fields={"slow_stride": 4, "slow_index": "linspace"},
            about="8x8 of PySlowFast has",
        ),
        Guess(
            when=_is_c2d_or_i3d,
            fields={"pool2_stride_t": 2},
            about="C2D and I3D of PySlowFast have",
        ),
        _nonlocal("softmax", "C2D and I3D of PySlowFast have", _is_c2d_or_i3d),
        _nonlocal(
            "dot_product",
            "Slow and SlowFast of PySlowFast have",
            lambda network: not _is_c2d_or_i3d(network),
        ),
    ),
    defaults={
        "segments": Defaults(clip={"num_frames": 8, "stride": 8}, views=_VIEWS),
        "dense": Defaults(clip={"num_frames": 8, "stride": 8}, views=_VIEWS),
        "slowfast": Defaults(clip={"num_frames": 32, "stride": 2}, views=_VIEWS),
    },
    # 0.45 and 0.225 of values 0-1.
    mean=(114.75, 114.75, 114.75),
    std=(57.375, 57.375, 57.375),
)
