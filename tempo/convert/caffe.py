"""Image classifiers of Caffe (ImageNet): VGG-16, and ResNets whose strides are on the first 1x1.

VGG-16 has Caffe's names, ResNets those of torchvision, under which they are handed on (mmcv and
detectron2 call them `caffe`). They read 0-255 in the order blue, green, red less a mean; the stem
is turned round here.
"""

from collections.abc import Mapping

import numpy as np

from tempo.convert import rules, torchvision, vgg
from tempo.convert.bninception import CAFFE_MEAN, stem_turned_round
from tempo.convert.source import Layout, Source


def _unpacked(arrays: Mapping[str, np.ndarray]) -> rules.Arrays:
    return stem_turned_round(arrays, "conv1.weight")


SOURCE = Source(
    about="Caffe's VGG-16 or ResNet (ImageNet)",
    layouts=(
        vgg.CAFFE,
        Layout(rows=torchvision.ROWS, fields={"stride_on": "conv1"}, unpack=_unpacked),
    ),
    defaults=torchvision.SOURCE.defaults,
    mean=CAFFE_MEAN,
    std=(1.0, 1.0, 1.0),
    is_image=True,
)
