"""Checkpoints of MIT's TSM release (github.com/mit-han-lab/temporal-shift-module), 1811.08383.

Blocks that shift wrap their first convolution as `.net`; the projection shortcut reads the input
as it was. ResNet-101 shifts every second block.
"""

from tempo.convert import mmaction2, rules, torchvision
from tempo.convert.source import Defaults, Layout, Source

BLOCKS: tuple[rules.Row, ...] = (
    ("layer{s}.{b}.conv1.net", "stage{s}_block{b+1}/conv1", "shifted_conv"),
    *torchvision.RESNET,
)

BACKBONE: tuple[rules.Row, ...] = (
    *BLOCKS,
    # A block that a non-local one is wrapped around.
    *(
        (source.replace("layer{s}.{b}.", "layer{s}.{b}.block."), ours, kind)
        for source, ours, kind in BLOCKS
        if source.startswith("layer")
    ),
    *rules.prefixed(
        (
            # A pool stands behind two of them.
            ("g.0", "g", "biased_conv"),
            ("phi.0", "phi", "biased_conv"),
            ("theta", "theta", "biased_conv"),
            ("W.0", "out", "biased_conv"),
            ("W.1", "norm", "norm"),
        ),
        "layer{s}.{b}.nl.",
        "stage{s}_block{b+1}_nonlocal/",
    ),
)

ROWS = (
    *rules.prefixed(BACKBONE, "base_model.", "backbone/"),
    ("new_fc", "head/fc", "linear"),
    # Trained without dropout, the classifier stays in its place.
    ("base_model.fc", "head/fc", "linear"),
)

SOURCE = Source(
    about="the TSM release (mit-han-lab/temporal-shift-module)",
    layouts=(Layout(rows=ROWS),),
    guesses=(mmaction2.TSM_NONLOCAL,),
    defaults={
        "segments": Defaults(clip={"num_frames": 8, "sampling": "segments"}, views="center"),
    },
)
