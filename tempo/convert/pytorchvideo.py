"""Checkpoints of PyTorchVideo's residual networks (github.com/facebookresearch/pytorchvideo).

SlowFast, Slow, C2D, I3D, R(2+1)D, CSN and X3D, as its builders and its model zoo name them.
"""

from tempo.convert import rules, x3d
from tempo.convert.source import Defaults, Guess, Layout, Source, is_16x8
from tempo.layers import slots

STEM: tuple[rules.Row, ...] = (
    ("conv", "stem_conv", "conv"),
    ("norm", "stem_norm", "norm"),
)

BLOCK: tuple[rules.Row, ...] = (
    ("branch2.conv_a", "conv1", "conv"),
    ("branch2.norm_a", "norm1", "norm"),
    ("branch2.conv_b", "conv2", "conv"),
    # R(2+1)D: along time, then over space.
    ("branch2.conv_b.conv_t", "conv2_t", "conv"),
    ("branch2.conv_b.norm", "norm2_inner", "norm"),
    ("branch2.conv_b.conv_xy", "conv2", "conv"),
    ("branch2.norm_b", "norm2", "norm"),
    ("branch2.conv_c", "conv3", "conv"),
    ("branch2.norm_c", "norm3", "norm"),
    ("branch1_conv", "conv_proj", "conv"),
    ("branch1_norm", "norm_proj", "norm"),
)


def _stage(source: str, ours: str, block: tuple[rules.Row, ...] = BLOCK) -> tuple[rules.Row, ...]:
    return rules.prefixed(block, f"{source}res_blocks.{{b}}.", f"{ours}_block{{b+1}}/")


def _paths(name: str, ours: str) -> tuple[rules.Row, ...]:
    return (
        *rules.prefixed(STEM, f"blocks.0.multipathway_blocks.{name}.", f"{ours}/"),
        *_stage(f"blocks.{{s}}.multipathway_blocks.{name}.", f"{ours}/stage{{s}}"),
    )


SLOWFAST = (
    *_paths("0", "backbone/slow"),
    *_paths("1", "backbone/fast"),
    ("blocks.{i}.multipathway_fusion.conv_fast_to_slow", "backbone/lateral_{i}/conv", "conv"),
    ("blocks.{i}.multipathway_fusion.norm", "backbone/lateral_{i}/norm", "norm"),
    ("blocks.6.proj", "head/fc", "linear"),
)

ROWS = (
    *rules.prefixed(STEM, "blocks.0.", "backbone/"),
    *_stage("blocks.{s}.", "backbone/stage{s}"),
    ("blocks.5.proj", "head/fc", "linear"),
)

X3D = (
    # Named the wrong way round there: conv_t sees space, conv_xy time.
    ("blocks.0.conv.conv_t", "backbone/stem_conv", "conv"),
    ("blocks.0.conv.conv_xy", "backbone/stem_conv_t", "conv"),
    ("blocks.0.norm", "backbone/stem_norm", "norm"),
    *_stage(
        "blocks.{s}.",
        "backbone/stage{s}",
        (
            *BLOCK,
            ("branch2.norm_b.0", "norm2", "norm"),
            ("branch2.norm_b.1.block.0", "se/fc1", "biased_conv"),
            ("branch2.norm_b.1.block.2", "se/fc2", "biased_conv"),
        ),
    ),
    ("blocks.5.pool.pre_conv", "head/conv5", "conv"),
    ("blocks.5.pool.pre_norm", "head/norm5", "norm"),
    ("blocks.5.pool.post_conv", "head/fc1", "conv"),
    ("blocks.5.proj", "head/fc", "linear"),
)

# A pool along time behind the first stage takes a number, and the later stages have the next ones.
POOLED = (
    *rules.prefixed(STEM, "blocks.0.", "backbone/"),
    *_stage("blocks.1.", "backbone/stage1"),
    *_stage("blocks.3.", "backbone/stage2"),
    *_stage("blocks.4.", "backbone/stage3"),
    *_stage("blocks.5.", "backbone/stage4"),
    ("blocks.6.proj", "head/fc", "linear"),
)

_PLAIN = {"stem_stride_t": 1, "pool1_stride_t": 1, "pool2_stride_t": 1}
_VIEWS = "k400_10x3_linspace"

SOURCE = Source(
    about="PyTorchVideo",
    layouts=(
        Layout(rows=SLOWFAST, marker="blocks.0.multipathway_blocks.0."),
        Layout(rows=X3D, marker="blocks.5.pool.", family=x3d.FAMILY),
        Layout(rows=POOLED, marker="blocks.6.proj.", fields={**_PLAIN, "pool2_stride_t": 2}),
        Layout(rows=ROWS, fields=_PLAIN),
    ),
    guesses=(
        Guess(
            when=is_16x8,
            fields={"slow_stride": 4, "slow_index": "linspace"},
            clip={"num_frames": 64, "stride": 2},
            about="slowfast_16x8_r101_50_50 of PyTorchVideo has",
        ),
        Guess(
            when=lambda network: len(network.told) > 1,
            fields={"slow_stride": 4, "slow_index": "linspace"},
            about="SlowFast of PyTorchVideo has",
        ),
        Guess(
            when=lambda network: slots.name_of(network.trunk["conv_b"]) == "2plus1d",
            fields={
                "conv_b": {"name": "2plus1d", "order": "temporal_first", "width": "equal"},
                "strides": (2, 2, 2, 2),
                "strides_t": (1, 1, 2, 2),
                "stem_pool": False,
            },
            clip={"num_frames": 16, "stride": 4},
            about="R(2+1)D of PyTorchVideo has",
        ),
        Guess(
            when=lambda network: network.trunk["conv_b"] == "depthwise",
            fields={"strides_t": (1, 2, 2, 2), "stem_pool": True},
            clip={"num_frames": 32, "stride": 2},
            about="csn_r101 of PyTorchVideo has",
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
