"""Checkpoints of mmaction2 1.x: TSN, TSM, TANet, SlowOnly, TPN on TSM and SlowOnly, SlowFast.

The only source that is written too (`python -m tempo.convert --to mmaction2`).
"""

from collections.abc import Callable
from typing import Any

from tempo.convert import rules
from tempo.convert.source import Defaults, Guess, Layout, Source

RESNET: tuple[rules.Row, ...] = (
    ("conv1.conv", "stem_conv", "conv"),
    ("conv1.bn", "stem_norm", "norm"),
    # TSM wraps the first convolution of the blocks that shift.
    ("layer{s}.{b}.conv1.conv.net", "stage{s}_block{b+1}/conv1", "shifted_conv"),
    ("layer{s}.{b}.conv{n}.conv", "stage{s}_block{b+1}/conv{n}", "conv"),
    ("layer{s}.{b}.conv{n}.bn", "stage{s}_block{b+1}/norm{n}", "norm"),
    ("layer{s}.{b}.downsample.conv", "stage{s}_block{b+1}/conv_proj", "conv"),
    ("layer{s}.{b}.downsample.bn", "stage{s}_block{b+1}/norm_proj", "norm"),
)

# A block that a module is wrapped around: a non-local one behind it, or a temporal adaptive one
# that stands inside.
WRAPPED: tuple[rules.Row, ...] = tuple(
    (source.replace("layer{s}.{b}.", "layer{s}.{b}.block."), ours, kind)
    for source, ours, kind in RESNET
    if source.startswith("layer")
)

MODULES: tuple[rules.Row, ...] = (
    *rules.prefixed(
        (
            # A pool stands behind two of them.
            ("g.0.conv", "g", "biased_conv"),
            ("phi.0.conv", "phi", "biased_conv"),
            ("theta.conv", "theta", "biased_conv"),
            ("conv_out.conv", "out", "conv"),
            ("conv_out.bn", "norm", "norm"),
        ),
        "layer{s}.{b}.non_local_block.",
        "stage{s}_block{b+1}_nonlocal/",
    ),
    *rules.prefixed(
        (
            ("G.0", "global_fc1", "conv"),
            ("G.1", "global_norm", "norm"),
            ("G.3", "global_fc2", "conv"),
            ("L.0", "local_conv1", "conv_t"),
            ("L.1", "local_norm", "norm"),
            ("L.3", "local_conv2", "conv_t"),
        ),
        "layer{s}.{b}.tam.",
        "stage{s}_block{b+1}/temporal/",
    ),
)

NECK: tuple[rules.Row, ...] = (
    ("spatial_modulation.spatial_modulation.{i}.{j}.conv", "spatial_mod_{i}_{j}/conv", "conv"),
    ("spatial_modulation.spatial_modulation.{i}.{j}.bn", "spatial_mod_{i}_{j}/norm", "norm"),
    ("temporal_modulation_ops.{i}.conv.conv", "temporal_mod_{i}", "conv"),
    ("downsample_ops.{i}.conv.conv", "lateral_down_{i}", "conv"),
    # 1 fuses the top-down pyramid, 2 the bottom-up one.
    ("level_fusion_1.downsamples.{i}.conv.conv", "level_fusion_td/level_{i}/conv", "conv"),
    ("level_fusion_1.downsamples.{i}.conv.bn", "level_fusion_td/level_{i}/norm", "norm"),
    ("level_fusion_1.fusion_conv.conv", "level_fusion_td/fusion/conv", "conv"),
    ("level_fusion_1.fusion_conv.bn", "level_fusion_td/fusion/norm", "norm"),
    ("level_fusion_2.downsamples.{i}.conv.conv", "level_fusion_bu/level_{i}/conv", "conv"),
    ("level_fusion_2.downsamples.{i}.conv.bn", "level_fusion_bu/level_{i}/norm", "norm"),
    ("level_fusion_2.fusion_conv.conv", "level_fusion_bu/fusion/conv", "conv"),
    ("level_fusion_2.fusion_conv.bn", "level_fusion_bu/fusion/norm", "norm"),
    ("pyramid_fusion.conv", "pyramid_fusion/conv", "conv"),
    ("pyramid_fusion.bn", "pyramid_fusion/norm", "norm"),
    ("aux_head.conv.conv", "aux_head_0/conv/conv", "conv"),
    ("aux_head.conv.bn", "aux_head_0/conv/norm", "norm"),
    ("aux_head.fc", "aux_head_0/head/fc", "linear"),
)

HEAD: tuple[rules.Row, ...] = (("cls_head.fc_cls", "head/fc", "linear"),)

ROWS = (
    *rules.prefixed((*RESNET, *WRAPPED, *MODULES), "backbone.", "backbone/"),
    *rules.prefixed(NECK, "neck.", "neck/"),
    *HEAD,
)

SLOWFAST = (
    *rules.prefixed(RESNET, "backbone.slow_path.", "backbone/slow/"),
    *rules.prefixed(RESNET, "backbone.fast_path.", "backbone/fast/"),
    ("backbone.slow_path.conv1_lateral.conv", "backbone/lateral_0/conv", "conv"),
    ("backbone.slow_path.layer{i}_lateral.conv", "backbone/lateral_{i}/conv", "conv"),
    # Of networks with lateral_norm=True, which the public weights do not have.
    ("backbone.slow_path.conv1_lateral.bn", "backbone/lateral_0/norm", "norm"),
    ("backbone.slow_path.layer{i}_lateral.bn", "backbone/lateral_{i}/norm", "norm"),
    *HEAD,
)


def _nonlocal(mode: str, about: str, when: Callable[[Any], bool]) -> Guess:
    return Guess(
        when=lambda network: any(network.trunk["nonlocal_blocks"]) and when(network.trunk),
        fields={"nonlocal_mode": mode, "nonlocal_pool": "projections"},
        about=f"{about} with non-local blocks has",
    )


TSM_NONLOCAL = _nonlocal("embedded_gaussian", "TSM", lambda trunk: trunk.is_flat)

SOURCE = Source(
    about="mmaction2",
    layouts=(
        # The linear layer reads the fast pathway first.
        Layout(rows=SLOWFAST, marker="backbone.slow_path.", is_fast_first=True),
        Layout(rows=ROWS),
    ),
    # Left behind by fully convolutional tests: a copy of fc_cls.
    ignored={r"cls_head\.new_cls\.": "a copy of cls_head.fc_cls that tests make"},
    initial={r"_nonlocal/out/bias$": "a norm follows, so mmaction2 has none"},
    guesses=(
        TSM_NONLOCAL,
        # The same with `use_scale`.
        _nonlocal("softmax", "SlowOnly", lambda trunk: not trunk.is_flat),
    ),
    neck={"flow": "cascade", "alphas": "equal"},
    defaults={
        "segments": Defaults(
            clip={"num_frames": 8, "sampling": "segments", "short": "loop"}, views="ten_crop"
        ),
        "dense": Defaults(
            clip={"num_frames": 8, "stride": 8, "short": "loop"}, views="k400_10x3_linspace"
        ),
        "segments+neck": Defaults(
            clip={"num_frames": 8, "sampling": "segments", "short": "loop"},
            views="full_2clip_linspace",
        ),
        "slowfast": Defaults(
            clip={"num_frames": 32, "stride": 2, "short": "loop"}, views="k400_10x3_linspace"
        ),
    },
)
