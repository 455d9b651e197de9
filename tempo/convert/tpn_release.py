"""Checkpoints of the TPN release (github.com/decisionforce/TPN), arXiv 2004.03548.

Its `parallel` flow is `cascade`: the bottom-up pass starts from the list that the top-down pass
has overwritten, and the released weights were trained so (issue 17 of that repository).
"""

from tempo.convert import rules, torchvision
from tempo.convert.source import Defaults, Guess, Layout, Source
from tempo.papers import tpn

NECK: tuple[rules.Row, ...] = (
    ("spatial_modulation.spatial_modulation.{i}.{j}.conv", "spatial_mod_{i}_{j}/conv", "conv"),
    ("spatial_modulation.spatial_modulation.{i}.{j}.bn", "spatial_mod_{i}_{j}/norm", "norm"),
    ("temporal_modulation_ops.{i}.conv", "temporal_mod_{i}", "conv"),
    ("downsampling_ops.{i}.conv", "lateral_down_{i}", "conv"),
    # The one without a number came first in the code, and is the bottom-up pyramid's.
    ("level_fusion_op2.ops.{i}.conv", "level_fusion_td/level_{i}/conv", "conv"),
    ("level_fusion_op2.ops.{i}.norm", "level_fusion_td/level_{i}/norm", "norm"),
    ("level_fusion_op2.fusion_conv.0", "level_fusion_td/fusion/conv", "conv"),
    ("level_fusion_op2.fusion_conv.1", "level_fusion_td/fusion/norm", "norm"),
    ("level_fusion_op.ops.{i}.conv", "level_fusion_bu/level_{i}/conv", "conv"),
    ("level_fusion_op.ops.{i}.norm", "level_fusion_bu/level_{i}/norm", "norm"),
    ("level_fusion_op.fusion_conv.0", "level_fusion_bu/fusion/conv", "conv"),
    ("level_fusion_op.fusion_conv.1", "level_fusion_bu/fusion/norm", "norm"),
    ("pyramid_fusion_op.0", "pyramid_fusion/conv", "conv"),
    ("pyramid_fusion_op.1", "pyramid_fusion/norm", "norm"),
    ("aux_head.convs.conv", "aux_head_0/conv/conv", "conv"),
    ("aux_head.convs.bn", "aux_head_0/conv/norm", "norm"),
    # The first version of the file kept the same module in a list of one.
    ("aux_head.convs.0.conv", "aux_head_0/conv/conv", "conv"),
    ("aux_head.convs.0.bn", "aux_head_0/conv/norm", "norm"),
    ("aux_head.fc", "aux_head_0/head/fc", "linear"),
)

ROWS = (
    *rules.prefixed(torchvision.RESNET, "backbone.", "backbone/"),
    *rules.prefixed(NECK, "necks.", "neck/"),
    ("cls_head.fc_cls", "head/fc", "linear"),
)

_SEGMENTS = {"num_frames": 8, "sampling": "segments"}

SOURCE = Source(
    about="the TPN release (decisionforce/TPN)",
    layouts=(Layout(rows=ROWS),),
    ignored={r"cls_head\.new_cls\.": "a copy of cls_head.fc_cls that tests make"},
    neck={"flow": "cascade", "alphas": "equal"},
    dense_neck_by_depths={(3, 4, 23, 3): {"alphas": tpn.RELEASE_ALPHAS["101"]}},
    guesses=(
        # Its shift leaves no trace in the keys; every 2-D network of the release has it, in each
        # block and before the projection shortcut.
        Guess(
            when=lambda network: network.trunk.is_flat,
            fields={"temporal": "tsm", "shift_shortcut": True},
            about="the 2-D networks of the TPN release have",
        ),
    ),
    defaults={
        "segments": Defaults(clip=_SEGMENTS, views="full_2clip_ticks"),
        "dense": Defaults(clip={"num_frames": 8, "stride": 8}, views="k400_10x3_ticks"),
    },
)
