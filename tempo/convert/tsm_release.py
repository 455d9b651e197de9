"""Checkpoints of MIT's TSM release (github.com/mit-han-lab/temporal-shift-module), 1811.08383.

Blocks that shift wrap their first convolution as `.net`; the projection shortcut reads the input
as it was. ResNet-101 shifts every second block.
"""

from tempo.convert import rules, torchvision
from tempo.convert.source import Defaults, Layout, Source

BACKBONE: tuple[rules.Row, ...] = (
    ("layer{s}.{b}.conv1.net", "stage{s}_block{b+1}/conv1", "shifted_conv"),
    *torchvision.RESNET,
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
    defaults={
        "segments": Defaults(clip={"num_frames": 8, "sampling": "segments"}, views="center"),
    },
)
