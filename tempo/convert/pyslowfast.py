"""Checkpoints of PySlowFast (github.com/facebookresearch/SlowFast) as PyTorch saves them.

SlowFast, Slow, C2D and I3D, each with or without non-local blocks. Not those that Caffe2 saved.
"""

from tempo.convert import rules
from tempo.convert.source import Defaults, Guess, Layout, Source

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

_VIEWS = "k400_10x3_linspace"


def _nonlocal(num_paths: int, mode: str, about: str) -> Guess:
    return Guess(
        when=lambda network: (
            any(network.trunk["nonlocal_blocks"]) and len(network.told) == num_paths
        ),
        fields={"nonlocal_mode": mode, "nonlocal_pool": "input"},
        about=about,
    )


SOURCE = Source(
    about="PySlowFast",
    layouts=(
        Layout(rows=SLOWFAST, marker="s1.pathway1_stem."),
        Layout(rows=ROWS, fields={"stem_stride_t": 1, "pool1_stride_t": 1, "pool2_stride_t": 1}),
    ),
    guesses=(
        Guess(
            when=lambda network: len(network.told) > 1 and network.trunk["depths"][2] > 6,
            fields={"slow_stride": 4, "slow_index": "linspace"},
            about="SlowFast-R101 of PySlowFast has",
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
            when=lambda network: (
                len(network.told) == 1
                and (network.trunk.is_flat or network.trunk["stem_kernel_t"] == 5)
            ),
            fields={"pool2_stride_t": 2},
            about="C2D and I3D of PySlowFast have",
        ),
        _nonlocal(2, "dot_product", "SlowFast of PySlowFast has"),
        _nonlocal(1, "softmax", "networks of one pathway of PySlowFast have"),
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
