"""Image classifiers of torchvision (ImageNet): ResNet-18, 34, 50, 101, 152, and VGG-16."""

from tempo.convert import rules, vgg
from tempo.convert.source import Defaults, Layout, Source

RESNET: tuple[rules.Row, ...] = (
    ("conv1", "stem_conv", "conv"),
    ("bn1", "stem_norm", "norm"),
    ("layer{s}.{b}.conv{n}", "stage{s}_block{b+1}/conv{n}", "conv"),
    ("layer{s}.{b}.bn{n}", "stage{s}_block{b+1}/norm{n}", "norm"),
    ("layer{s}.{b}.downsample.0", "stage{s}_block{b+1}/conv_proj", "conv"),
    ("layer{s}.{b}.downsample.1", "stage{s}_block{b+1}/norm_proj", "norm"),
)
"""The backbone; the TPN and TSM releases name theirs the same."""

ROWS = (*rules.prefixed(RESNET, ours="backbone/"), ("fc", "head/fc", "linear"))

SOURCE = Source(
    about="torchvision's ResNet or VGG-16 (ImageNet)",
    layouts=(vgg.TORCHVISION, Layout(rows=ROWS)),
    defaults={
        # One frame of an image network, or a clip of the video network it starts.
        "segments": Defaults(clip={"num_frames": 8, "sampling": "segments"}, views="center"),
        "dense": Defaults(clip={"num_frames": 8, "stride": 8}, views="center"),
    },
    is_image=True,
)
