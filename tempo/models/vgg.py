"""VGG over the frames of a clip, and its head of two wide layers (arXiv 1409.1556, table 1)."""

from collections.abc import Callable, Sequence
from typing import Any

import chex
import jax.numpy as jnp
from flax import linen as nn

from tempo.errors import InputError
from tempo.layers import pooling, remat
from tempo.models import fields

VARIANTS: dict[str, dict[str, Any]] = {"vgg16": {"depths": (2, 2, 3, 3, 3)}}
"""Geometry by name: rows of `VGG` fields, each of which can be overridden."""

NUM_STAGES = 5
_AXES = (1, 2, 3)  # T, H, W
_SIDES = (1, 3, 3)
_DEPTHS: fields.Check = (
    lambda depths: (
        isinstance(depths, list | tuple)
        and len(depths) == NUM_STAGES
        and all(map(fields.is_whole, depths))
    ),
    f"{NUM_STAGES} whole numbers of at least 1",
)


class VGG(nn.Module):
    """Stages of 3x3 convolutions with biases and ReLUs, a max pool behind each; no norms.

    Each frame is seen on its own. At frames of 224 px, and a width of 64, the features are res2
    `[B,T,56,56,128]`, res3 `[B,T,28,28,256]`, res4 `[B,T,14,14,512]` and res5 `[B,T,7,7,512]`, of
    which the last is also called pool5.

    Attributes:
      conv, norm: factories; there is no norm for the second to make.
      dtype: of the activations.
      remat: what the backward pass computes again of each stage, a name of `remat.POLICIES`.
      depths: convolutions of each of the five stages.
      width: channels of the first stage; those behind it have 2, 4, 8 and 8 times as many.
    """

    conv: Callable
    norm: Callable
    dtype: Any
    remat: str
    depths: Sequence[int] = (2, 2, 3, 3, 3)
    width: int = 64

    top = ("res5",)
    is_per_frame = True

    def __post_init__(self):
        fields.check(self, {"depths": _DEPTHS, "width": fields.COUNT}, {})
        super().__post_init__()

    def pathways(self) -> dict[str, nn.Module]:
        """The residual networks of `resnet.ResNet` in it: none; see `SlowFast.pathways`."""
        return {}

    @nn.compact
    def __call__(self, x, *, train: bool):
        """`[B,T,H,W,C]` -> `{"res2", ..., "res5"}` of `[B,T,H/s,W/s,C']`, s = 4, 8, 16, 32.

        Raises:
          InputError: frames of less than 32 px a side, of which the pools leave nothing.
        """
        chex.assert_rank(x, 5)
        x = x.astype(self.dtype)
        if min(x.shape[2:4]) < 2**NUM_STAGES:
            raise InputError(
                f"VGG halves the sides of frames {NUM_STAGES} times; frames of {x.shape[2]}x"
                f"{x.shape[3]} px leave nothing of them: give at least {2**NUM_STAGES} px."
            )
        stage_type = remat.block(VGGStage, self.remat)
        features = {}
        x = nn.relu(self.conv(self.width, _SIDES, use_bias=True, name="stem_conv")(x))
        for stage, depth in enumerate(self.depths, start=1):
            features[f"res{stage}"] = x = stage_type(
                channels=self.width * min(2 ** (stage - 1), 8),
                depth=depth,
                first=2 if stage == 1 else 1,
                conv=self.conv,
                name=f"stage{stage}",
            )(x)
        del features["res1"]
        return features


class VGGStage(nn.Module):
    """3x3 convolutions with ReLUs, and the 2x2 max pool behind them.

    Attributes:
      channels: of every convolution.
      depth: how many there are.
      first: number of the first one that is made here; one before it is the stem.
      conv: factory.
    """

    channels: int
    depth: int
    first: int
    conv: Callable

    @nn.compact
    def __call__(self, x):
        """`[B,T,H,W,C] -> [B,T,H/2,W/2,channels]`, sides cut off."""
        for i in range(self.first, self.depth + 1):
            x = nn.relu(self.conv(self.channels, _SIDES, use_bias=True, name=f"conv{i}")(x))
        return pooling.max_pool(x, (1, 2, 2), (1, 2, 2))


class VGGHead(nn.Module):
    """fc6 and fc7 over each frame's map, with ReLU and dropout, and a linear classifier.

    fc6 is a convolution as large as the map of a training frame. On larger maps there are several
    places for it; scores of all places and frames are averaged. Float32 from that mean on.

    Attributes:
      num_classes: K.
      conv: factory.
      dropout_prob: probability of dropping an input of the classifier in training.
      fc6_dropout_prob: the same for what fc7 reads.
      features: of fc6 and fc7.
      side: of the maps that fc6 reads, in elements; 7 of frames of 224 px.
      init_std: of the classifier's initial weights.
    """

    num_classes: int
    conv: Callable
    dropout_prob: float = 0.8
    fc6_dropout_prob: float = 0.9
    features: int = 4096
    side: int = 7
    init_std: float = 0.01

    def __post_init__(self):
        for field in ("features", "side"):
            if not fields.is_whole(getattr(self, field)):
                raise InputError(
                    f"head.{field} must be a whole number of at least 1; "
                    f"got {getattr(self, field)!r}."
                )
        super().__post_init__()

    @nn.compact
    def embed_and_score(self, x, *, train: bool):
        """`[B,T,H,W,C]` -> the mean of what fc7 gives, `[B,features]`, and logits; float32.

        Training needs the `dropout` rng.

        Raises:
          InputError: several feature maps, or one that is smaller than `side`.
        """
        if isinstance(x, tuple):
            raise InputError(
                f"The head vgg reads one feature map; got {len(x)} pathways; use the head pool."
            )
        if min(x.shape[2:4]) < self.side:
            raise InputError(
                f"head.side={self.side} is more than the features' {x.shape[2]}x{x.shape[3]}; give "
                f"frames of {32 * self.side} px, or head.side={min(x.shape[2:4])}."
            )
        side, none = (1, self.side, self.side), (0, 0, 0)
        x = nn.relu(self.conv(self.features, side, padding=none, use_bias=True, name="fc6")(x))
        x = nn.Dropout(self.fc6_dropout_prob, deterministic=not train, name="dropout6")(x)
        x = nn.relu(self.conv(self.features, use_bias=True, name="fc7")(x)).astype(jnp.float32)
        dropped = nn.Dropout(self.dropout_prob, deterministic=not train, name="dropout")(x)
        fc = nn.Dense(
            self.num_classes,
            kernel_init=nn.initializers.normal(self.init_std),
            dtype=jnp.float32,
            name="fc",
        )
        return x.mean(_AXES), fc(dropped.mean(_AXES))

    def __call__(self, x, *, train: bool):
        """The logits of `embed_and_score`."""
        return self.embed_and_score(x, train=train)[1]
